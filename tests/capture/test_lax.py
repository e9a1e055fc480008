import numpy as np
import pytest

from gradcheck.capture.jax_recorder import precision
from gradcheck.capture.jax_subject import JaxFunction
from gradcheck.capture.program import begin, proceed
from gradcheck.numbers.arb import Reals
from gradcheck.numbers.ball import Ball, Choices, Rounding

jax = pytest.importorskip("jax")
CASES = pytest.importorskip("tests.capture.jax_cases").CASES


class Recorded:
    """A function, what JAX returns of it, and its program."""

    def __init__(self, function, inputs, dtype="float64"):
        subject = JaxFunction(function, inputs)
        self.dtype = np.dtype(dtype)
        arrays = {name: one.astype(dtype) for name, one in subject.given.items()}
        generator = np.random.default_rng(1)
        cotangents = [
            generator.normal(size=shape).astype(dtype)
            for shape in (one.shape for one in subject.outputs(arrays))
        ]

        @jax.jit
        def differentiated(arrays, cotangents):
            outputs, pull = jax.vjp(subject, arrays)
            return outputs, pull(cotangents)[0]

        with precision(arrays):
            outputs, gradients = jax.device_get(differentiated(arrays, cotangents))
        self.captured = subject.capture(arrays, cotangents)
        self.program = self.captured.program
        self.leaves = arrays | {f"cotangent.{i}": one for i, one in enumerate(cotangents)}
        numbers = [*self.program.outputs, *(self.program.gradients[name] for name in gradients)]
        self.wanted = list(zip(numbers, [*outputs, *gradients.values()], strict=True))

    def run(self, make):
        values = begin(self.program, {name: make(leaf) for name, leaf in self.leaves.items()})
        proceed(self.program.steps, values)
        return [(values[number], wanted) for number, wanted in self.wanted]


def centre(real):
    held = getattr(real, "constant", real)
    return float(held.mid()) if hasattr(held, "mid") else float(held)


@pytest.fixture(scope="module")
def recorded():
    kept = {}

    def record(name, dtype="float64"):
        if (name, dtype) not in kept:
            function, *inputs = CASES[name]
            kept[name, dtype] = Recorded(function, inputs, dtype)
        return kept[name, dtype]

    return record


@pytest.mark.parametrize("name", CASES)
def test_a_program_computes_what_jax_computes(recorded, name):
    one = recorded(name)
    assert one.program.refused == []
    for value, wanted in one.run(lambda leaf: leaf):
        assert np.shape(value) == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_balls_contain_what_jax_computes_and_are_narrow(recorded, name):
    one = recorded(name)
    samples = 1 if one.captured.branches else 2
    rounding, choices = Rounding(one.dtype), Choices(samples)

    def balls(leaf):
        return Ball.from_value(np.stack([leaf] * samples), rounding, 1, choices)

    for value, wanted in one.run(balls):
        ball = value if isinstance(value, Ball) else balls(value)
        assert ball.shape == wanted.shape
        assert (np.abs(ball.mid - wanted) <= ball.rad).all()
        assert np.max(ball.rad, initial=0) < 1e-10 * max(1, np.max(np.abs(wanted), initial=0))


@pytest.mark.parametrize("name", CASES)
def test_arb_follows_a_program(recorded, name):
    for value, wanted in recorded(name).run(Reals.from_value):
        found = value.reals if isinstance(value, Reals) else value
        found = np.reshape([centre(real) for real in np.ravel(found)], wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["custom_vjp", "softmax", "indices", "convolution", "solve"])
def test_float32_stays_float32_and_within_its_balls(recorded, name):
    one = recorded(name, "float32")
    rounding, choices = Rounding(one.dtype), Choices(1)
    for value, wanted in one.run(lambda leaf: leaf):
        assert value.dtype == wanted.dtype == np.float32
    for ball, wanted in one.run(lambda leaf: Ball.from_value(leaf[None], rounding, 1, choices)):
        assert (np.abs(ball.mid - wanted) <= ball.rad).all()
        assert (ball.rad < np.inf).all()
