"""Folders of results from which pages are drawn."""

import csv
import json
from pathlib import Path

from gradcheck.cli import main
from gradcheck.page.reading import read_files
from gradcheck.reports.sheets import quoted

EVIL = "<script>alert(1)</script>&\"'<!--]]>"


def swept(folder, *arguments):
    """Sweep into a folder as the command line does; return the texts of its files."""
    command = ["sweep", *arguments, "--output", str(folder)]
    assert main([*command, "--adapters", "complex-step,hand-written", "--audit", "0"]) in (0, 1)
    return read_files(Path(folder))


def with_text_everywhere(contents, text):
    """Put a text into every cell of words, and every word of the facts."""
    run = json.loads(contents["run.json"])
    run["request"] |= {"model": text, "adapters": [text]}
    run["machine"] |= {name: text for name in ("cpu", "system")}
    run |= {"named": text, "errors": [text]}
    run["versions"] = {text: text}
    changed = {"run.json": json.dumps(run)}
    cell = '"' + quoted(text).replace('"', '""') + '"'
    for name, replaced in (
        ("summary.csv", ("adapter", "dtype", "gradient", "message")),
        ("discrepancies.csv", ("adapter", "gradient", "message", "culprit", "truth", "element")),
        ("diagnosis.csv", ("file", "source", "explanation", "counterexample")),
        ("histogram.csv", ("adapter", "gradient", "dtype")),
        ("points.csv", ("adapter", "gradient", "dtype")),
        ("quantities.csv", ("quantity", "worst_party", "origins", "truth")),
    ):
        header, *rows = contents[name].splitlines()
        columns = header.split(",")
        lines = [header]
        for row in rows:
            cells = row.split(",") if '"' not in row else _cells(row)
            lines.append(
                ",".join(
                    cell if column in replaced else f'"{given}"'
                    for column, given in zip(columns, cells, strict=True)
                )
            )
        changed[name] = "\n".join(lines) + "\n"
    return {**contents, **changed}


def _cells(row):
    return next(csv.reader([row]))


def enlarged(contents, gradients=400, adapters=10, disagreements=60_000):
    """Make of a sweep one of many gradients that all disagree, with long messages."""
    message = "long " * 400

    def times(name, rows, **changes):
        header, first = contents[name].splitlines()[:2]
        columns, cells = header.split(","), _cells(first)
        made = [header]
        for place in range(rows):
            row = dict(zip(columns, cells, strict=True))
            row |= {key: change(place) for key, change in changes.items() if key in row}
            made.append(",".join(f'"{row[column]}"' for column in columns))
        return "\n".join(made) + "\n"

    everywhere = {
        "adapter": lambda n: f"adapter-{n % adapters}",
        "gradient": lambda n: f"layers.{n // adapters % gradients}.weight",
        "quantity": lambda n: f"layers.{n}.activation",
        "message": lambda n: message,
        "verdict": lambda n: "disagree",
        "disagree": lambda n: "60000",
        "source": lambda n: message,
        "explanation": lambda n: message,
    }
    sizes = {
        "summary.csv": gradients * adapters,
        "discrepancies.csv": disagreements,
        "diagnosis.csv": 400,
        "histogram.csv": gradients * adapters,
        "points.csv": 20_000,
        "quantities.csv": gradients,
    }
    changes = {name: times(name, rows, **everywhere) for name, rows in sizes.items()}
    return {**contents, **changes}
