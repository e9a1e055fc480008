"""The page of a folder of results, without a browser."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from gradcheck.cli import main
from gradcheck.page.reading import read_files
from gradcheck.page.rendering import LARGEST, rendered
from gradcheck.reports.folder import FIGURES, PAGE
from tests.reports.pages import EVIL, enlarged, swept, with_text_everywhere

QUICK = ["sweep", "--samples", "20", "--adapters", "complex-step"]
VOID = {"meta", "link", "input", "br", "path", "rect", "circle", "use", "line"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "out"
    swept(path, "chain-misprint", "--samples", "300")
    return path


@pytest.fixture(scope="module")
def contents(folder):
    return read_files(folder)


@pytest.fixture(scope="module")
def files(contents, folder):
    return rendered(contents, folder)


class Reader(HTMLParser):
    """Collects elements, attributes and texts; tells of what is not nested well."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.headings = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def test_a_sweep_writes_the_page_and_its_figures(folder):
    there = {path.name for path in folder.iterdir()}
    assert {PAGE, *FIGURES} <= there
    assert {"points.csv", "histogram.csv", "quantities.csv"} <= there
    for name in FIGURES:
        assert ET.parse(folder / name).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_sweep_may_write_no_page(tmp_path):
    assert main([*QUICK, "--no-report", "--output", str(tmp_path)]) == 0
    assert not {path.name for path in tmp_path.iterdir()} & {PAGE, *FIGURES}


def test_the_page_says_the_verdict_then_shows_and_then_tabulates(files):
    page = files[PAGE]
    parts = [
        "The gradient beta1 of chain-misprint is wrong",
        "∂ℓ/∂beta1 disagrees on 300 of the 300 samples",
        *(f'id="{name}"' for name in ("graph", "heat", "errors", "ulps", "disagreements")),
        "First wrong line: gradcheck/examples/chain_misprint.py:15",
        "gradcheck replay ",
        *(f'id="{name}"' for name in ("tables", "summary", "discrepancies", "run")),
        "To do it again",
        "python-flint",
    ]
    found = [page.find(part) for part in parts]
    assert -1 not in found
    assert found == sorted(found)


def test_the_wrong_line_is_marked_at_the_gradient_that_it_writes(files):
    root = ET.fromstring(files["graph.svg"])
    nodes = [node for node in root.iter() if "node" in node.get("class", "").split()]
    names = {node.get("aria-label").split("\n")[0]: node for node in nodes}
    assert {"f0", "h1", "ℓ", "∂ℓ/∂f0", "∂ℓ/∂beta1", "∂ℓ/∂omega3"} <= set(names)
    marked = [name for name in names if any(e.get("class") == "mark" for e in names[name].iter())]
    assert marked == ["∂ℓ/∂beta1"]
    beyond = [name for name in names if "beyond" in names[name].get("class")]
    assert beyond == ["∂ℓ/∂beta1"]
    assert "chain_misprint.py:15" in files["graph.svg"]


def test_a_page_is_well_formed_and_fetches_nothing(files):
    reader = Reader(files[PAGE])
    fetching = [
        value
        for tag, attributes in reader.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster")
    ]
    assert fetching
    assert all(value.startswith(("#", "data:,")) for value in fetching)
    assert "@import" not in files[PAGE]
    assert set(re.findall(r"url\(([^)]*)", files[PAGE])) <= set(
        re.findall(r"url\((#[\w-]+)", files[PAGE])
    )
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(
        low + 1 >= high for low, high in zip(reader.headings, reader.headings[1:], strict=False)
    )
    assert reader.headings[0] == 1


@pytest.mark.parametrize(
    "text", [EVIL, "{{ 7 * 7 }}{% raw %}", "$\\frac{x}{0}$ _x^2", "‮\x07\ud800 日本"]
)
def test_what_others_wrote_is_shown_as_text(text, contents, folder):
    files = rendered(with_text_everywhere(contents, text), folder)
    reader = Reader(files[PAGE])
    scripts = [tag for tag, _ in reader.elements if tag == "script"]
    assert len(scripts) == 1
    assert not any(name.startswith("on") for _, some in reader.elements for name in some)
    page = "".join(reader.texts)
    if text == EVIL:
        assert page.count(EVIL) > 20
        assert "<script>alert" not in files[PAGE]
    for name in FIGURES:
        root = ET.fromstring(files[name].encode(errors="backslashreplace"))
        assert not any(element.tag.endswith("script") for element in root.iter())


