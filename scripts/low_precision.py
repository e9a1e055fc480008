"""Judge right and wrong gradients in float16 and bfloat16; save counts, widths and what is found.

Takes about a quarter of an hour on two cores; needs torch, jax and matplotlib.
"""

import argparse
from pathlib import Path

from studies.false_alarms import count_false_alarms
from studies.low_precision import large_model, measure_power, measure_tightness
from studies.low_precision_figure import draw_found
from studies.low_precision_functions import count_functions

from gradcheck import load_model
from gradcheck.harness.request import NARROW_DTYPES
from gradcheck.reports.files import write_files

MODELS = (
    "chain",
    "softmax-cross-entropy",
    "layer-norm",
    "batch-norm",
    "attention",
    "gelu",
    "network",
)
ADAPTERS = ("torch", "torch-forward", "jax", "jax-eager", "jax-forward", "hand-written")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=1_500_000, metavar="N",
                        help="honest ones, of each model and format (1500000)")  # fmt: skip
    parser.add_argument("--samples", type=int, default=200, metavar="N", help="mutated (200)")
    parser.add_argument("--output", type=Path, default=Path("results/low_precision"))
    parser.add_argument("--function-samples", type=int, default=100, metavar="N",
                        help="of each function as it is (100)")  # fmt: skip
    options = parser.parse_args()
    models = [load_model(name) for name in MODELS]
    tables = {
        "honest": count_false_alarms(models, options.comparisons, ADAPTERS, dtypes=NARROW_DTYPES),
        "tightness": measure_tightness(models, options.samples),
        "functions": count_functions(options.function_samples),
        "power": measure_power([*models, large_model()], options.samples),
    }
    for table in tables.values():
        print(table.to_string(index=False, float_format="{:.3g}".format))
    options.output.mkdir(parents=True, exist_ok=True)
    contents = {
        options.output / f"{name}.csv": table.to_csv(index=False, float_format="%.6g")
        for name, table in tables.items()
    }
    contents[options.output / "found.png"] = draw_found(tables["power"])
    print("Written:", *write_files(contents))
