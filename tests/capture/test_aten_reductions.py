import numpy as np
import pytest

from gradcheck.capture.aten import rule_of
from gradcheck.numbers.ball import Ball
from gradcheck.numbers.rounding import Rounding
from tests.capture.recording import (
    CUBE,
    SHARES,
    WIDE,
    X,
    Y,
    check_arrays,
    check_balls,
    check_reals,
    recorder,
    torch,
)

INFINITY = float("inf")


def variances(x):
    return x.var() + x.var(0) + x.var((0, 1), correction=0) + x.var(1, False, keepdim=True)


def deviations(x):
    return x.std() + x.std(0) + x.std((0, 1), correction=0.5) + x.std(1, False, keepdim=True)


def extrema(x):
    return x.amax() + x.amax(0) + x.amin((0, 1)) * x.amin(1, keepdim=True) + x.max() * x.min()


def along(x):
    return x.max(1, keepdim=True).values * x.min(0, keepdim=True)[0] + x * x.max(0).indices


def places(x):
    return x * x.argmax() + x * x.argmin(0) + x * x.argmax(1, keepdim=True)


def counted(x):
    some = (x > 0).any() + (x > 0).all(0).to(x.dtype) + (x > 2).any(1, keepdim=True)
    return x * some + x * (x > 0).sum(1, keepdim=True) + x * (x > 0).to(x.dtype).mean()


CASES = {
    "sum": (lambda x: x.sum() + x.sum(0) + x.sum((0, 1)) + x.sum(-1, keepdim=True), X),
    "mean": (lambda x: x.mean() + x.mean(0) * x.mean((0, 1), keepdim=True), X),
    "var": (variances, X),
    "std": (deviations, X),
    "var_mean": (lambda x: sum(torch.var_mean(x)) + sum(torch.var_mean(x, 0)), X),
    "std_mean": (lambda x: sum(torch.std_mean(x)) + sum(torch.std_mean(x, 0)), X),
    "extrema": (extrema, X),
    "extrema along an axis": (along, X),
    "aminmax": (lambda x: torch.aminmax(x, dim=1).min * torch.aminmax(x, dim=1).max, X),
    "argmax": (places, X),
    "counts": (counted, X),
    "any of floats": (lambda x: x * (x * 0.1).any(1, keepdim=True) + x * (x * 0.1).all(), SHARES),
    "product": (lambda x: x.prod() + x.prod(0) * x.prod(1, keepdim=True).sum(), X),
    "logsumexp": (lambda x: x.logsumexp(1).sum() + x.logsumexp((0, 1)), X),
    "logsumexp of wide": (lambda x: x.logsumexp(0), WIDE),
    "softmax": (lambda x: x.softmax(1) + x.softmax(0), X),
    "softmax of wide": (lambda x: x.softmax(0), WIDE),
    "softmax of a number": (lambda x: x.softmax(0) * x.log_softmax(0), np.array(0.3)),
    "log_softmax": (lambda x: x.log_softmax(1) + x.log_softmax(0), X),
    "softmax of some": (lambda x: x.masked_fill(x > 2, -INFINITY).softmax(1), X),
    "norm of a matrix": (lambda x: torch.linalg.matrix_norm(x) + x.norm() * x.norm(dim=1).sum(), X),
    **{
        f"norm {p}": (
            lambda x, p=p: torch.linalg.vector_norm(x, p) + torch.norm(x, p, dim=1).sum(),
            X,
        )
        for p in (0, 0.5, 1, 2, 2.5, 3, -1, INFINITY, -INFINITY)
    },
    **{
        f"distance {p}": (lambda x, y, p=p: torch.dist(x, y, p), X, Y)
        for p in (1, 2, 2.5, INFINITY)
    },
    "layer_norm": (lambda x: torch.nn.functional.layer_norm(x, (4, 3)), CUBE),
    "group_norm": (lambda x: torch.nn.functional.group_norm(x, 2), CUBE),
    "batch_norm": (
        lambda x: torch.nn.functional.batch_norm(x, None, None, training=True),
        CUBE.reshape(8, 3),
    ),
}

recorded = recorder(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_program_computes_what_torch_computes(name):
    check_arrays(recorded(name))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_balls_contain_what_torch_computes(name, dtype):
    check_balls(recorded(name, dtype))


@pytest.mark.parametrize("name", CASES)
def test_balls_contain_what_arb_computes(name):
    check_reals(recorded(name))


def test_a_number_with_bars_is_not_taken_for_false():
    share = np.exp(Ball.from_value(np.log([0.3, 0.2]), Rounding(np.dtype(np.float64))))
    assert rule_of("aten.all.default")(share).mid == 1
    assert rule_of("aten.any.dim")(share, 0).mid == 1
