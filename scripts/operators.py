"""Check PyTorch's own gradients on its own operator database; save the outcomes as CSV.

Takes about five minutes on two cores; needs torch and expecttest. `--only NAME` tries a single
operator, `--every N` one in so many.
"""

import argparse
from pathlib import Path

from studies.operators import measure_operators, summarise

from gradcheck.reports.files import write_files

if __name__ == "__main__":  # the processes that share the work import this file
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="one operator")
    parser.add_argument("--every", type=int, default=1, help="one in so many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("results/operators"))
    arguments = parser.parse_args()
    table = measure_operators(arguments.only, arguments.every, arguments.workers)
    print(summarise(table))
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False, float_format="%.4g")
    print("Written:", *write_files({arguments.output / "torch.csv": text}))
