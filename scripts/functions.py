"""Check thousands of wrong backward passes of ten functions, and the right ones; save the figures.

`python scripts/functions.py --mutants 300` takes an hour on one process, the default a day or two;
needs torch and jax. What is done is kept in `*.jsonl` beside the tables: stop it when you like, and
go on with `--resume`.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path

from studies.functions.running import Journal, run_all
from studies.functions.study import (
    Trial,
    check_honest,
    honest_by_name,
    judge_mutant,
    mutants_by_name,
)
from studies.functions.subjects import FRAMEWORKS
from studies.functions.tables import summarise, tabulate

from gradcheck.errors import RequestError
from gradcheck.reports.files import write_files

PACKAGES = ("gradcheck", "numpy", "torch", "jax", "jaxlib", "python-flint")


def show(done: int, count: int) -> None:
    """Tell on the terminal how far it is."""
    if sys.stderr.isatty() or done % 50 == 0 or done == count:
        print(f"\r{done:,} of {count:,}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":  # the processes that share the work import this file
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mutants", type=int, default=Trial.mutants, metavar="N",
        help="in each framework (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--honest", type=int, default=Trial.honest, metavar="N",
        help="inputs on which each correct pass is checked, in each format (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--framework", choices=FRAMEWORKS, help="one alone")
    parser.add_argument("--seed", type=int, default=Trial.seed, help="(%(default)s)")
    parser.add_argument(
        "--limit", type=float, default=Trial.limit, metavar="SECONDS",
        help="for a detector and a mutant (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="after which no more are begun"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with what a stopped run kept")
    parser.add_argument("--output", type=Path, default=Path("results/functions"))
    options = parser.parse_args()
    trial = Trial(options.mutants, options.honest, seed=options.seed, limit=options.limit)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    fixed = {"seed": trial.seed, "samples": trial.samples, "limit": trial.limit} | versions

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # either way the tables are written
    signal.signal(signal.SIGINT, signal.default_int_handler)
    frameworks = [options.framework] if options.framework else FRAMEWORKS

    begun = time.monotonic()
    end = begun + 60 * options.minutes
    tables, counts = {}, {}
    works = {"honest": (check_honest, honest_by_name), "mutants": (judge_mutant, mutants_by_name)}
    for name, (work, tasks_of) in works.items():
        tasks = tasks_of(trial, frameworks)
        try:
            journal = Journal(options.output / f"{name}.jsonl", fixed, options.resume)
        except RequestError as error:
            sys.exit(str(error))
        try:
            rows = run_all(work, tasks, journal, options.workers, end - time.monotonic(), show)
        except KeyboardInterrupt:
            rows = [row for key in tasks for row in journal.rows.get(key, ())]
        print(f"\n{name}: {len(tasks.keys() & journal.rows)} of {len(tasks)} done")
        tables[name] = tabulate(rows)
        counts[name] = len(tasks.keys() & journal.rows)

    mutants, honest = tables["mutants"], tables["honest"]
    tables["summary"] = summary = summarise(mutants, honest)
    fates = mutants.groupby(["framework", "dtype", "fate"]).size() if len(mutants) else mutants
    facts = {
        "trial": vars(trial),
        "done": counts,
        "versions": {"python": platform.python_version(), **versions},
        "system": f"{platform.system()} {platform.machine()}",
        "fates": {" ".join(key): int(count) for key, count in fates.items()},
        "honest_gradients": int(honest["gradients"].sum()) if len(honest) else 0,
        "seconds_of_last_run": round(time.monotonic() - begun),
    }
    print(json.dumps(facts["fates"]), f"{facts['honest_gradients']:,} honest gradients")
    print(summary[summary["by"].isin(["all", "deviation", "honest"])].to_string(index=False))
    files = {
        options.output / f"{name}.csv": table.to_csv(index=False, float_format="%.6g")
        for name, table in tables.items()
    }
    files[options.output / "run.json"] = json.dumps(facts, indent=2) + "\n"
    print("Written:", *write_files(files))
