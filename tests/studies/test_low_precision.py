"""The study of 16 bits: what is right is let pass by the bars, what is plainly wrong is not."""

import numpy as np
import pytest
import torch
from studies.low_precision import CHANGES, RULES, measure_power, measure_tightness
from studies.low_precision_figure import STYLES, draw_found
from studies.low_precision_functions import fused

import gradcheck
from gradcheck import load_model

CHAIN = load_model("chain")


def test_the_bars_hold_and_are_no_wider_than_told():
    table = measure_tightness([CHAIN], 20)
    assert list(table["dtype"]) == ["float16", "bfloat16"]
    assert (table["comparisons"] == 160).all()
    assert (table["worst_error_over_bar"] <= 1).all()
    assert (table["worst_error_over_bar"] > 0).all()


def test_every_change_is_made_and_what_is_right_is_rejected_by_no_bar():
    table = measure_power([CHAIN], 20).set_index(["dtype", "mutant"])
    assert (table.xs("honest", level="mutant")["bars"] == 0).all()
    assert (table.xs("all zero", level="mutant")["bars"] > 0.5).all()
    assert (table.xs("2^-3", level="mutant")["bars"] > 0.2).all()
    assert set(table.index.get_level_values("mutant")) == set(CHANGES)
    assert table.loc[("bfloat16", "2^-12"), "cases"] == 0  # rounded back


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_lets_pass_what_is_exact_and_not_what_is_the_opposite(rule):
    right = np.linspace(1, 2, 8)
    same = right * (1 + 2.0**-8)
    assert RULES[rule](right, right, "bfloat16", same)
    assert not RULES[rule](-right, right, "bfloat16", same)


def test_the_picture_has_every_rule(tmp_path):
    pytest.importorskip("matplotlib")
    table = measure_power([CHAIN], 5)
    assert set(STYLES) < set(table.columns)
    assert draw_found(table).startswith(b"\x89PNG")


def test_a_function_in_sixteen_bits_is_checked_whole_and_fused():
    def square(x):
        return x * x

    x = torch.ones(2, dtype=torch.bfloat16)
    assert fused(square)(x).dtype == torch.bfloat16
    assert gradcheck.check(fused(square), torch.randn(4), dtypes=["bfloat16"], samples=2).agrees
