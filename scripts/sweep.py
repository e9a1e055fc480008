"""Sweep random samples of a model and tabulate the discrepancies: `gradcheck sweep`."""

import sys

from gradcheck.__main__ import run

sys.exit(run(["sweep", *sys.argv[1:]]))
