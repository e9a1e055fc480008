"""Seconds are those that passed."""

import subprocess
import sys
import time

from gradcheck.stopwatch import Stopwatch, since_start


def test_the_seconds_of_a_stage_add_up():
    watch = Stopwatch()
    began = time.perf_counter()
    for _ in range(3):
        with watch.timed("sleep"):
            time.sleep(0.01)
    assert 0.03 <= watch.seconds["sleep"] <= time.perf_counter() - began


def test_what_is_timed_begins_with_the_process():
    began = time.monotonic()
    code = (
        "import time; time.sleep(0.2); from gradcheck.stopwatch import since_start as s; print(s())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert 0.2 <= float(out) <= time.monotonic() - began + 0.02  # it is told in hundredths
    assert since_start() > 0
