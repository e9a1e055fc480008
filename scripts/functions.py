"""Check thousands of wrong backward passes of ten functions, and the right ones; save the figures.

`python scripts/functions.py --mutants 300` takes minutes, the default hours; needs torch.
"""

import argparse
import json
import os
from pathlib import Path

from studies.functions.study import (
    Trial,
    check_honest,
    judge_mutants,
    summarise,
    summarise_honest,
)

from gradcheck.reports.files import write_files

if __name__ == "__main__":  # the processes that share the work import this file
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mutants", type=int, default=Trial.mutants, metavar="N", help="(%(default)s)"
    )
    parser.add_argument(
        "--honest", type=int, default=Trial.honest, metavar="N",
        help="inputs on which each correct pass is checked, in each format (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=Trial.seed, help="(%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("results/functions"))
    options = parser.parse_args()
    trial = Trial(options.mutants, options.honest, seed=options.seed)

    honest = check_honest(trial, options.workers)
    alarms = summarise_honest(honest)
    print("Correct passes: false alarms", alarms.to_string(index=False), sep="\n", end="\n\n")
    mutants = judge_mutants(trial, options.workers)
    fates = mutants.drop_duplicates(["function", "id"])["fate"].value_counts()
    print("Mutants, by what their passes do:", fates.to_string(header=False), sep="\n", end="\n\n")
    summary = summarise(mutants)
    print("Wrong mutants: the shares found; of those found, line named and mend told")
    print(summary[summary["by"] != "2^-k"].to_string(index=False, float_format="%.4g"))
    print("jax.test_util.check_grads: not asked, for it takes functions of JAX only")
    seconds = [name for name in mutants if str(name).endswith("_seconds")]
    tables = {
        "honest.csv": honest.drop(columns=seconds),
        "false_alarms.csv": alarms,
        "mutants.csv": mutants.drop(columns=seconds),
        "summary.csv": summary,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    files = {options.output / name: table.to_csv(index=False) for name, table in tables.items()}
    files[options.output / "run.json"] = json.dumps(trial.facts(), indent=2) + "\n"
    print("Written:", *write_files(files))
