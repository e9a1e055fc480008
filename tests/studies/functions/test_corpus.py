"""The backward passes of the study are right before anything is changed in them."""

import ast
import inspect

import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

import numpy as np  # noqa: E402
from studies.functions import corpus_jax, passes, passes_jax  # noqa: E402
from studies.functions.corpus import DTYPES, SUBJECTS, gradients  # noqa: E402

everyone = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)


@everyone
def test_a_backward_pass_agrees_with_autograd_on_the_definition(subject):
    for seed in range(5):
        inputs = subject.make_inputs("float64", seed)
        torch.testing.assert_close(
            subject.function.apply(*inputs), subject.definition(*inputs), rtol=1e-12, atol=1e-12
        )
        torch.testing.assert_close(
            gradients(subject.function.apply, inputs, seed),
            gradients(subject.definition, inputs, seed),
            rtol=1e-10,
            atol=1e-10,
        )


@pytest.mark.parametrize("twin", corpus_jax.SUBJECTS.values(), ids=corpus_jax.SUBJECTS)
@pytest.mark.parametrize("size", [1, 2])
def test_a_pass_in_jax_agrees_with_autograd_on_the_definition_in_pytorch(twin, size):
    inputs = twin.twin.make_inputs("float64", 0, size)
    right = twin.twin.gradients(twin.twin.definition, inputs, 0)
    compiled = jax.jit(twin.function.apply)
    found = twin.gradients(compiled, twin.make_inputs("float64", 0, size), 0)
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


@everyone
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_the_same_for_a_seed_and_others_for_another(subject, dtype):
    first, again, other = (subject.make_inputs(dtype, seed) for seed in (0, 0, 1))
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))
    assert {one.dtype for one in first if one.requires_grad} == {getattr(torch, dtype)}


@everyone
@pytest.mark.parametrize("module", [passes, passes_jax])
def test_a_pass_has_three_to_thirty_lines_and_a_statement_stands_on_one(subject, module):
    tree = ast.parse(inspect.getsource(module))
    name = subject.function.__name__
    (definition,) = (node for node in tree.body if getattr(node, "name", "") == name)
    (backward,) = (node for node in definition.body if getattr(node, "name", "") == "backward")
    statements = [node for node in ast.walk(backward) if isinstance(node, ast.stmt)]
    simple = [node for node in statements if not hasattr(node, "body")]
    assert all(node.lineno == node.end_lineno for node in simple)
    assert 3 <= len(statements) - 2 <= 30  # without its own line and its docstring
