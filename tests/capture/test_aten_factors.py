import numpy as np
import pytest

import gradcheck
from gradcheck.capture.aten import rule_of
from gradcheck.numbers.errors import NoRuleError
from tests.capture.recording import check_arrays, check_balls, check_reals, recorder, torch

linalg = torch.linalg
SQUARE = np.array([[0.6, -1.8, 0.4], [2.3, 0.9, -0.7], [-1.1, 0.3, 1.5]])
TALL = np.vstack([SQUARE, [[0.7, 1.4, -0.9]]])
STACK = np.stack([SQUARE, SQUARE[::-1] + 0.25])
RIGHT = np.array([[0.3, -1.1], [0.8, 1.9], [0.6, -0.5]])
TAUS = np.array([1.2, 0.7, 1.6])


def solved_by_factors(left, adjoint):
    def solve(a, b):
        factors, pivots = linalg.lu_factor(a)
        b = b if left else b.mT
        return linalg.lu_solve(factors, pivots, b, left=left, adjoint=adjoint)

    return solve


def triangular(a):
    return linalg.qr(a.triu() + 0.0)


CASES = {
    "lu": (linalg.lu, SQUARE),
    "lu of a tall one": (linalg.lu, TALL),
    "lu of a wide one": (linalg.lu, TALL.T),
    "lu of several": (linalg.lu, STACK),
    "lu_factor": (lambda a: linalg.lu_factor(a)[0], SQUARE),
    "lu_factor of several": (lambda a: linalg.lu_factor(a)[0], STACK),
    "lu_unpack": (lambda a: torch.lu_unpack(*linalg.lu_factor(a)), TALL),
    **{
        f"lu_solve {left} {adjoint}": (solved_by_factors(left, adjoint), SQUARE, RIGHT)
        for left in (True, False)
        for adjoint in (True, False)
    },
    "qr": (linalg.qr, SQUARE),
    "qr of a tall one": (linalg.qr, TALL),
    "qr of a wide one": (linalg.qr, TALL.T[:, [1, 0, 2, 3]]),
    "qr of several": (linalg.qr, STACK),
    "qr of a triangular one": (triangular, SQUARE),
    "householder_product": (linalg.householder_product, TALL, TAUS),
    "ormqr": (torch.ormqr, SQUARE, TAUS, RIGHT),
    "ormqr, transposed": (lambda a, t, b: torch.ormqr(a, t, b, True, True), SQUARE, TAUS, RIGHT),
    "ormqr from the right": (lambda a, t, b: torch.ormqr(a, t, b.mT, False), SQUARE, TAUS, RIGHT),
    "pinv": (linalg.pinv, SQUARE),
    "pinv of a tall one": (linalg.pinv, TALL),
    "pinv of a wide one": (linalg.pinv, TALL.T),
    "pinv of a symmetric one": (lambda a: linalg.pinv(a + a.mT, hermitian=True), SQUARE),
    "lstsq": (lambda a, b: linalg.lstsq(a, b).solution, SQUARE, RIGHT),
    "lstsq of many": (lambda a: linalg.lstsq(a, a[:, :2].sin()).solution, TALL),
    "lstsq of few": (lambda a: linalg.lstsq(a.mT, a[:3, :2]).solution, TALL),
}
recorded = recorder(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_program_computes_what_torch_computes(name):
    check_arrays(recorded(name), rtol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_balls_contain_what_torch_computes(name):
    check_balls(recorded(name))


@pytest.mark.parametrize("name", CASES)
def test_balls_contain_what_arb_computes(name):
    check_reals(recorded(name))


@pytest.mark.parametrize("mode", ["reduced", "complete", "r"])
def test_triangular_factors_have_the_signs_of_lapack(mode):
    for matrix in (SQUARE, -SQUARE, TALL, TALL.T, np.triu(SQUARE), np.eye(3)):
        found = rule_of("aten.linalg_qr.default")(matrix, mode)
        for mine, wanted in zip(found, linalg.qr(torch.tensor(matrix), mode), strict=True):
            np.testing.assert_allclose(mine, wanted.numpy(), atol=1e-14)


def test_inverses_of_what_may_have_lower_rank_are_refused():
    pinv = rule_of("aten.linalg_pinv.atol_rtol_tensor")
    np.testing.assert_allclose(pinv(SQUARE, rtol=np.float64(0.01)), np.linalg.inv(SQUARE))
    for matrix, rtol in ((SQUARE, 0.9), (SQUARE - SQUARE[:1], 1e-15)):
        with pytest.raises((NoRuleError, np.linalg.LinAlgError), match=r"lower rank|ingular"):
            pinv(matrix, rtol=np.float64(rtol))


@pytest.mark.parametrize("function", [torch.det, linalg.pinv, linalg.lu, linalg.qr])
def test_of_a_singular_matrix_nothing_false_is_said(function):
    singular = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)

    def of_singular(scale):
        found = function(singular * scale)
        return found if isinstance(found, torch.Tensor) else list(found)[-1]

    report = gradcheck.check(
        of_singular, torch.ones((), dtype=torch.float64), samples=2, allow_uninformative=True,
        dtypes=["float64"],
    )  # fmt: skip
    assert report.run["counts"]["disagree"] == report.run["audit"]["refuted"] == 0
