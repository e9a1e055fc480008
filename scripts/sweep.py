"""Sweep random samples of a model and tabulate the discrepancies: `gradcheck sweep`."""

import sys

from gradcheck.cli import main

if __name__ == "__main__":  # the processes that judge import this file as well
    sys.exit(main(["sweep", *sys.argv[1:]]))
