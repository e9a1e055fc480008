"""`python -m gradcheck`."""

import sys

from gradcheck.cli import main

if __name__ == "__main__":  # the processes that judge import this file as well
    sys.exit(main())
