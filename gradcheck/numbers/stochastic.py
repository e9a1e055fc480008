"""Stochastic arithmetic: the same code run many times, every operation with a random rounding.

Balls add absolute values, and so lose what cancels in deep networks. Here a number is a float64
evaluation without perturbation and `RUNS` more in which every operation errs at random, its root
mean square being as much as it honestly may. If what they say scatters by σ̂, an honest evaluation
is beyond t·σ̂ with a stated probability only: t is the quantile of Student's distribution with
`RUNS` degrees of freedom. Comparisons are of two evaluations that both err, hence the √2.

Numbers of 16 bits are rounded to ones of their format. Before, a random number is added that is the
sum of two, each even over a spacing of the format. Then the root mean square error is half a
spacing, the most that the nearest one may err, whatever is rounded: what the format has, too, for
another formula need not arrive at it. Bars being dear there, there are more runs; and the error of
the unperturbed evaluation counts for nothing.

All of this holds while errors are so small that what comes of them is proportional to them. Where
the bar of an argument is so wide that a function bends over it, or passes through a period, nothing
is known of the result.

References
----------
D. S. Parker, *Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic*, UCLA
CSD-970002, 1997. J. Vignes, *A stochastic arithmetic for reliable scientific computation*,
Mathematics and Computers in Simulation 35 (1993). S. P. Lipshitz, R. A. Wannamaker and
J. Vanderkooy, *Quantization and dither: a theoretical survey*, Journal of the Audio Engineering
Society 40 (1992), section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcheck.numbers.array import Choices, Function, Storage
from gradcheck.numbers.comparisons import Comparison
from gradcheck.numbers.dispatch import Number, refused
from gradcheck.numbers.elementary import elementary
from gradcheck.numbers.formats import WHOLE, finest, fitted
from gradcheck.numbers.record import LINEAR, Elementary
from gradcheck.numbers.rounding import TF32, Rounding

Floats = NDArray[np.float64]

RUNS, NARROW_RUNS = 16, 128
"""Perturbed evaluations, of numbers of 16 bits the latter."""
ALPHA = 1e-12
"""How probable it is that an honest comparison is beyond its bar: 0.001 false alarms in 10⁹."""
QUANTILES = {16: 19.942933411706934, 128: 7.918950703026757}
"""Student's t by degrees of freedom: P(|T| > t) = `ALPHA`."""


def runs_in(rounding: Rounding) -> int:
    """Return how many perturbed evaluations there are of numbers of a format."""
    return NARROW_RUNS if rounding.stored.is_narrow else RUNS


