"""What the author of a model may have got wrong, found on two samples before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradcheck.errors import RequestError
from gradcheck.judge.evaluation import Values, check_boards, check_number, failure, place
from gradcheck.judge.reference import Passes
from gradcheck.model.model import Blackboard, Given, Model
from gradcheck.numbers.array import OneSampleError
from gradcheck.numbers.plain import Plain
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth.derivative import rows


def check_model(model: Model, values: Values) -> None:
    """Run definition and passes on plain arrays, and the passes on balls; compare.

    Parameters
    ----------
    values
        A few samples, of shape `(n, *shape)`.

    Raises
    ------
    RequestError
        If something raises, has the wrong shape or name, changes what it was given, is not the
        same twice, or is not the same on balls.
    """
    for array in values.values():
        array.flags.writeable = False
    with np.errstate(all="ignore"):
        for row in rows(model, values):
            _check_definition(model, row)
            first, second = _run(model, row), _run(model, row)
            for (name, one), (_, other) in zip(first, second, strict=True):
                if not np.array_equal(one, other, equal_nan=True):
                    raise RequestError(
                        "model",
                        f"the passes of {model.name} are not deterministic: {name} is "
                        f"different if they are run again; let them depend on v alone",
                    )
        _check_branches(model, values)
        _check_balls(model, values)


def _check_definition(model: Model, row: Mapping[str, Any]) -> None:
    try:
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
    for i, row in enumerate(rows(model, values)):
        for name, value in _run(model, row):
            ball = (passes.t if name[0] == "t" else passes.d)[name[2:]]
            mid, rad = (np.broadcast_to(part, ball.mid.shape)[i] for part in ball.whole())
            plain = np.asarray(value)[0] if model.batched and np.ndim(value) else np.asarray(value)
            apart = np.abs(np.broadcast_to(plain, mid.shape) - mid) > rad
            if apart.any() and not passes.open[i]:
                raise RequestError(
                    "model",
                    f"{name} of {model.name} is not the same on balls as on plain arrays; "
                    f"a write through a slice or a view of another array is lost there: assign to "
                    f"the array itself",
                )
