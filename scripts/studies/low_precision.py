"""What bars in 16 bits call wrong that is right, how wide they are, and what others let pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradcheck.adapters import choose_adapters
from gradcheck.harness.request import NARROW_DTYPES
from gradcheck.harness.samples import draw_model
from gradcheck.judge.reference import Passes
from gradcheck.judge.verdict import Verdict, compare
from gradcheck.model.model import Model
from gradcheck.numbers.rounding import Rounding
from gradcheck.sampling import normal
from gradcheck.truth.derivative import enclose_gradients
from gradcheck.truth.enclosures import distance

Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats, str], bool]
"""From an evaluation's gradient, a float32 evaluation's and the format, to whether it passes."""

MOST_CASES = 200_000
"""Elements of a gradient that are mutated, those of all samples together."""
TOLERANCES = {"float16": 1e-3, "bfloat16": 1e-2}
"""Relative and absolute, of each format: JAX's own tests take these."""
CHANGES: Mapping[str, Callable[[Floats], Floats]] = {
    "honest": lambda g: 1 * g,
    **{f"2^-{k}": partial(np.multiply, 1 + 2.0**-k) for k in range(3, 13)},
    "one element": lambda g: _with_one(g, 1.125),
    "sign of one": lambda g: _with_one(g, -1.0),
    "half dropped": lambda g: g * (np.arange(g.size).reshape(g.shape) % 2),
    "all zero": lambda g: 0 * g,
    "all zero, small": lambda g: 0 * g,
}
"""What is done to a right gradient: nothing; made larger by a share; wrong in a part."""
SMALL = {"all zero, small": 2.0**-12}
"""By what all gradients, right and wrong ones, are multiplied besides, as those of a mean are.

Bars are so too, and what they tell stays the same.
"""


def measure_tightness(models: Iterable[Model], samples: int) -> pd.DataFrame:
    """Hold bars and PyTorch's gradients against the truth, at scale 1.

    Returns
    -------
    pandas.DataFrame
        A row per model and format: `comparisons`, the share that is `informative`, the medians of
        bar and true error in ulps and their ratio, and the worst error as a share of its bar. On
        kinks there is none.
    """
    rows = []
    for model in models:
        adapter = choose_adapters(["torch"], model)["torch"]
        for dtype in map(np.dtype, NARROW_DTYPES):
            values = draw_model(model, 0, 0, samples, dtype=dtype)
            truth = enclose_gradients(model, values)
            found = adapter.prepare(model, dtype)(_given(values, dtype))
            passes = Passes(model, values, Rounding(dtype), bars="auto")
            parts = []
            for name in model.parameters:
                reference = passes.gradient(name, adapter.normal_range(dtype), samples)
                error = distance(np.asarray(found[name]).astype(np.float64), truth[name])
                smooth = ~reference.kink if reference.kink is not None else True
                bound = np.where(smooth, reference.bound, np.inf)
                columns = error, bound, reference.ulp, reference.informative & smooth
                parts.append(np.stack([column.ravel() for column in columns]))
            error, bar, ulp, informative = np.concatenate(parts, axis=1)
            known = np.isfinite(bar) & (bar > 0)
            bars, errors = np.median((bar / ulp)[known]), np.median((error / ulp)[known])
            rows.append(
                {
                    "model": model.name,
                    "dtype": dtype.name,
                    "comparisons": len(error),
                    "informative": informative.mean(),
                    "median_bar_ulps": bars,
                    "median_error_ulps": errors,
                    "bar_over_error": bars / errors,
                    "worst_error_over_bar": (error / bar)[known].max(),
                }
            )
    return pd.DataFrame(rows)


