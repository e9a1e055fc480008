"""Mistakes that people make in backward passes: each one line of a gallery model, altered.

They are planted in the text of the model's file, so that a diagnosis has a line to name.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One line of a backward pass, as it is and as somebody might have written it.

    Parameters
    ----------
    name
        What was got wrong, in words.
    old, new
        The line, without its indentation, and what is planted in its stead.
    words
        What the explanation must contain (or the error, if the fault is refused); `None` if no
        explanation is expected.
    typical
        Whether it stands for its kind where not all are tried.
    """

    name: str
    old: str
    new: str
    words: str | None = None
    typical: bool = False

    @property
    def quantity(self) -> str:
        """What the line writes: `d.z`."""
        return self.old.partition(" = ")[0]


FAULTS: dict[str, tuple[Fault, ...]] = {
    "softmax_cross_entropy": (
        Fault(
            "the one-hot is forgotten",
            "d.z = t.exponentials / t.total - one_hot(xp, v)",
            "d.z = t.exponentials / t.total",
            typical=True,
        ),
        Fault(
            "the exponentials are not normalised",
            "d.z = t.exponentials / t.total - one_hot(xp, v)",
            "d.z = t.exponentials - one_hot(xp, v)",
        ),
        Fault(
            "target minus prediction",
            "d.z = t.exponentials / t.total - one_hot(xp, v)",
            "d.z = one_hot(xp, v) - t.exponentials / t.total",
            "z has the opposite sign",
            typical=True,
        ),
        Fault(
            "averaged over the classes",
            "d.z = t.exponentials / t.total - one_hot(xp, v)",
            "d.z = (t.exponentials / t.total - one_hot(xp, v)) / CLASSES",
            "z is 0.2 times what it should be",
            typical=True,
        ),
        Fault(
            "the logits instead of their adjoint",
            "d.W = d.z[:, None] * v.x",
            "d.W = t.z[:, None] * v.x",
            "has t.z where ∂ℓ/∂z belongs",
            typical=True,
        ),
        Fault(
            "the one-hot is forgotten for the weights",
            "d.W = d.z[:, None] * v.x",
            "d.W = (t.exponentials / t.total)[:, None] * v.x",
        ),
        Fault(
            "twice too much",
            "d.W = d.z[:, None] * v.x",
            "d.W = 2 * d.z[:, None] * v.x",
            "W is 2 times what it should be",
        ),
        Fault(
            "no bias gradient",
            "d.b = d.z",
            "d.b = 0 * d.z",
            "b is zero",
            typical=True,
        ),
    ),
    "layer_norm": (
        Fault(
            "the mean's share is forgotten",
            "d.x = (d.xhat - mean(xp, d.xhat) - t.xhat * mean(xp, d.xhat * t.xhat)) / t.s",
            "d.x = (d.xhat - t.xhat * mean(xp, d.xhat * t.xhat)) / t.s",
            typical=True,
        ),
        Fault(
            "the deviation's share is forgotten",
            "d.x = (d.xhat - mean(xp, d.xhat) - t.xhat * mean(xp, d.xhat * t.xhat)) / t.s",
            "d.x = (d.xhat - mean(xp, d.xhat)) / t.s",
        ),
        Fault(
            "mean and deviation taken for constants",
            "d.x = (d.xhat - mean(xp, d.xhat) - t.xhat * mean(xp, d.xhat * t.xhat)) / t.s",
            "d.x = d.xhat / t.s",
        ),
        Fault(
            "not divided by the deviation",
            "d.x = (d.xhat - mean(xp, d.xhat) - t.xhat * mean(xp, d.xhat * t.xhat)) / t.s",
            "d.x = d.xhat - mean(xp, d.xhat) - t.xhat * mean(xp, d.xhat * t.xhat)",
            "x has a factor t.s too many",
            typical=True,
        ),
        Fault(
            "plus for minus",
            "d.x = (d.xhat - mean(xp, d.xhat) - t.xhat * mean(xp, d.xhat * t.xhat)) / t.s",
            "d.x = (d.xhat - mean(xp, d.xhat) + t.xhat * mean(xp, d.xhat * t.xhat)) / t.s",
        ),
        Fault(
            "the gain is forgotten",
            "d.xhat = v.gain[..., None, :] * d.y",
            "d.xhat = d.y",
            "xhat holds ∂ℓ/∂y",
            typical=True,
        ),
        Fault(
            "the input instead of the normalised one",
            "d.gain = xp.sum(d.y * t.xhat, axis=-2)",
            "d.gain = xp.sum(d.y * v.x, axis=-2)",
        ),
        Fault(
            "a mean over the rows",
            "d.bias = xp.sum(d.y, axis=-2)",
            "d.bias = xp.mean(d.y, axis=-2)",
            "bias is 0.333333 times",
            typical=True,
        ),
        Fault(
            "the first row instead of the sum",
            "d.bias = xp.sum(d.y, axis=-2)",
            "d.bias = d.y[..., 0, :]",
        ),
    ),
    "batch_norm": (
        Fault(
            "no sum over the batch in the deviation's adjoint",
            "d.s = -xp.sum(d.xhat * t.xhat, axis=0) / t.s",
            "d.s = -d.xhat * t.xhat / t.s",
            "s lacks the sum over axis 0",
            typical=True,
        ),
        Fault(
            "the deviation's adjoint has the opposite sign",
            "d.s = -xp.sum(d.xhat * t.xhat, axis=0) / t.s",
            "d.s = xp.sum(d.xhat * t.xhat, axis=0) / t.s",
            "s has the opposite sign",
            typical=True,
        ),
        Fault(
            "centred instead of normalised",
            "d.s = -xp.sum(d.xhat * t.xhat, axis=0) / t.s",
            "d.s = -xp.sum(d.xhat * t.centred, axis=0) / t.s",
            "s has a factor t.s too many",
        ),
        Fault(
            "the 2 of the root's derivative is forgotten",
            "d.variance = d.s / (2 * t.s)",
            "d.variance = d.s / t.s",
            "variance is 2 times what it should be",
            typical=True,
        ),
        Fault(
            "the variance is taken for a constant",
            "d.centred = d.xhat / t.s + 2 * t.centred * d.variance / BATCH",
            "d.centred = d.xhat / t.s",
        ),
        Fault(
            "the 2 of the square's derivative is forgotten",
            "d.centred = d.xhat / t.s + 2 * t.centred * d.variance / BATCH",
            "d.centred = d.xhat / t.s + t.centred * d.variance / BATCH",
        ),
        Fault(
            "divided by the batch's size less one",
            "d.centred = d.xhat / t.s + 2 * t.centred * d.variance / BATCH",
            "d.centred = d.xhat / t.s + 2 * t.centred * d.variance / (BATCH - 1)",
        ),
        Fault(
            "no sum over the batch in the mean's adjoint",
            "d.mean = -xp.sum(d.centred, axis=0)",
            "d.mean = -d.centred",
            "mean lacks the sum over axis 0",
        ),
        Fault(
            "the mean is taken for a constant",
            "d.x = d.centred + d.mean / BATCH",
            "d.x = d.centred",
            "x holds ∂ℓ/∂centred",
            typical=True,
        ),
        Fault(
            "the batch's size is forgotten",
            "d.x = d.centred + d.mean / BATCH",
            "d.x = d.centred + d.mean",
        ),
        Fault(
            "the input instead of the normalised one",
            "d.gain = xp.sum(d.y * t.xhat, axis=0)",
            "d.gain = xp.sum(d.y * v.x, axis=0)",
        ),
        Fault(
            "a mean over the batch",
            "d.bias = xp.sum(d.y, axis=0)",
            "d.bias = xp.mean(d.y, axis=0)",
            "bias is 0.166667 times",
        ),
    ),
    "attention": (
        Fault(
            "the weights are not transposed",
            "d.V = t.P.T @ d.O",
            "d.V = t.P @ d.O",
            "V has t.P @ ∂ℓ/∂O where t.Pᵀ @ ∂ℓ/∂O belongs",
            typical=True,
        ),
        Fault(
            "the scores' adjoint is not transposed",
            "d.K = d.S.T @ v.Q / FEATURES**0.5",
            "d.K = d.S @ v.Q / FEATURES**0.5",
            "K has ∂ℓ/∂S @ v.Q where (∂ℓ/∂S)ᵀ @ v.Q belongs",
        ),
        Fault(
            "keys for queries",
            "d.K = d.S.T @ v.Q / FEATURES**0.5",
            "d.K = d.S.T @ v.K / FEATURES**0.5",
            "K has (∂ℓ/∂S)ᵀ @ v.K where (∂ℓ/∂S)ᵀ @ v.Q belongs",
        ),
        Fault(
            "the factor 1/√d is dropped",
            "d.Q = d.S @ v.K / FEATURES**0.5",
            "d.Q = d.S @ v.K",
            "Q is 1.73205 times",
            typical=True,
        ),
        Fault(
            "the mask is forgotten",
            "d.E = xp.where(causal(xp), d.F, 0.0)",
            "d.E = d.F",
            "E holds ∂ℓ/∂F",
            typical=True,
        ),
        Fault(
            "the mask is transposed",
            "d.E = xp.where(causal(xp), d.F, 0.0)",
            "d.E = xp.where(causal(xp).T, d.F, 0.0)",
        ),
        Fault(
            "the sum is taken for a constant",
            "d.F = d.P / t.n + d.n",
            "d.F = d.P / t.n",
            "F is −1·∂ℓ/∂n off",
            typical=True,
        ),
        Fault(
            "summed over the queries",
            "d.n = -xp.sum(d.P * t.P, axis=-1, keepdims=True) / t.n",
            "d.n = -xp.sum(d.P * t.P, axis=-2, keepdims=True) / t.n",
            "n has the shape (4, 4), what it is the adjoint of (4, 1)",
            typical=True,
        ),
        Fault(
            "not weighted before it is summed",
            "d.n = -xp.sum(d.P * t.P, axis=-1, keepdims=True) / t.n",
            "d.n = -xp.sum(d.P, axis=-1, keepdims=True) / t.n",
        ),
        Fault(
            "the weights instead of the exponentials",
            "d.S = t.E * d.E",
            "d.S = t.P * d.E",
            "S lacks the factor t.n",
        ),
    ),
    "gelu": (
        Fault(
            "1 − u² for 1 − tanh² u",
            "d.u = (1 - t.tanh**2) * d.tanh",
            "d.u = (1 - t.u**2) * d.tanh",
            "u has (1 − t.u²) where (1 − t.tanh²) belongs",
            typical=True,
        ),
        Fault(
            "the tanh is not squared",
            "d.u = (1 - t.tanh**2) * d.tanh",
            "d.u = (1 - t.tanh) * d.tanh",
            "u has (1 − t.tanh) where (1 − t.tanh²) belongs",
        ),
        Fault(
            "the ½ is forgotten",
            "d.tanh = t.h / 2 * d.y",
            "d.tanh = t.h * d.y",
            "tanh is 2 times what it should be",
            typical=True,
        ),
        Fault(
            "the 3 of the cube's derivative is forgotten",
            "d.h = (1 + t.tanh) / 2 * d.y + SLOPE * (1 + 3 * CUBIC * t.h**2) * d.u",
            "d.h = (1 + t.tanh) / 2 * d.y + SLOPE * (1 + CUBIC * t.h**2) * d.u",
        ),
        Fault(
            "h as a factor is forgotten",
            "d.h = (1 + t.tanh) / 2 * d.y + SLOPE * (1 + 3 * CUBIC * t.h**2) * d.u",
            "d.h = SLOPE * (1 + 3 * CUBIC * t.h**2) * d.u",
        ),
        Fault(
            "h within the tanh is forgotten",
            "d.h = (1 + t.tanh) / 2 * d.y + SLOPE * (1 + 3 * CUBIC * t.h**2) * d.u",
            "d.h = (1 + t.tanh) / 2 * d.y",
            typical=True,
        ),
        Fault(
            "a constant of another paper",
            "d.h = (1 + t.tanh) / 2 * d.y + SLOPE * (1 + 3 * CUBIC * t.h**2) * d.u",
            "d.h = (1 + t.tanh) / 2 * d.y + SLOPE * (1 + 3 * 0.044175 * t.h**2) * d.u",
        ),
        Fault(
            "the output for its adjoint",
            "d.tanh = t.h / 2 * d.y",
            "d.tanh = t.h / 2 * t.y",
            "tanh has t.y where ∂ℓ/∂y belongs",
            typical=True,
        ),
        Fault(
            "past the activation",
            "d.W = d.h[:, None] * v.x",
            "d.W = d.y[:, None] * v.x",
            "W has ∂ℓ/∂y where ∂ℓ/∂h belongs",
        ),
        Fault(
            "the bias's gradient is the output's",
            "d.b = d.h",
            "d.b = d.y",
            "b holds ∂ℓ/∂y",
        ),
    ),
}
"""By the module of `gradcheck.examples`. Each is found, and its line named."""

