"""Time whole sweeps from start to their last file, beside the bare work and what others do.

Takes eight to ten minutes on two idle cores; needs torch, jax and, for the picture, matplotlib: the
extra `figures`. Dask workers are compared where the extra `dask` is installed.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from studies.bench.drawing import draw_bench
from studies.bench.plan import QUICK, Plan, measure
from studies.bench.tables import curves, figures

from gradcheck.reports.files import write_files

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only that it runs")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds (5)")
    parser.add_argument("--samples", type=int, metavar="N", help="in the largest sweep (10000000)")
    parser.add_argument("--output", type=Path, default=Path("results/bench"), metavar="FOLDER")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("repeats", "samples")}
    plan = QUICK if options.quick else Plan()
    plan = replace(plan, **{name: value for name, value in given.items() if value is not None})

    began = time.perf_counter()
    commands, kernels = measure(plan, lambda text: print(text, flush=True))
    told, costs = figures(commands, kernels), curves(commands, kernels)
    for table in (told, costs):
        print(table.to_string(index=False, float_format="{:.4g}".format))
    options.output.mkdir(parents=True, exist_ok=True)
    tables = {"commands": commands, "kernels": kernels, "figures": told, "curves": costs}
    texts = {f"{name}.csv": table.to_csv(index=False, float_format="%.6g")
             for name, table in tables.items()}  # fmt: skip
    files: dict[str, str | bytes] = {**texts, "bench.png": draw_bench(told, costs)}
    written = write_files({options.output / name: content for name, content in files.items()})
    print("Written:", *written)
    print(f"Took {time.perf_counter() - began:.0f} s.")