def test_the_same_folder_gives_the_same_bytes(contents, folder, files):
    assert rendered(contents, folder) == files
    code = (
        "import sys, hashlib; from pathlib import Path\n"
        "from gradcheck.page.reading import read_files\n"
        "from gradcheck.page.rendering import rendered\n"
        "folder = Path(sys.argv[1]); found = rendered(read_files(folder), folder)\n"
        "assert not {'torch', 'jax', 'pandas'} & set(sys.modules), sys.modules.keys()\n"
        "print(hashlib.sha256(''.join(found.values()).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code, str(folder)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


def test_the_command_writes_what_the_sweep_wrote(folder, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / PAGE).unlink()
    (folder / "mine.txt").write_text("kept")
    capsys.readouterr()
    assert main(["report", str(folder)]) == 0
    assert f"Written to {folder}: {PAGE}, " in capsys.readouterr().out
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.pop("mine.txt") == b"kept"
    assert after == before
    (folder / "mine.txt").unlink()


def test_a_page_of_any_sweep_is_below_a_megabyte(contents, folder):
    files = rendered(enlarged(contents), folder)
    assert LARGEST < 1_000_000
    assert {name for name, text in files.items() if len(text.encode()) > LARGEST} == set()
    assert "worst of 60,000 rows are shown; discrepancies.csv has all" in files[PAGE]
    assert "quantities between" in files[PAGE]
    assert "gradients with smaller errors left out" in files[PAGE]


def refused(folder, capsys):
    """Ask for a page that cannot be had; return the one line that says why."""
    assert main(["report", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


DAMAGED = {
    "no JSON": ("run.json", lambda text: text[: len(text) // 2], "is damaged"),
    "no object": ("run.json", lambda text: "[]", "is damaged"),
    "no counts": (
        "run.json",
        lambda text: text.replace('"counts"', '"count"'),
        "KeyError: 'counts'",
    ),
    "no column": ("summary.csv", lambda text: text.replace("max_ulps", "ulps"), "'max_ulps'"),
    "no number": ("summary.csv", lambda text: text.replace(",300,", ",many,"), "is damaged"),
    "empty": ("discrepancies.csv", lambda text: "", "is damaged"),
    "not UTF-8": ("summary.csv", lambda text: b"\xff\xfe", "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_folder_is_a_wrong_request(damage, contents, tmp_path, capsys):
    name, change, words = DAMAGED[damage]
    for file, text in contents.items():
        (tmp_path / file).write_text(text)
    changed = change(contents[name])
    (tmp_path / name).write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    line = refused(tmp_path, capsys)
    assert line.startswith("gradcheck: FOLDER: ")
    assert words in line
    assert not (tmp_path / PAGE).exists()


def test_what_is_no_folder_of_results_is_a_wrong_request(tmp_path, capsys):
    assert "there is no folder" in refused(tmp_path / "none", capsys)
    assert "has no summary.csv" in refused(tmp_path, capsys)
    (tmp_path / "file").write_text("")
    assert "there is no folder" in refused(tmp_path / "file", capsys)


def test_a_folder_of_an_older_version_has_a_page_that_says_what_is_missing(contents, tmp_path):
    new = ("histogram.csv", "points.csv", "quantities.csv")
    run = json.loads(contents["run.json"])
    del run["named"]
    for name, text in {**contents, "run.json": json.dumps(run)}.items():
        if name not in new:
            (tmp_path / name).write_text(text)
    assert main(["report", str(tmp_path)]) == 0
    page = (tmp_path / PAGE).read_text()
    assert page.count("was not written by the version of gradcheck that swept") == 2
    assert "The quantities in between were not looked at." in page
    assert "gradcheck trace" not in page
    assert not (tmp_path / "errors.svg").exists()


def test_a_folder_that_a_sweep_writes_to_is_refused(folder, capsys):
    from gradcheck.reports.folder import OutputFolder

    with OutputFolder(folder):
        assert "a sweep is writing to" in refused(folder, capsys)


HIDE = (
    "import sys\n"
    "for name in ('jinja2', 'matplotlib'): sys.modules[name] = None\n"
    "from gradcheck.cli import main\n"
    "if __name__ == '__main__': sys.exit(main(sys.argv[1:]))\n"
)


def test_without_the_libraries_a_sweep_says_how_to_get_them_and_succeeds(tmp_path, folder):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", HIDE, *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    sweep = run("sweep", "--samples", "20", "--adapters", "complex-step", "--output", "out")
    assert sweep.returncode == 0
    (line,) = sweep.stderr.splitlines()
    assert line.startswith("gradcheck: no report.html: ")
    assert "install it with: python -m pip install 'gradcheck[report]'" in line
    assert (tmp_path / "out" / "points.csv").exists()
    report = run("report", str(folder))
    assert report.returncode == 2
    assert "python -m pip install 'gradcheck[report]'" in report.stderr


def test_a_defect_of_the_drawing_costs_no_result(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError("drawn to zero")

    monkeypatch.setattr("gradcheck.page.rendering.rendered", broken)
    assert main([*QUICK, "--output", str(tmp_path / "out")]) == 0
    assert "no report.html: ZeroDivisionError: drawn to zero" in capsys.readouterr().err
    assert (tmp_path / "out" / "summary.csv").exists()


def test_an_honest_sweep_is_said_to_agree(tmp_path):
    swept(tmp_path, "chain", "--samples", "200")
    page = (tmp_path / PAGE).read_text()
    assert "The gradients of chain agree" in page
    assert "fewer than 0.015 of the samples that can be judged disagree" in page
    assert 'class="agrees"' in page
    assert '<g class="node beyond"' not in page


@pytest.mark.parametrize("name", ["summary.csv", "discrepancies.csv"])
@pytest.mark.parametrize("text", ["", "garbage\n", "adapter,dtype\ntorch,float64\n"])
def test_a_table_of_something_else_is_refused(name, text, contents, tmp_path, capsys):
    for file, content in {**contents, name: text}.items():
        (tmp_path / file).write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    assert not (tmp_path / "report.html").exists()
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{name} has no column" in told
