"""The lines of a pass are known by running it: where each stands, and what it reads."""

from dataclasses import replace

from gradcheck.examples import chain
from gradcheck.model.lines import record_lines


def test_every_quantity_has_its_line_and_reads():
    forward, backward = record_lines(chain.MODEL)
    assert list(forward) == ["f0", "h1", "f1", "h2", "f2", "h3", "f3", "loss"]
    assert forward["f1"].source == "t.f1 = v.beta1 + v.omega1 * t.h1"
    assert forward["f1"].reads == {"v.beta1", "v.omega1", "t.h1"}
    assert backward["f2"].reads == {"t.f2", "d.h3"}
    assert backward["beta1"].source == "d.beta1, d.omega1 = d.f1, t.h1 * d.f1"


def test_a_statement_over_several_lines_is_one():
    def backward(xp, v, t, d):
        chain.backward(xp, v, t, d)
        d.beta0 = (
            d.f0
            + 0 * d.f1
        )  # fmt: skip

    _, lines = record_lines(replace(chain.MODEL, backward=backward))
    assert lines["beta0"].source == "d.beta0 = ("
    assert lines["beta0"].reads == {"d.f0", "d.f1"}


def test_a_quantity_written_again_stands_where_it_was_written_last():
    def backward(xp, v, t, d):
        chain.backward(xp, v, t, d)
        d.f3 = d.f3 * 2

    _, lines = record_lines(replace(chain.MODEL, backward=backward))
    assert list(lines)[-1] == "f3"
    assert lines["f3"].reads == {"t.f3", "v.y"}
