import numpy as np
import pytest

from gradcheck.capture.program import Program, Ref, Step, begin, proceed
from gradcheck.numbers.arb import Reals
from gradcheck.numbers.ball import Ball, Rounding
from gradcheck.numbers.errors import NoRuleError

ROUNDING = Rounding(np.dtype(np.float64))


def step(rule, arguments, result, operation="an operation", **options):
    return Step(operation, rule, arguments, options, (result,))


def add_in_place(x, y):
    x[...] = x + y
    return x


def ball(values):
    return Ball.from_value(np.array(values), ROUNDING, 1)


KINDS = {
    "plain": lambda values: np.array(values[0]),
    "balls": ball,
    "arb": lambda values: Reals.from_value(np.array(values[0])),
}


def floats(number):
    if isinstance(number, Ball):
        return number.mid[0].tolist()
    if isinstance(number, Reals):
        return [float(one) for one in number.values]
    return number.tolist()


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def test_what_is_written_through_a_view_is_seen(kind):
    program = Program(
        leaves={"x": 0},
        constants={1: np.zeros(4)},
        forward=[
            step(lambda a, shape: np.reshape(a, shape), (Ref(1), (2, 2)), 2),
            step(lambda a, i: a[i], (Ref(2), 1), 3),
            step(add_in_place, (Ref(3), Ref(0)), 3),
        ],
    )
    for _ in range(2):  # a constant is written to in one run, and is itself again in the next
        values = begin(program, {"x": kind([[1.0, 2.0], [3.0, 4.0]])})
        proceed(program.forward, values)
        assert floats(values[1]) == [0.0, 0.0, 1.0, 2.0]


def test_constants_get_a_bound_of_what_is_computed_with_them():
    program = Program(
        leaves={"x": 0},
        constants={1: np.array([0.1, 0.2])},
        forward=[step(lambda a, b: a * b, (Ref(1), Ref(1)), 2)],
    )
    values = begin(program, {"x": ball([[1.0]])})
    proceed(program.forward, values)
    assert (values[2].rad > 0).all()


def test_an_operation_without_a_rule_is_refused_where_its_result_is_needed():
    program = Program(
        leaves={"x": 0},
        forward=[
            step(None, (Ref(0),), 1, "aten.svd.default"),
            step(lambda a: a + 1, (Ref(0),), 2),
        ],
        backward=[step(lambda a: a, (Ref(1),), 3)],
    )
    values = begin(program, {"x": np.ones(2)})
    proceed(program.forward, values)
    assert values[2].tolist() == [2.0, 2.0]
    assert program.refused == ["aten.svd.default"]
    with pytest.raises(NoRuleError, match=r"no rule for aten\.svd\.default") as error:
        proceed(program.backward, values)
    assert error.value.operation == "aten.svd.default"


def test_operands_are_found_in_lists_and_options():
    one = step(None, ([Ref(1), (Ref(2), 3.0)],), 5, weight=Ref(4), axis=0)
    assert one.operands == (1, 2, 4)
