"""A setting outside its range is refused by its name."""

import dataclasses

import pytest

import gradcheck
from gradcheck import Request, RequestError

REFUSED = [
    # setting, value, what the message says
    ("samples", 0, "at least 1, got 0"),
    ("samples", -3, "got -3"),
    ("rows", 0, "at least 1"),
    ("workers", 0, "at least 1"),
    ("referee_limit", -1, "at least 0"),
    ("audit", -0.1, "from 0 to 1"),
    ("audit", 1.1, "from 0 to 1"),
    ("audit", float("nan"), "from 0 to 1"),
    ("seed", -1, "expected 0 to 2"),
    ("seed", 2**128, "expected 0 to 2"),
    ("scale", 0.0, "above 0"),
    ("scale", -1.0, "above 0"),
    ("scale", float("nan"), "got nan"),
    ("scale", float("inf"), "got inf"),
    ("scale", 1e31, "at most 1e+30 for float32"),
    ("ulps", 0.1, "0.5 (correct rounding)"),
    ("ulps", float("nan"), "got nan"),
    ("ulps", float("inf"), "got inf"),
    ("dtypes", (), "choose among float64, float32"),
    ("dtypes", ("float61",), "no dtype 'float61'; did you mean 'float64'?"),
    ("distribution", "normla", "did you mean 'normal'?"),
    ("bars", "bal", "there is no 'bal'; did you mean 'ball'?"),
    ("bars", "", "there is no ''"),
]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_a_setting_outside_its_range_is_refused_by_name(name, value, reason):
    with pytest.raises(RequestError) as refusal:
        Request(**{name: value})
    message = str(refusal.value)
    assert message.startswith(f"{name}: ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("samples", 1),
        ("rows", 1),
        ("workers", 1),
        ("referee_limit", 0),
        ("audit", 0.0),
        ("audit", 1.0),
        ("seed", 0),
        ("seed", 2**128 - 1),
        ("scale", 1e-300),
        ("scale", 1e30),
        ("ulps", 0.5),
        ("ulps", 2.0**20),
        ("dtypes", ("float32",)),
        ("distribution", "log-uniform"),
        ("bars", "auto"),
        ("bars", "ball"),
        ("bars", "stochastic"),
        ("kinks", True),
    ],
)
def test_the_ends_of_a_range_are_accepted(name, value):
    assert getattr(Request(**{name: value}), name) == value


def test_float64_alone_allows_a_larger_scale():
    assert Request(scale=1e31, dtypes=("float64",)).scale == 1e31


def test_a_request_cannot_be_changed_once_it_was_checked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Request().samples = 0


def test_the_python_api_takes_lists_and_refuses_what_the_request_refuses():
    with pytest.raises(RequestError, match="samples"):
        gradcheck.sweep(samples=0)
    report = gradcheck.sweep(samples=1, dtypes=["float32"], adapters=["closed-form"])
    assert report.run["request"]["dtypes"] == ("float32",)
