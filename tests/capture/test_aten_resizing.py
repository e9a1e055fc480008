import numpy as np
import pytest

from gradcheck.capture.aten import rule_of
from tests.capture.recording import CUBE, check_arrays, check_balls, check_reals, recorder, torch

functional = torch.nn.functional
PLANE = CUBE.reshape(1, 2, 4, 3)
BLOCK = CUBE.reshape(1, 1, 4, 3, 2)


def resized(mode, size=None, scale=None, **options):
    return lambda x: functional.interpolate(x, size, scale, mode, **options)


def padded(*pad):
    return lambda x: functional.pad(x, pad, mode="replicate")


CASES = {
    "nearest": (resized("nearest", 7), CUBE),
    "nearest, fewer": (resized("nearest", (3, 2)), PLANE),
    "nearest by a factor": (resized("nearest", scale=1.7), BLOCK),
    "nearest-exact": (resized("nearest-exact", (7, 5)), PLANE),
    "nearest-exact by a factor": (resized("nearest-exact", scale=0.6), CUBE),
    "nearest-exact of blocks": (resized("nearest-exact", (3, 5, 2)), BLOCK),
    "linear": (resized("linear", 7), CUBE),
    "linear, corners aligned": (resized("linear", 7, align_corners=True), CUBE),
    "linear to one": (resized("linear", 1, align_corners=True), CUBE),
    "linear, alike": (resized("linear", 3), CUBE),
    "bilinear": (resized("bilinear", (7, 2)), PLANE),
    "bilinear, corners aligned": (resized("bilinear", (6, 5), align_corners=True), PLANE),
    "bilinear by a factor": (resized("bilinear", scale=1.7), PLANE),
    "bilinear by the size of a factor": (
        resized("bilinear", scale=1.7, recompute_scale_factor=True),
        PLANE,
    ),
    "trilinear": (resized("trilinear", (5, 5, 3)), BLOCK),
    "trilinear, corners aligned": (resized("trilinear", (5, 2, 3), align_corners=True), BLOCK),
    "bicubic": (resized("bicubic", (7, 2)), PLANE),
    "bicubic, corners aligned": (resized("bicubic", (5, 4), align_corners=True), PLANE),
    "bicubic by a factor": (resized("bicubic", scale=1.3), PLANE),
    "smooth bilinear": (resized("bilinear", (2, 2), antialias=True), PLANE),
    "smooth bilinear, more": (resized("bilinear", (5, 7), antialias=True), PLANE),
    "smooth bicubic": (resized("bicubic", (3, 2), antialias=True), PLANE),
    "smooth bicubic, corners aligned": (
        resized("bicubic", (3, 2), antialias=True, align_corners=True),
        PLANE,
    ),
    "edges of a line": (padded(2, 1), CUBE),
    "edges of a plane": (padded(1, 2, 0, 3), PLANE),
    "edges cut off": (padded(-1, 2, 1, -2), PLANE),
    "edges of a block": (padded(1, 0, 2, 1, 0, 2), BLOCK),
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


def test_what_is_nearest_is_found_in_float32_as_in_torch():
    line = np.arange(100.0)
    rule = rule_of("aten.upsample_nearest1d.default")
    for size in (41, 83, 163, 327, 999):
        wanted = functional.interpolate(torch.tensor(line)[None, None], size)[0, 0].numpy()
        np.testing.assert_array_equal(rule(line, [size], None), wanted)
