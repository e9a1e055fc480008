"""Sweep random samples of a model and tabulate the discrepancies: `gradcheck sweep`."""

import sys

from gradcheck.cli import main

sys.exit(main(["sweep", *sys.argv[1:]]))
