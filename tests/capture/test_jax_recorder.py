import numpy as np
import pytest

from gradcheck.capture.jax_recorder import record
from gradcheck.capture.jax_subject import JaxFunction
from gradcheck.capture.program import begin, proceed
from gradcheck.errors import RequestError
from gradcheck.numbers.errors import NoRuleError

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
lax = pytest.importorskip("jax.lax")
jax_cases = pytest.importorskip("tests.capture.jax_cases")

X = np.array([0.3, -1.2, 0.7])


def recorded(function, x=X, cotangent=None):
    cotangent = np.ones_like(x) if cotangent is None else cotangent
    return record(lambda leaves: [function(leaves["x"])], {"x": x}, [cotangent])


def operations(steps):
    return [step.operation for step in steps]


def test_calls_are_entered_and_loops_unrolled():
    def function(x):
        def body(c, a):
            return c * a, jnp.sin(c)

        return jax.jit(lambda x: lax.scan(body, x, jnp.stack([x, x]))[0])(x)

    program, dependent = recorded(function)
    assert not dependent
    # the sines are of no use to what is returned
    assert [one for one in operations(program.forward) if one in ("mul", "sin")] == ["mul", "mul"]


def test_the_backward_pass_begins_again_from_the_leaves():
    program, _ = recorded(jnp.sin)
    values = begin(program, {"x": X, "cotangent.0": np.ones(3)})
    proceed(program.backward, values)
    np.testing.assert_allclose(values[program.gradients["x"]], np.cos(X))


def test_integers_and_what_is_made_of_random_bits_are_constants():
    def function(x):
        noise = jax.random.uniform(jax.random.key(3), x.shape)
        return x[jnp.arange(2, -1, -1)] * noise

    program, _ = recorded(function)
    assert program.refused == []
    assert set(operations(program.forward)) == {"gather", "mul"}


def test_a_rounded_constant_is_computed_anew():
    program, _ = recorded(lambda x: x * jnp.sqrt(jnp.asarray(2.0, x.dtype)))
    assert "sqrt" in operations(program.forward)


def test_an_exact_constant_is_not():
    program, _ = recorded(lambda x: jnp.abs(x) ** 2.5)
    powers = [step for step in program.steps if step.operation == "pow"]
    assert {step.arguments[1] for step in powers} == {2.5, 1.5}


def test_what_a_constant_leaves_out_is_no_part_of_the_program():
    program, _ = recorded(lambda x: jnp.var(x) * x)  # NaN of no elements
    assert "select_n" not in operations(program.steps)
    assert all(np.isfinite(one).all() for one in program.constants.values())


def test_the_larger_of_two_is_not_compared_with_itself():
    program, _ = recorded(lambda x: jnp.maximum(jnp.sin(x), jnp.cos(x)))
    assert "eq" in operations(program.backward)
    assert "max" not in operations(program.backward)


@pytest.mark.parametrize("name", ["while", "cond"])
def test_flow_that_depends_on_data_is_told(name):
    function, x = jax_cases.CASES[name]
    program, dependent = recorded(function, x)
    assert dependent
    other, _ = recorded(function, -8 * x)
    assert operations(program.forward) != operations(other.forward)


def test_what_decides_is_kept_though_nothing_is_computed_of_it():
    program, _ = recorded(jax_cases.branch)
    assert "gt" in operations(program.forward)


def test_steps_know_their_lines():
    def function(x):
        y = jnp.sin(x)
        return y * y

    start = function.__code__.co_firstlineno
    program, _ = recorded(function)
    lines = {step.operation: step.line for step in program.forward}
    assert lines["sin"] == (__file__, start + 1)
    assert lines["mul"] == (__file__, start + 2)


def test_the_lines_of_a_stated_derivative_are_known():
    program, _ = recorded(jax_cases.wrong)
    start = jax_cases._wrong_backward.__code__.co_firstlineno
    assert (jax_cases.__file__, start + 2) in {step.line for step in program.backward}


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda x: jnp.linalg.svd(jnp.outer(x, x) + jnp.eye(3), compute_uv=False), "svd"),
        (lambda x: jnp.abs(jnp.fft.fft(x)), "fft in complex128"),
        (
            lambda x: jnp.sin(x.astype("float8_e5m2fnuz")).astype("float64"),
            "sin in float8_e5m2fnuz",
        ),
        (lambda x: x * jnp.nextafter(lax.stop_gradient(x), 1.0), "nextafter"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(function, operation):
    program, _ = record(lambda leaves: [function(leaves["x"])], {"x": X}, [np.ones(3)])
    assert operation in program.refused
    values = begin(program, {"x": X, "cotangent.0": np.ones(3)})
    with pytest.raises(NoRuleError, match="there is no rule for"):
        proceed(program.steps, values)


def test_names_follow_the_arguments():
    def function(params, x, scale, flag=None):
        return params["w"] * x * scale

    inputs = ({"w": jnp.ones(2), "layers": [jnp.ones(2)]}, jnp.ones(2), 3, None)
    subject = JaxFunction(function, inputs)
    assert list(subject.given) == ["params.layers.0", "params.w", "x"]
    assert subject.dtype == "float32"
    assert [one.shape for one in subject.outputs(subject.given)] == [(2,)]
    outputs, gradients = subject.run(subject.given, None)
    assert outputs[0].dtype == np.float64
    assert gradients["x"].tolist() == [3.0, 3.0]
    assert gradients["params.layers.0"].tolist() == [0.0, 0.0]


def test_a_number_of_python_is_differentiated_if_there_is_no_array():
    subject = JaxFunction(lambda x: jnp.sin(x), (0.5,))
    _, gradients = subject.run(subject.given, None)
    assert gradients["x"] == pytest.approx(np.cos(0.5))


def test_one_function_in_both_formats():
    subject = JaxFunction(lambda x: x[np.array([2, 0])] * 1.5, (X,))
    for dtype in ("float32", "float64"):
        arrays = {"x": X.astype(dtype)}
        captured = subject.capture(arrays, [np.ones(2, dtype)])
        outputs, _ = subject.run(arrays, None)
        assert outputs[0].dtype == dtype
        assert captured.program.refused == []


@pytest.mark.parametrize(
    ("function", "inputs", "argument"),
    [
        (jnp.sin, (3,), "inputs"),
        (jnp.sin, (jnp.ones(2) * 1j,), "inputs"),
        (lambda x: x * 1j, (jnp.ones(2),), "function"),
        (lambda x: 3, (jnp.ones(2),), "function"),
    ],
)
def test_what_cannot_be_judged_is_refused(function, inputs, argument):
    with pytest.raises(RequestError) as error:
        JaxFunction(function, inputs).outputs({"x": np.ones(2)})
    assert error.value.field == argument
