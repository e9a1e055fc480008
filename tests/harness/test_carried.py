"""Samples are drawn once, and whoever needs one later finds it in what the sweep kept."""

import dataclasses

import numpy as np
import pytest

from gradcheck import Request, load_model
from gradcheck.api import stages
from gradcheck.harness import samples as drawing
from gradcheck.harness.samples import EVIDENCE, choose_audited, draw_block, draw_formats
from gradcheck.harness.sweep import run_sweep

BLOCK = 64
NETWORK = load_model("network", {"depth": 1, "width": 2})
MISPRINT = load_model("chain-misprint")


@pytest.fixture
def drawn(monkeypatch):
    """Record which samples are drawn: dtype, first number and how many."""
    calls = []
    honest = drawing._declared

    def declared(model, numbers, seed, start, dtype):
        calls.append((dtype, start, len(next(iter(numbers.values())))))
        return honest(model, numbers, seed, start, dtype)

    monkeypatch.setattr(drawing, "_declared", declared)
    return calls


@pytest.mark.parametrize(("model", "kinks"), [(NETWORK, True), (NETWORK, False), (MISPRINT, False)])
def test_each_block_is_drawn_once_in_each_dtype(model, kinks, drawn):
    request = Request(samples=3 * BLOCK, adapters=("complex-step",), kinks=kinks, workers=1)
    *_, report = stages(model, request, lambda fraction: None, BLOCK)
    assert report.agrees == (model is NETWORK)
    checked, *rest = drawn
    assert checked == ("float64", 0, 2)
    assert sorted(rest) == sorted(
        (dtype, start, BLOCK) for dtype in request.dtypes for start in range(0, 3 * BLOCK, BLOCK)
    )


def test_what_is_kept_is_what_later_stages_ask_for_and_no_more():
    request = Request(samples=20 * BLOCK, adapters=("complex-step",), rows=2, workers=1)
    outcome = run_sweep(MISPRINT, request, block=BLOCK)
    for dtype, held in outcome.samples.items():
        cases = {
            case.sample
            for (_, at, _), tally in outcome.tallies.items()
            if at == dtype
            for case in tally.cases
        }
        assert cases - set(range(EVIDENCE))
        wanted = cases | {*choose_audited(MISPRINT, request), *range(EVIDENCE)}
        assert held.numbers.tolist() == sorted(wanted)
        for number in sorted(wanted)[-3:]:
            start = number - number % BLOCK
            block = draw_block(MISPRINT, request, dtype, start, BLOCK)
            assert held.labelled(number) == block.labelled(number)


def test_samples_are_selected_in_the_order_asked_for():
    held = draw_block(NETWORK, Request(), "float32", 10, 5)
    some = held.select([13, 10]).join(held.select([12]))
    assert some.numbers.tolist() == [13, 10, 12]
    for name, array in some.values.items():
        np.testing.assert_array_equal(array, held.values[name][[3, 0, 2]])
        np.testing.assert_array_equal(some.select([12]).values[name][0], held.values[name][2])


GIVEN = dataclasses.replace(MISPRINT, given={"x": 0.1})


@pytest.mark.parametrize("model", [NETWORK, MISPRINT, GIVEN, load_model("softmax-cross-entropy")])
@pytest.mark.parametrize("dtypes", [("float64", "float32"), ("float32", "float64")])
def test_the_dtypes_of_a_block_share_their_random_numbers(model, dtypes, monkeypatch):
    expected = [draw_block(model, Request(), dtype, 0, BLOCK) for dtype in dtypes]
    calls = []
    honest = drawing.draw_samples
    monkeypatch.setattr(drawing, "draw_samples", lambda *a: calls.append(a) or honest(*a))
    for alone, shared in zip(
        expected, draw_formats(model, Request(), dtypes, 0, BLOCK), strict=True
    ):
        assert alone.dtype == shared.dtype
        for name, array in shared.values.items():
            np.testing.assert_array_equal(array, alone.values[name])
            array.flags.writeable = False  # as whoever hands it to an adapter does
    assert len(calls) == 1
