"""Judge right and wrong gradients in float16 and bfloat16; save counts, widths and what is found.

Takes about ten minutes on two cores; needs torch and jax.
"""

import argparse
from pathlib import Path

from studies.false_alarms import count_false_alarms
from studies.low_precision import measure_power, measure_tightness

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
    options = parser.parse_args()
    models = [load_model(name) for name in MODELS]
    tables = {
        "honest": count_false_alarms(models, options.comparisons, ADAPTERS, dtypes=NARROW_DTYPES),
        "tightness": measure_tightness(models, options.samples),
        "power": measure_power(models, options.samples),
    }
    for table in tables.values():
        print(table.to_string(index=False, float_format="{:.3g}".format))
    options.output.mkdir(parents=True, exist_ok=True)
    contents = {
        options.output / f"{name}.csv": table.to_csv(index=False, float_format="%.6g")
        for name, table in tables.items()
    }
    print("Written:", *write_files(contents))
