"""What takes the place of `jax.test_util.check_grads`: the same arguments, and no tolerance.

from gradcheck.jax import check_grads
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradcheck.capture.check import check
from gradcheck.errors import RequestError
from gradcheck.originals import insisting, note_idle


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: Any = None,
    rtol: Any = None,
    eps: Any = None,
) -> None:
    """Check the derivatives of a function of arrays up to an order, as JAX's function does.

    Of a higher order the reverse pass of the order below is the function, of the inputs and of the
    cotangents.

    Parameters
    ----------
    f, args, order
        As of the original.
    modes
        With `fwd` or `lin` it is a fault if forward mode is not defined, as of a `custom_vjp`;
        where it is defined it is judged anyway, and so is reverse mode.
    atol, rtol, eps
        Have no effect, for every gradient has a bound of its own.

    Raises
    ------
    AssertionError
        If something was not judged, or is wrong.
    """
    from gradcheck.capture.contract import FORWARD_MODE
    from gradcheck.reports.failure import describe_failure

    given = {"atol": atol, "rtol": rtol, "eps": eps}
    note_idle([name for name, value in given.items() if value is not None])
    function, inputs = f, tuple(args)
    for level in range(1, order + 1):
        try:
            report = check(function, *inputs)
        except RequestError as error:
            raise AssertionError(f"order {level}: {error}") from error
        report = insisting(report, [FORWARD_MODE] if {"fwd", "lin"} & {*modes} else [])
        if not report.agrees:
            raise AssertionError(f"order {level}: {describe_failure(report, '')}")
        if level < order:
            function, inputs = _reverse_pass(function, inputs)


def _reverse_pass(
    f: Callable[..., Any], inputs: tuple[Any, ...]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the reverse pass as a function, and its inputs: with cotangents of ones."""
    import jax
    from jax import numpy as jnp

    from gradcheck.capture.jax_subject import is_float_array

    wanted = [i for i, one in enumerate(inputs) if _all_floats(one)]

    def of_wanted(given: tuple[Any, ...], *chosen: Any) -> Any:
        filled = list(given)
        for i, one in zip(wanted, chosen, strict=True):
            filled[i] = one
        return f(*filled)

    def reverse(*given: Any) -> Any:
        own, cotangents = given[:-1], given[-1]
        chosen = [own[i] for i in wanted]
        outputs, pull = jax.vjp(lambda *some: of_wanted(own, *some), *chosen)
        leaves, structure = jax.tree_util.tree_flatten(outputs)
        taken = iter(cotangents)
        full = [next(taken) if is_float_array(one) else jnp.zeros(one.shape, jax.dtypes.float0)
                for one in leaves]  # fmt: skip
        return pull(jax.tree_util.tree_unflatten(structure, full))

    outputs = [one for one in jax.tree_util.tree_leaves(f(*inputs)) if is_float_array(one)]
    return reverse, (*inputs, [jnp.ones_like(one) for one in outputs])


def _all_floats(tree: Any) -> bool:
    import jax

    from gradcheck.capture.jax_subject import is_float_array

    leaves = jax.tree_util.tree_leaves(tree)
    return bool(leaves) and all(map(is_float_array, leaves))
