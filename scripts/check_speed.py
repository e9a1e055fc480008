"""Time a check of a correct PyTorch Function of ten thousand numbers, beside PyTorch's own.

Every detector runs in fresh processes of its own; what is timed is the first call there, once
everything is imported. Takes about two minutes; needs torch.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import pandas as pd

from gradcheck.reports.files import write_files

DETECTORS = {
    "gradcheck.torch": ("from gradcheck.torch import gradcheck", "gradcheck(Swish.apply, (x,))"),
    "gradcheck.check": ("from gradcheck import check", "check(Swish.apply, x)"),
    "torch.autograd.gradcheck": (
        "from torch.autograd import gradcheck", "gradcheck(Swish.apply, (x,))",
    ),
    "torch.autograd.gradcheck, fast": (
        "from torch.autograd import gradcheck", "gradcheck(Swish.apply, (x,), fast_mode=True)",
    ),
}  # fmt: skip
PROGRAM = """
import time, warnings, torch
{imported}


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        s = torch.sigmoid(x)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        return g * s * (1 + x * (1 - s))


x = torch.linspace(-3, 3, {numbers}, dtype=torch.float64, requires_grad=True)
started = time.perf_counter()
{call}
print(time.perf_counter() - started)
"""


def seconds(name: str, numbers: int) -> float:
    """Return how long one call takes in a process of its own."""
    imported, call = DETECTORS[name]
    program = PROGRAM.format(imported=imported, call=call, numbers=numbers)
    done = subprocess.run(  # noqa: S603 - the program is this file's
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("results/functions"))
    arguments = parser.parse_args()
    rows = [
        {"detector": name, "numbers": arguments.numbers, "repeats": arguments.repeats}
        | {"seconds": median(seconds(name, arguments.numbers) for _ in range(arguments.repeats))}
        for name in DETECTORS
    ]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False, float_format="%.3g")
    print("Written:", *write_files({arguments.output / "speed.csv": text}))
