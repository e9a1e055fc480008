"""Check frameworks' own gradients of their own operators; save the outcomes as CSV.

PyTorch's operators have the inputs of its own operator database, which needs torch and expecttest;
JAX's functions those of `studies/jax_inputs.py`. Either takes some ten minutes on two cores.
`--only NAME` tries a single operator, `--every N` one in so many.
"""

import argparse
from pathlib import Path

from studies.jax_operators import measure_jax_operators
from studies.judged import summarise
from studies.operators import measure_operators

from gradcheck.reports.files import write_files

MEASURES = {"torch": measure_operators, "jax": measure_jax_operators}

if __name__ == "__main__":  # the processes that share the work import this file
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framework", choices=MEASURES, action="append", help="both by default")
    parser.add_argument("--only", default="", help="one operator")
    parser.add_argument("--every", type=int, default=1, help="one in so many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("results/operators"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for framework in arguments.framework or MEASURES:
        table = MEASURES[framework](arguments.only, arguments.every, arguments.workers)
        print(summarise(table))
        text = table.to_csv(index=False, float_format="%.4g")
        print("Written:", *write_files({arguments.output / f"{framework}.csv": text}))
