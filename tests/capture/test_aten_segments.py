import numpy as np
import pytest

from gradcheck.capture.aten import rule_of
from gradcheck.numbers.errors import NoRuleError
from tests.capture.recording import (
    THREE,
    X,
    Y,
    check_arrays,
    check_balls,
    check_reals,
    recorder,
    torch,
)

functional = torch.nn.functional
pytestmark = pytest.mark.filterwarnings("ignore:index_reduce")  # said once in a process
INDEX = torch.tensor([[0, 2, 0], [2, 2, 1]])
ROWS = torch.tensor([1, 1])
TABLE = np.sin(np.arange(12.0)).reshape(4, 3) * 2
BAGS, OFFSETS = torch.tensor([0, 2, 2, 1, 0]), torch.tensor([0, 2, 2])
REDUCTIONS = ("sum", "mean", "prod", "amax", "amin")
SEGMENTS = ("sum", "mean", "prod", "max", "min")


def scattered(reduce, included, dim=1):
    return lambda x, y: x.scatter_reduce(dim, INDEX % (2 if dim == 0 else 3), y, reduce,
                                         include_self=included)  # fmt: skip


def reduced(reduce, included):
    return lambda x, y: x.index_reduce(0, ROWS, y, reduce, include_self=included)


def segmented(reduce, **options):
    lengths = torch.tensor([2, 0, 1, 1])
    initial = options.pop("initial", 0.3)
    return lambda x: torch.segment_reduce(
        x, reduce, lengths=lengths, axis=0, initial=initial, unsafe=True
    )


def bags(mode, **options):
    return lambda w: functional.embedding_bag(BAGS, w, OFFSETS, mode=mode, **options)


def weighed(w, shares):
    weights = torch.cat([shares, shares[:2] * 2])
    return functional.embedding_bag(BAGS, w, OFFSETS, mode="sum", per_sample_weights=weights)


CASES = {
    **{
        f"scatter_reduce {reduce} {included}": (scattered(reduce, included), X, Y)
        for reduce in REDUCTIONS
        for included in (True, False)
    },
    "scatter_reduce by rows": (scattered("amax", True, dim=0), X, Y),
    **{
        f"index_reduce {reduce} {included}": (reduced(reduce, included), X, Y)
        for reduce in REDUCTIONS[1:]
        for included in (True, False)
    },
    **{f"segment_reduce {reduce}": (segmented(reduce), TABLE) for reduce in SEGMENTS},
    "bags": (bags("sum"), TABLE),
    "bags of means": (bags("mean"), TABLE),
    "bags without padding": (bags("sum", padding_idx=2), TABLE),
    "means without padding": (bags("mean", padding_idx=2), TABLE),
    "bags with the last offset": (
        lambda w: functional.embedding_bag(
            BAGS, w, torch.tensor([0, 2, 5]), mode="sum", include_last_offset=True
        ),
        TABLE,
    ),
    "weighed bags": (weighed, TABLE, THREE),
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


def test_maxima_of_bags_are_refused():
    with pytest.raises(NoRuleError, match="with a maximum"):
        rule_of("aten._embedding_bag.default")(TABLE, BAGS.numpy(), OFFSETS.numpy(), False, 2)
