"""What is asked about a function and its inputs, and what it answers."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import torch
from jax import test_util

import gradcheck
from gradcheck.capture.check import SAMPLES
from studies.functions.corpus_jax import split
from studies.functions.subjects import FRAMEWORKS

RECOMMENDED = {"eps": 1e-3, "atol": 1e-2, "rtol": 1e-2}
"""For `torch.autograd.gradcheck` in float32. PyTorch recommends nothing but float64; what its own
tests take in float32, and those of its libraries, is steps of 3e-4 to 1e-3 and tolerances from
5e-5 to 1e-2. This is the widest of them, so that it accepts as many correct passes as it can."""


class Answer(NamedTuple):
    """What a detector says.

    Parameters
    ----------
    rejects
        Whether it does not call all gradients right.
    seconds
        How long it took.
    disagrees
        Whether it calls some wrong; an error or a refusal is no such answer.
    line
        Of the file, the first that it calls wrong, `None` if it names none there.
    explanation
        What it says of that line.
    compared
        How many gradients it compared, 0 if it does not tell.
    late
        Whether it was stopped, and said nothing.
    """

    rejects: bool
    seconds: float
    disagrees: bool = False
    line: int | None = None
    explanation: str = ""
    compared: int = 0
    late: bool = False


def check(function: Any, inputs: tuple[Any, ...], seed: int, samples: int = SAMPLES) -> Answer:
    """Ask `gradcheck.check`."""
    start = time.perf_counter()
    try:
        report = gradcheck.check(function.apply, *inputs, samples=samples, seed=seed)
    except gradcheck.RequestError:
        return Answer(True, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    file = function.backward.__code__.co_filename
    rows = [row for row in report.diagnosis.to_dict("records") if str(row["file"]) == file]
    line, explanation = (int(rows[0]["line"]), rows[0]["explanation"]) if rows else (None, "")
    counts, audit = report.run["counts"], report.run["audit"]
    wrong = counts["disagree"] + counts["nan"] + audit["refuted"] + audit["unexplained"]
    return Answer(
        not report.agrees,
        seconds,
        bool(wrong),
        line,
        str(explanation),
        counts["agree"] + counts["disagree"],
    )


def torch_gradcheck(function: Any, inputs: tuple[Any, ...], seed: int) -> Answer:
    """Ask `torch.autograd.gradcheck`: at its defaults in float64, `RECOMMENDED` in float32."""
    single = any(one.dtype == torch.float32 for one in inputs)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that inputs are not of float64
        try:
            accepts = torch.autograd.gradcheck(
                function.apply, inputs, raise_exception=False, **(RECOMMENDED if single else {})
            )
        except RuntimeError:
            accepts = False
    return Answer(not accepts, time.perf_counter() - start, not accepts)


def jax_check_grads(function: Any, inputs: tuple[Any, ...], seed: int) -> Answer:
    """Ask `jax.test_util.check_grads` about the reverse mode, at its defaults in both formats."""
    with jax.enable_x64(inputs[0].dtype == "float64"):
        of_floats, floats = split(function.apply, inputs)
        start = time.perf_counter()
        try:
            test_util.check_grads(of_floats, floats, order=1, modes=("rev",))
        except AssertionError:
            return Answer(True, time.perf_counter() - start, True)
        return Answer(False, time.perf_counter() - start)


Ask = Callable[[Any, tuple[Any, ...], int], Answer]
RIVALS: dict[str, Ask] = {
    "torch.autograd.gradcheck": torch_gradcheck,
    "check_grads": jax_check_grads,
}
OWN = "gradcheck"
DETECTORS: dict[str, dict[str, Ask]] = {
    framework: {OWN: check, name: ask}
    for framework, (name, ask) in zip(FRAMEWORKS, RIVALS.items(), strict=True)
}
"""By framework."""
NAMES = (OWN, *RIVALS)


class LateError(KeyboardInterrupt):
    """That time is up; of this kind, since one that asks lets no other error of its caller pass."""


def ask_in_time(
    ask: Callable[..., Answer], seconds: float, function: Any, inputs: tuple[Any, ...], *rest: int
) -> Answer:
    """Ask a detector, but wait no longer than so many seconds for what it says."""
    start = time.perf_counter()
    try:
        with _limit(seconds):
            answer = ask(function, inputs, *rest)
    except LateError:
        return Answer(False, time.perf_counter() - start, late=True)
    if answer.seconds > seconds:
        return Answer(False, answer.seconds, late=True)
    return answer


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise `LateError` after so many seconds, and again each second if somebody catches it."""

    def stop(*_: Any) -> None:
        raise LateError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def told_mend(answer: Answer) -> bool:
    """Tell whether it says how a line is right, which it proved; that may be another line."""
    return " is right " in answer.explanation
