import numpy as np
import pytest

from gradcheck.capture.aten import rule_of
from gradcheck.numbers.errors import NoRuleError
from tests.capture.recording import CUBE, check_arrays, check_balls, check_reals, recorder, torch

functional = torch.nn.functional
PLANE = CUBE.reshape(1, 2, 4, 3)
BLOCK = CUBE.reshape(1, 1, 4, 3, 2)
GRID = np.array([0.13, -0.71, 1.9, 0.45, -0.27, 0.88, -1.63, 0.31, -0.94, 2.7, 0.07, -0.53])


def sampled(mode, padding, corners=False):
    return lambda x, grid: functional.grid_sample(
        x, grid, mode=mode, padding_mode=padding, align_corners=corners
    )


def pooled(axes):
    draws = torch.tensor(np.modf(np.abs(GRID))[0])
    function = getattr(functional, f"fractional_max_pool{axes}d")

    def pool(x):
        channels = x.shape[1]
        random = draws.to(x.dtype)[: channels * axes].reshape(1, channels, axes)
        kernel, sizes = ((2, 2), (2, 1)) if axes == 2 else ((2, 2, 1), (2, 1, 1))
        return function(x, kernel, output_size=sizes, _random_samples=random)

    return pool


CASES = {
    **{
        f"{mode} {padding} {corners}": (
            sampled(mode, padding, corners),
            PLANE,
            GRID.reshape(1, 2, 3, 2),
        )
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for corners in (True, False)
    },
    **{
        f"block {padding}": (sampled("bilinear", padding), BLOCK, GRID.reshape(1, 2, 1, 2, 3))
        for padding in ("zeros", "border", "reflection")
    },
    "windows at random": (pooled(2), PLANE),
    "blocks at random": (pooled(3), BLOCK),
}
recorded = recorder(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_program_computes_what_torch_computes(name):
    check_arrays(recorded(name))


@pytest.mark.parametrize("name", CASES)
def test_balls_contain_what_torch_computes(name):
    check_balls(recorded(name))


@pytest.mark.parametrize("name", CASES)
def test_balls_contain_what_arb_computes(name):
    check_reals(recorded(name))


def test_bicubic_sampling_is_refused():
    with pytest.raises(NoRuleError, match="bicubic"):
        rule_of("aten.grid_sampler_2d.default")(PLANE, GRID.reshape(1, 2, 3, 2), 2, 0, False)