class Noise:
    """Random numbers, of which no system's generator of normal numbers takes part.

    Parameters
    ----------
    seed, stream
        Which; the same ones yield the same signs anywhere.
    """

    def __init__(self, seed: int, stream: int) -> None:
        self._words = np.random.Philox(key=seed, counter=stream << 128)

    def bits(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return zeros and ones."""
        count = int(np.prod(shape))
        words = self._words.random_raw(-(-count // 64)).view(np.uint8)
        return np.unpackbits(words, count=count).reshape(shape).view(np.bool_)

    def fractions(self, shape: tuple[int, ...]) -> Floats:
        """Return numbers evenly from 0 to 1, exclusive."""
        count = int(np.prod(shape))
        fractions = (self._words.random_raw(count) >> np.uint64(11)) * 2.0**-53
        return np.asarray(fractions.reshape(shape))

    def errors(self, shape: tuple[int, ...]) -> Floats:
        """Return numbers of mean square 1, evenly from −√3 to √3."""
        return np.asarray((self.fractions(shape) * 2 - 1) * sqrt(3))


class Stochastic(Number):
    """An array of numbers, each evaluated many times.

    Parameters
    ----------
    runs
        The evaluations, float64 or integers, shape `(runs + 1, …)`; the first is unperturbed. A
        constant lacks that axis.
    rounding
        The format whose roundings are imitated.
    hidden
        How many leading axes are hidden, that of the runs included; 0 for a constant.
    """

    __slots__ = ("_spread", "noise", "rounding", "runs")

    def __init__(
        self,
        runs: Storage,
        rounding: Rounding,
        noise: Noise,
        hidden: int,
        choices: Choices | None = None,
    ) -> None:
        self.runs, self.rounding, self.noise = runs, rounding, noise
        self._spread: tuple[Storage, Floats] | None = None
        self.begin(hidden, choices)

    @classmethod
    def from_value(
        cls, value: Any, rounding: Rounding, noise: Noise, hidden: int, choices: Choices
    ) -> Stochastic:
        """Return numbers that every evaluation is given; `hidden` is as for balls."""
        runs = np.broadcast_to(value, (runs_in(rounding) + 1, *np.shape(value)))
        return cls(runs, rounding, noise, hidden + 1, choices)

    @property
    def parts(self) -> tuple[Storage, ...]:
        """The evaluations."""
        return (self.runs,)

    @property
    def decisive(self) -> Storage:
        """The unperturbed evaluation, which all others follow."""
        return self.mid

    @property
    def left_open(self) -> NDArray[np.bool_]:
        """Of the answer to a comparison, where it is open."""
        if not self.hidden:
            return np.zeros(self.runs.shape, bool)
        return np.asarray((self.runs != self.runs[0]).any(axis=0))

    def whole(self) -> tuple[Storage, ...]:
        """Return the evaluations."""
        return (self.runs,)

    def with_parts(self, parts: Sequence[Storage], hidden: int | None = None) -> Stochastic:
        """Return other evaluations."""
        hidden = self.hidden if hidden is None else hidden
        return Stochastic(parts[0], self.rounding, self.noise, hidden, self.choices)

    def take_over(self, parts: Sequence[Storage]) -> None:
        """Hold other evaluations."""
        (self.runs,) = parts

    @property
    def dtype(self) -> np.dtype[Any]:
        """The format under judgement, unless these are integers or truth values."""
        return self.stored if self.is_discrete else self.rounding.dtype

    @property
    def format(self) -> np.dtype[Any]:
        """The format in which these numbers are rounded."""
        return self.rounding.dtype

    @property
    def largest_integer(self) -> float:
        """Up to which the format has all integers."""
        return 1 / self.rounding.stored.unit_roundoff

    def pin(self, where: NDArray[np.bool_]) -> None:
        """Let all runs agree with the unperturbed one."""
        if where.any():
            self.runs = np.where(where, self.mid, self.runs)

    def cancel(self, operand: Stochastic) -> None:
        """Take this for an operand that was subtracted from itself."""
        certain = np.broadcast_to(np.isfinite(operand.runs).all(axis=0), self.mid.shape)
        self.pin(certain)
        self.settled = certain

    def constant(self, value: Any) -> Stochastic:
        """Return what every evaluation is given."""
        if isinstance(value, list | tuple):
            return np.stack([self.lifted(item) for item in value])  # type: ignore[return-value]
        given = np.asarray(value)
        if given.dtype.kind == "f":
            rounded = given.astype(self.rounding.dtype).astype(np.float64)
            if not np.array_equal(rounded, given, equal_nan=True):  # some runs round it
                lead = (self.parts[0].shape[0], *(1,) * (self.hidden - 1))
                runs = np.array(np.broadcast_to(given, (*lead, *given.shape)))
                runs[1:] = np.where(self.noise.bits(runs[1:].shape), rounded, runs[1:])
                return self._result(runs, (self,), self.rounding.of_numbers)
        return Stochastic(given, self.rounding.of_numbers, self.noise, 0, self.choices)

    @property
    def mid(self) -> Floats:
        """The unperturbed evaluation."""
        return self.runs[0] if self.hidden else self.runs

    @property
    def rad(self) -> Floats:
        """How far two honest evaluations may be apart, but for a probability of `ALPHA`."""
        if not self.hidden:
            return np.zeros(self.runs.shape)
        if self._spread is None or self._spread[0] is not self.runs:  # they may be replaced
            self._spread = self.runs, self._measured()
        return self._spread[1]

    def _measured(self) -> Floats:
        with np.errstate(all="ignore"):
            runs = _floats(self.runs)
            scatter = np.abs(runs[1:] - runs[0])
            masked = (self.runs[1:] == -np.inf) & (self.runs[0] == -np.inf)
            scatter = np.where(masked, 0.0, scatter)  # the −∞ of a mask is exact
            widest = scatter.max(axis=0)  # by which is divided, lest the squares underflow
            relative = scatter / np.where(widest > 0, widest, 1)
            rad = widest * np.sqrt((relative * relative).mean(axis=0))
            rad *= QUANTILES[len(scatter)]
            rad *= 1.0 if self.rounding.is_narrow else sqrt(2)
        rad = np.where(np.isnan(rad), np.inf, rad)
        rad.flags.writeable = False
        return rad

    @property
    def magnitude(self) -> Floats:
        """A bound on what an evaluation may be."""
        reach = np.abs(self.mid) + self.rad
        return np.where(np.isinf(self.mid) & (self.rad == 0), 0.0, reach)

    @property
    def largest_magnitude(self) -> float:
        """A bound on all magnitudes, NaN where nothing is known of one."""
        return float(np.max(self.magnitude, initial=0.0))

    def elementwise(self, ufunc: np.ufunc, operands: Sequence[Stochastic]) -> Stochastic:
        """Apply the ufunc to every run, and let it err."""
        record = elementary(ufunc)
        if record is None:
            raise refused(f"numpy.{ufunc.__name__}")
        rounding = finest(operands, whole=ufunc in WHOLE)
        values = [_floats(operand.runs) for operand in operands]
        result = np.asarray(ufunc(*values))
        mids = [_floats(operand.mid) for operand in operands]
        ulps = record.accuracy(rounding, *mids)
        if ulps == 0:
            return self._result(result, operands, rounding)
        before = ulps - 0.5 if rounding.is_narrow else ulps  # it is rounded to the format
        error = 2 * before * rounding.unit_roundoff * np.abs(result)
        error = error + record.also(rounding, np.abs(result), mids, mids)
        if ufunc not in (np.add, np.subtract):  # what underflows is no exact zero
            lost = (result == 0) & _all_present(values) & np.isfinite(values[0])
            error = np.where(lost, rounding.underflow_error, error)
        result[1:][:, self._bends(record, operands, result[0], error[0])] = np.nan
        return self._perturbed(result, error, operands, rounding)

    def in_format(self, dtype: np.dtype[Any]) -> Stochastic:
        """Let every run be rounded to a coarser format; all alike where all runs are."""
        rounding = self.rounding.in_format(dtype)
        runs = _floats(self.runs)
        if self.is_discrete or not rounding.is_coarser_than(self.rounding):
            return self._result(runs, (self,), rounding)
        with np.errstate(all="ignore"):
            rounded = runs.astype(dtype).astype(np.float64)
        if not self.hidden:
            return self._result(rounded, (self,), rounding)
        error = np.zeros(runs.shape)
        if not rounding.is_narrow:
            alike = (runs == runs[0]).all(axis=0)
            with np.errstate(all="ignore"):
                roundoff = rounding.unit_roundoff * np.abs(runs)
                error = np.where(alike, np.abs(runs - rounded), roundoff)
        runs = np.array(runs)
        runs[1:][:, (np.abs(runs[0]) > rounding.largest) & ~np.isinf(runs[0])] = np.nan
        return self._perturbed(runs, error, (self,), rounding)

    def promoted(self, operands: Sequence[Any]) -> Stochastic:
        """Take on the finest format of the numbers of which this is made."""
        self.rounding = finest(operands, whole=True)
        return self

    def admitted(self, value: Any) -> Stochastic:
        """Return what is to be written, in the format of what holds it."""
        return fitted(super().admitted(value), self)

    def _bends(
        self, record: Elementary, operands: Sequence[Stochastic], value: Floats, error: Floats
    ) -> NDArray[np.bool_]:
        """Tell where a function is far from linear over the bars of its arguments.

        One that is as good as constant there does not bend.
        """
        wide = [operand.rad for operand in operands]
        bends = record.bends(wide, [operand.mid for operand in operands])
        if len(operands) == 1 and record.extremes is not None and np.any(bends):
            places = record.extremes(operands[0].mid - wide[0], operands[0].mid + wide[0])
            least, most = (record.ufunc(place) for place in places)
            bends = bends & ~(np.abs(most - least) <= error)
        return np.broadcast_to(bends, value.shape)

    def contract(
        self, function: Function, operands: Sequence[Stochastic], terms: int
    ) -> Stochastic:
        """Apply to every run, and let every product and every partial sum err.

        With S the sum of n products and Q that of their squares, the squares of the n − 1 partial
        sums add up to S²·Σ(k/n)² + (Q − S²/n)·Σ k(n − k)/(n(n − 1)), k from 2 to n, on average
        over the orders in which the products may be added. The errors of the products add Q. One
        order that is far from average, such as all positive products first, may err more.
        """
        rounding = finest(operands, whole=True)
        if rounding.factors_in_tf32 and len(operands) == 2:
            operands = [operand.in_tf32() for operand in operands]
        values = [_floats(operand.runs) for operand in operands]
        result = np.array(function(*values))
        squares = np.abs(function(*(value * value for value in values)))
        counts = np.arange(2, terms + 1) / terms
        whole = float((counts**2).sum())
        mixed = float((counts * (1 - counts)).sum()) * terms / max(terms - 1, 1)
        square = result * result
        variance = whole * square + mixed * np.maximum(squares - square / terms, 0)
        variance += (len(operands) - 1) * squares
        if len(operands) == 2:
            # One run stands for all, so that the function finds the axes that it expects.
            (a, wide_a), (b, wide_b) = (
                (np.abs(o.mid)[None], o.rad[None]) if o.hidden else (np.abs(o.mid), o.rad)
                for o in operands
            )
            if wide_a.any() and wide_b.any():
                proportional = function(a, wide_b) + function(wide_a, b)
                bends = ~(function(wide_a, wide_b) <= LINEAR * proportional)
                result[1:][:, bends[0]] = np.nan
        adding = rounding.stored if rounding.recipe.accumulator == "storage" else rounding.working
        error = adding.unit_roundoff * np.sqrt(variance)
        lost, overflows = self._beyond(function, operands, terms, rounding)
        result[1:][:, overflows] = np.nan
        return self._perturbed(result, error + lost, operands, rounding)

    def in_tf32(self) -> Stochastic:
        """Let every run be a factor of a product of matrices, which is rounded."""
        if not self.hidden:
            return self
        runs = np.array(_floats(self.runs))
        return self._perturbed(runs, TF32 * np.abs(runs), (self,), self.rounding)

    def written_down(self) -> Stochastic:
        """Let every run be rounded that was held in another format."""
        rounding = self.rounding.stored
        if self.is_discrete or not self.hidden or rounding is self.rounding:
            return self
        runs = np.array(_floats(self.runs))
        return self._perturbed(runs, np.zeros(runs.shape), (self,), rounding)

    @staticmethod
    def _beyond(
        function: Function, operands: Sequence[Stochastic], terms: int, rounding: Rounding
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Return what products and partial sums may lose that underflow, and where one overflows.

        However large, or near to zero, their sum is. The infinity of an operand is no overflow.
        """
        sizes = [np.abs(_floats(o.mid))[None] if o.hidden else np.abs(o.mid) for o in operands]
        sizes = [np.where(np.isinf(size), 0.0, size) for size in sizes]
        reach = np.asarray(function(*sizes))
        present = np.asarray(function(*((size != 0).astype(np.float64) for size in sizes)))
        flushed = rounding.flushed * terms
        small = (present != 0) & (reach < flushed / rounding.working.unit_roundoff)
        return np.where(small, flushed, 0.0), (reach > rounding.largest)[0]

    def _perturbed(
        self, result: Floats, error: Floats, operands: Sequence[Stochastic], rounding: Rounding
    ) -> Stochastic:
        """Add the error with a random sign, and a flush to zero where one is possible."""
        size = np.abs(result)
        subnormal = (size < rounding.smallest_normal) & (result != 0)
        spacing = 2 * rounding.unit_roundoff * rounding.smallest_normal
        flushed = np.minimum(np.maximum(size, spacing), rounding.underflow_error)
        error = np.where(subnormal, np.maximum(flushed, error), error)
        error = np.where(np.isinf(result), 0.0, error)
        overflows = ((size > rounding.largest) & ~np.isinf(result)).any(axis=0)
        result[1:][:, overflows] = np.nan
        result[1:] += self.noise.errors(result[1:].shape) * error[1:]
        if rounding.is_narrow:
            result[1:] = self._dithered(result[1:], result[0], rounding)
        return self._result(result, operands, rounding)

    def _dithered(self, runs: Floats, mid: Floats, rounding: Rounding) -> Floats:
        """Round to numbers of the format, at random; zero and what is not finite stay.

        An operation on equal numbers rounds alike: a sum of its results errs as many times as much.
        """
        distinct, places = np.unique(mid, return_inverse=True)
        shape = len(runs), len(distinct)
        dither = self.noise.fractions(shape) + self.noise.fractions(shape) - 1
        dither = dither[:, places.ravel()].reshape(runs.shape)
        _, exponent = np.frexp(np.maximum(np.abs(runs), rounding.smallest_normal))
        spacing = np.ldexp(rounding.unit_roundoff, exponent)
        kept = (runs == 0) | ~np.isfinite(runs)
        return np.where(kept, runs, np.rint(runs / spacing + dither) * spacing)

    def _result(
        self, runs: Floats, operands: Sequence[Stochastic], rounding: Rounding
    ) -> Stochastic:
        leading = max(operands, key=lambda operand: operand.hidden)
        return Stochastic(runs, rounding, self.noise, leading.hidden, leading.choices)

    def compared(
        self, ufunc: np.ufunc, a: Stochastic, b: Stochastic, known: Comparison
    ) -> Stochastic:
        """Compare; each run answers what is open at random."""
        rounding = finest((a, b))
        lead = self._result(_floats(a.runs) - _floats(b.runs), (a, b), rounding)
        answer = np.asarray(ufunc(a.mid, b.mid), dtype=np.float64)
        left_open = np.zeros(answer.shape, bool)
        if not known.of_integers:
            left_open = ~(np.abs(lead.mid) > lead.rad)
            if ufunc in (np.equal, np.not_equal) and known.axes is None:
                left_open &= lead.rad > 0
        if left_open.any():
            equal = known.equal(left_open)
            left_open &= ~(equal | _is_apart(a, b) | _is_apart(b, a))
            answer = np.where(equal, ufunc(0.0, 0.0), answer)
        return self._answered(answer, left_open, (a, b))

    def classified(self, ufunc: np.ufunc) -> Stochastic:
        """Answer `isfinite`, `isinf` or `isnan`, which is open where nothing is known."""
        return self._answered(ufunc(self.mid).astype(np.float64), ~(self.rad < np.inf), (self,))

    def _answered(
        self, answer: Floats, left_open: NDArray[np.bool_], operands: Sequence[Stochastic]
    ) -> Stochastic:
        """Return truth values, at random where they are open."""
        result = self._result(answer, operands, finest(operands).of_answers)
        lead = next((o.runs.shape[:1] for o in operands if o.hidden), ())
        result.runs = runs = np.array(np.broadcast_to(answer, (*lead, *answer.shape)))
        result.choices.note(left_open)
        if result.choices.both and result.hidden and left_open.any():
            answers = self.noise.bits(runs[1:].shape)
            answers[0], answers[1] = True, False  # both are given, whatever chance says
            runs[1:] = np.where(left_open, answers, runs[1:])
        return result

    def choose(self, condition: Stochastic, a: Stochastic, b: Stochastic) -> Stochastic:
        """Take either, run by run."""
        runs = np.where(condition.runs > 0.5, a.runs, b.runs)
        return self._result(runs, (condition, a, b), finest((a, b), whole=True))

    def __repr__(self) -> str:
        return f"Stochastic({self.mid!r} ± {self.rad!r}, {self.rounding.dtype})"


def _is_apart(a: Stochastic, b: Stochastic) -> Any:
    """Tell where one is the −∞ of a mask, which is exact, and the other a number."""
    return (a.mid == -np.inf) & ~a.left_open & (b.mid > -np.inf) & (b.rad < np.inf)


def _all_present(values: Sequence[Floats]) -> Any:
    """Tell where no operand is zero."""
    present = values[0] != 0
    for value in values[1:]:
        present = present & (value != 0)
    return present


def _floats(runs: Storage) -> Floats:
    return runs if runs.dtype == np.float64 else runs.astype(np.float64)
