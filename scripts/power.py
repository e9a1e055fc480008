"""Try four detectors of faults on every mutant of a backward pass; save what they kill.

Takes about ten minutes; needs torch, jax and, for the figure, matplotlib: the extra `figures`.
"""

import json
import os
from pathlib import Path

from studies.power import Trial, count_false_alarms, judge_mutants, summarise
from studies.power_figure import draw_power

from gradcheck.reports.files import write_files

if __name__ == "__main__":  # the processes that share the work import this file
    trial, workers = Trial(), os.cpu_count() or 1
    mutants = judge_mutants(trial, workers)
    summary = summarise(mutants)
    print(summary.to_string(index=False))
    alarms = count_false_alarms(trial, workers)
    print(alarms.to_string(index=False))
    folder = Path("results/power")
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "mutants.csv": mutants.to_csv(index=False),
        "summary.csv": summary.to_csv(index=False),
        "false_alarms.csv": alarms.to_csv(index=False),
        "run.json": json.dumps(trial.facts(), indent=2) + "\n",
        "power.png": draw_power(mutants, alarms),
    }
    written = write_files({folder / name: content for name, content in files.items()})
    print("Written:", *written)