REFUSED: dict[str, tuple[Fault, ...]] = {
    "softmax_cross_entropy": (
        Fault(
            "outer product turned",
            "d.W = d.z[:, None] * v.x",
            "d.W = d.z * v.x[:, None]",
            "d.W",
        ),
    ),
    "layer_norm": (
        Fault(
            "no sum over the rows",
            "d.bias = xp.sum(d.y, axis=-2)",
            "d.bias = d.y",
            "d.bias",
        ),
    ),
    "batch_norm": (
        Fault(
            "no sum over the batch",
            "d.bias = xp.sum(d.y, axis=0)",
            "d.bias = d.y",
            "d.bias",
        ),
        Fault(
            "summed over the features",
            "d.gain = xp.sum(d.y * t.xhat, axis=0)",
            "d.gain = xp.sum(d.y * t.xhat, axis=1)",
            "d.gain",
        ),
    ),
    "attention": (
        Fault(
            "a gradient is forgotten",
            "d.V = t.P.T @ d.O",
            "pass",
            "d.V",
        ),
    ),
    "gelu": (
        Fault(
            "no outer product",
            "d.W = d.h[:, None] * v.x",
            "d.W = d.h",
            "d.W",
        ),
    ),
}
"""Faults that leave a gradient with the wrong shape, or without any: refused before a sweep."""


def source(module: str) -> Path:
    """Return the file of a gallery model."""
    spec = find_spec(f"gradcheck.examples.{module}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def plant(module: str, fault: Fault, folder: Path) -> tuple[Path, int]:
    """Write a gallery model with a fault into a folder; return its path and the fault's line."""
    lines = source(module).read_text(encoding="utf-8").split("\n")
    numbers = [number for number, line in enumerate(lines) if line.strip() == fault.old]
    assert len(numbers) == 1, f"{module}: {fault.old!r} is on {len(numbers)} lines"
    number = numbers[0]
    lines[number] = lines[number].replace(fault.old, fault.new)
    path = folder / f"{module}.py"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path, number + 1
