"""Print what sweeps cost in time and memory: whole commands, next to the bare work."""

import argparse
import tempfile
from statistics import median

from studies.speed import compare_with_bare_work, peak_memory, summarise, time_command

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--repeats", type=int, default=3, help="of which the median counts (3)")
parser.add_argument(
    "--samples", type=int, default=1_000_000, metavar="N", help="in a sweep (1000000)"
)
options = parser.parse_args()
n, repeats = options.samples, options.repeats


def typical(*arguments):
    """Time a command as often as was asked for."""
    return median(time_command(*arguments) for _ in range(repeats))


print(f"medians of {repeats}, seconds")
print(f"gradcheck --help: {typical('-m', 'gradcheck', '--help'):.2f}")
with tempfile.TemporaryDirectory() as folder:
    print(f"default sweep: {typical('sweep.py', '--output', folder):.1f}")

timings = compare_with_bare_work([n // 5, n, n // 5 + 2 * n], repeats)
print("sweep.py --adapters torch,jax --dtypes float64, the bare work, and the stages:")
print(summarise(timings).T.round(3).to_string())

one, four = peak_memory(n), peak_memory(4 * n)
print(f"peak memory: {one:.0f} MiB at {n:,} samples, {four:.0f} at {4 * n:,}")
