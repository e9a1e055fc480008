"""What the author of a model may have got wrong, found on two samples before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradcheck.adapters.hand_written import hand_written
from gradcheck.errors import RequestError, guarded
from gradcheck.harness.request import NARROW_DTYPES, Request
from gradcheck.harness.samples import draw_model
from gradcheck.judge.evaluation import Values
from gradcheck.judge.mistakes import check_boards, check_number, failure, place
from gradcheck.judge.reference import Passes
from gradcheck.model.board import Blackboard, Given
from gradcheck.model.model import Model, each_sample
from gradcheck.numbers.array import OneSampleError
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding

CHECKED = 2
"""Samples on which a model is run before any work, to see whether it is stated as it should be."""
RUNS = 8
"""More runs in which chance would show that did not on the first two."""


def check_drawn(model: Model, request: Request) -> None:
    """Check a model on the first samples of a sweep; see `check_model`."""
    if not model.recorded:
        settings = request.distribution, request.scale, request.dtypes[0]
        check_model(model, draw_model(model, request.seed, 0, CHECKED, *settings), request.dtypes)


def check_model(model: Model, values: Values, dtypes: Sequence[str] = ("float64",)) -> None:
    """Run definition and passes on plain arrays, and the passes on balls; compare.

    Parameters
    ----------
    values
        A few samples, of shape `(n, *shape)`.
    dtypes
        In which the passes must be the same on NumPy's arrays as on all samples at once.

    Raises
    ------
    RequestError
        If something raises, has the wrong shape or name, changes what it was given, is not the
        same twice, or is not the same on balls.
    """
    for array in values.values():
        array.flags.writeable = False
    with np.errstate(all="ignore"):
        for row in each_sample(model, values):
            _check_definition(model, row)
            _check_repeats(model, row, 1)
        _check_branches(model, values)
        _check_balls(model, values)
        for dtype in dict.fromkeys("float32" if one in NARROW_DTYPES else one for one in dtypes):
            _check_at_once(model, values, np.dtype(dtype))


def _check_repeats(model: Model, row: Mapping[str, Any], more: int) -> None:
    first = _run(model, row)
    for _ in range(more):
        for (name, one), (_, other) in zip(first, _run(model, row), strict=True):
            if not np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f"):
                raise RequestError(
                    "model",
                    f"the passes of {model.name} are not deterministic: {name} is "
                    f"different if they are run again; let them depend on v alone",
                )


def _check_definition(model: Model, row: Mapping[str, Any]) -> None:
    try:
        with guarded():
            losses = [np.asarray(model.loss(np, Given(row))) for _ in range(2)]
    except Exception as error:
        raise failure(model, "definition", error) from error
    loss, expected = losses[0], (1,) if model.batched else ()
    if loss.dtype.kind not in "fiu":
        raise RequestError(
            "model",
            f"the definition of {model.name} returns {loss.item()!r} where a number was "
            f"expected; let it return the loss",
        )
    if loss.shape != expected:
        what = "one number per sample" if model.batched else "a scalar"
        raise RequestError(
            "model",
            f"the definition of {model.name} returns the shape {loss.shape} where {what}, "
            f"the shape {expected}, was expected; sum it, as xp.sum(…)",
        )
    if not np.array_equal(losses[0], losses[1], equal_nan=True):
        raise RequestError(
            "model",
            f"the definition of {model.name} is not deterministic; let it depend on v alone",
        )


def _run(model: Model, row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Run both passes; return what they wrote."""
    v, t, d = Given(row), Blackboard(), Blackboard()
    try:
        with guarded():
            model.forward(np, v, t)
            trace = {name: np.array(t[name]) for name in t}
            model.backward(np, v, t, d)
    except Exception as error:
        raise failure(model, "passes", error) from error
    for name in t:
        equal_nan = np.asarray(t[name]).dtype.kind == "f"
        if name not in trace or not np.array_equal(trace[name], t[name], equal_nan=equal_nan):
            raise RequestError(
                "model",
                f"the backward pass of {model.name} changes t.{name}; write to d.{name}, or "
                f"to a copy of it",
            )
    for name, shape in model.parameters.items():
        if name in d and shape and isinstance(d[name], np.generic):
            raise RequestError(
                "model",
                f"the backward pass of {model.name} gives d.{name} the shape () where "
                f"{shape} was expected; is a sum too many?",
            )
    for letter, board in (("t", t), ("d", d)):
        for name in board:
            check_number(model, f"{letter}.{name}", board[name])
    check_boards(
        model, t, d, lambda value: np.shape(value)[1:] if model.batched else np.shape(value)
    )
    return [
        (f"{letter}.{name}", board[name])
        for letter, board in (("t", t), ("d", d))
        for name in board
    ]


def _check_branches(model: Model, values: Values) -> None:
    """Find out whether the definition takes one sample at a time, as no framework's vmap does."""
    numbers = {name: Plain(array, 0 if model.batched else 1) for name, array in values.items()}
    try:
        with guarded():
            model.loss(np, Given(numbers))
    except OneSampleError as error:
        raise RequestError(
            "model",
            f"the definition of {model.name} branches on a value"
            f"{place(model, error)}, which cannot be differentiated; use xp.where",
        ) from error
    except Exception:  # what the numbers lack, the adapters that need them will say
        return


def _check_balls(model: Model, values: Values) -> None:
    """Find out whether balls carry what the code does: a write through a view they do not."""
    passes = Passes(model, values, Rounding(np.dtype(np.float64)))
    for i, row in enumerate(each_sample(model, values)):
        for name, value in _run(model, row):
            ball = (passes.t if name[0] == "t" else passes.d)[name[2:]]
            mid, rad = (np.broadcast_to(part, ball.mid.shape)[i] for part in ball.whole())
            plain = np.asarray(value)[0] if model.batched and np.ndim(value) else np.asarray(value)
            apart = np.abs(np.broadcast_to(plain, mid.shape) - mid) > rad
            if apart.any() and not passes.open[i]:
                _check_repeats(model, row, RUNS)
                raise RequestError(
                    "model",
                    f"{name} of {model.name} is not the same on balls as on plain arrays; let the "
                    f"passes not ask what kind of array they run on",
                )


def _check_at_once(model: Model, values: Values, dtype: np.dtype[Any]) -> None:
    """Find out whether the passes do the same on one sample in NumPy as on all at once."""
    given = {
        name: array if array.dtype.kind == "i" else array.astype(dtype)
        for name, array in values.items()
    }
    widened = {
        name: array if array.dtype.kind == "i" else array.astype(np.float64)
        for name, array in given.items()
    }
    passes = Passes(model, widened, Rounding(dtype))
    try:
        with guarded():
            at_once = hand_written.prepare(model, dtype)(given)
    except Exception as error:
        raise failure(model, "passes", error) from error
    for i, row in enumerate(each_sample(model, given)):
        alone = dict(_run(model, row))
        for name, shape in model.parameters.items():
            ball = passes.d[name]
            rad = np.broadcast_to(ball.whole()[1], ball.mid.shape)
            rad = rad[i] if ball.mid.ndim else rad
            value = np.broadcast_to(alone[f"d.{name}"], (1, *shape) if model.batched else shape)
            with np.errstate(all="ignore"):
                apart = np.abs(at_once[name][i] - value.reshape(shape)) > rad
            if apart.any() and not passes.open[i]:
                _check_repeats(model, row, RUNS)
                raise RequestError(
                    "model",
                    f"d.{name} of {model.name} in {dtype} is not the same on all samples at once "
                    f"as on one in NumPy; let the passes not ask what kind of array they are "
                    f"given",
                )