def measure_power(models: Iterable[Model], samples: int) -> pd.DataFrame:
    """Let each rule judge right and wrong gradients of each sample.

    A sample's gradient with respect to one parameter is one case. The bars find it if an element
    disagrees.

    Returns
    -------
    pandas.DataFrame
        A row per model, format and mutant (`honest` is none): `cases`, and the share that each
        rule finds.
    """
    rows = []
    for model in models:
        adapter = choose_adapters(["torch"], model, ("float64", *NARROW_DTYPES))["torch"]
        wide, some = np.dtype(np.float32), min(samples, MOST_CASES // largest_size(model))
        for dtype in map(np.dtype, NARROW_DTYPES):
            values = draw_model(model, 0, 0, some, dtype=dtype)
            found = adapter.prepare(model, dtype)(_given(values, dtype))
            finer = adapter.prepare(model, wide)(_given(values, wide))
            kinds = {"bars": "auto", "stochastic bars": "stochastic"}
            bars = {k: Passes(model, values, Rounding(dtype), bars=b) for k, b in kinds.items()}
            references = {
                (kind, name): passes.gradient(name, adapter.normal_range(dtype), some)
                for kind, passes in bars.items()
                for name in model.parameters
            }
            for mutant, changed in CHANGES.items():
                told: list[dict[str, bool]] = []
                for name in model.parameters:
                    right = np.asarray(found[name]).astype(np.float64)
                    wrong = np.stack([changed(one) for one in right]).astype(dtype)
                    told_by = {
                        kind: _rejected(wrong, references[kind, name], some) for kind in kinds
                    }
                    expected = np.asarray(finer[name]).astype(np.float64)
                    factor = SMALL.get(mutant, 1.0)
                    for i in range(some):
                        if mutant != "honest" and (wrong[i] == right[i]).all():
                            continue  # rounded back to what is right
                        one = {kind: bool(rejected[i]) for kind, rejected in told_by.items()}
                        value, plain = wrong[i].astype(np.float64), expected[i]
                        scaled = value * factor, plain * factor, dtype.name, right[i] * factor
                        one |= {rule: not passed(*scaled) for rule, passed in RULES.items()}
                        told.append(one)
                row = {"model": model.name, "dtype": dtype.name, "mutant": mutant}
                shares = pd.DataFrame(told).mean()
                rows.append(row | {"cases": len(told)} | {str(n): shares[n] for n in shares.index})
    return pd.DataFrame(rows)


def largest_size(model: Model) -> int:
    """Return how many elements the largest gradient has."""
    return max(prod(shape) for shape in model.parameters.values())


def large_model() -> Model:
    """Return a SwiGLU of 10,000 elements as a model."""
    import torch

    from gradcheck import Case

    shapes = torch.randn(2, 100, 100, generator=torch.Generator().manual_seed(0))
    near = normal()
    return Case(
        lambda a, b: torch.nn.functional.silu(a) * b,
        *shapes,
        sampling={"a": near, "b": near},
        name="swiglu-10000",
    ).model()


def _rejected(wrong: Any, reference: Any, samples: int) -> NDArray[np.bool_]:
    """Tell on which samples an element disagrees."""
    verdict = compare(wrong, reference).verdict.reshape(samples, -1)
    return np.asarray(np.isin(verdict, (Verdict.DISAGREE, Verdict.NAN)).any(1))


def _given(values: Mapping[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {n: a if a.dtype.kind == "i" else a.astype(dtype) for n, a in values.items()}


def _with_one(gradient: Floats, factor: float) -> Floats:
    changed = gradient.copy()
    changed.flat[gradient.size // 2] *= factor
    return changed


def _close(tolerance: float) -> Any:
    def passed(value: Floats, expected: Floats, *_: Any) -> bool:
        return bool(np.allclose(value, expected, rtol=tolerance, atol=tolerance))

    return passed


def _close_by_dtype(value: Floats, expected: Floats, dtype: str, *_: Any) -> bool:
    return bool(_close(TOLERANCES[dtype])(value, expected))


def _twice_as_wrong(value: Floats, expected: Floats, dtype: str, same: Floats) -> bool:
    """Allow twice the largest error of a plain evaluation in the same format, as FlashAttention."""
    with np.errstate(invalid="ignore"):
        worst = np.abs(value - expected).max()
        return bool(worst <= 2 * np.abs(same - expected).max() + 1e-5)


def _rms(value: Floats) -> float:
    return float(np.sqrt(np.mean(value * value)))


def _three_times_as_wrong(value: Floats, expected: Floats, dtype: str, same: Floats) -> bool:
    """Allow three times the root mean square error of a plain evaluation, as TorchInductor's."""
    size = _rms(expected) or 1.0
    return _rms(value - expected) / size <= 3 * _rms(same - expected) / size + 1e-3


def _cosine(value: Floats, expected: Floats, *_: Any) -> bool:
    """Allow an angle whose cosine is 0.99."""
    lengths = np.linalg.norm(value) * np.linalg.norm(expected)
    return bool((value * expected).sum() >= 0.99 * lengths)


RULES: Mapping[str, Callable[..., bool]] = {
    "allclose 1e-2": _close(1e-2),
    "allclose 1e-1": _close(1e-1),
    "allclose by dtype": _close_by_dtype,
    "twice the error": _twice_as_wrong,
    "RMSE": _three_times_as_wrong,
    "cosine 0.99": _cosine,
}
"""What others decide by."""
