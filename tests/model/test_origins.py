"""The edges of a computation's graph."""

import numpy as np
import pytest

from gradcheck import Model
from gradcheck.harness.samples import draw_model
from gradcheck.model.loading import load_model
from gradcheck.model.origins import find_origins


def origins(model, samples=8):
    return find_origins(model, draw_model(model, 0, 0, samples))


def of(forward, batched=False):
    """Find the edges of a forward pass of three numbers."""
    model = Model(
        "m", {"x": ()}, {"a": (), "w": (3,)}, lambda xp, v: v.a, forward, lambda xp, v, t, d: None,
        batched=batched,
    )  # fmt: skip
    return origins(model)


def test_the_chain_is_a_chain():
    assert origins(load_model("chain")) == {
        "f0": ["x", "beta0", "omega0"],
        "h1": ["f0"],
        "f1": ["beta1", "omega1", "h1"],
        "h2": ["f1"],
        "f2": ["beta2", "omega2", "h2"],
        "h3": ["f2"],
        "f3": ["beta3", "omega3", "h3"],
        "loss": ["y", "f3"],
    }


def test_what_skips_a_quantity_is_an_edge_of_its_own():
    def forward(xp, v, t):
        t.p = v.a * v.x
        t.q = xp.sin(t.p)
        t.loss = t.q + t.p

    assert of(forward) == {"p": ["x", "a"], "q": ["p"], "loss": ["p", "q"]}


def test_what_is_not_used_is_no_edge():
    def forward(xp, v, t):
        t.p = v.a * v.x
        t.q = v.x + 0 * v.a
        t.loss = t.q + 1

    assert of(forward) == {"p": ["x", "a"], "q": ["x"], "loss": ["q"]}


def test_a_relu_hides_no_edge_if_it_is_open_on_some_sample():
    assert origins(load_model("network"))["h.3"] == ["f.2"]


@pytest.mark.parametrize("batched", [False, True])
def test_arrays_and_what_is_changed_in_place_after_it_was_written(batched):
    def forward(xp, v, t):
        t.p = v.w * 2
        held = t.p + 0
        held[..., 0] = v.a
        t.q = held
        t.loss = xp.sum(t.q, axis=-1)

    assert of(forward, batched) == {"p": ["w"], "q": ["a", "p"], "loss": ["q"]}


def test_the_samples_stay_as_they_were():
    def forward(xp, v, t):
        v.w[...] = 0
        t.loss = v.a

    model = Model(
        "m", {"x": ()}, {"a": (), "w": (3,)}, lambda xp, v: v.a, forward, lambda xp, v, t, d: None
    )
    values = draw_model(model, 0, 0, 4)
    before = {name: array.copy() for name, array in values.items()}
    with pytest.raises(Exception, match=r"."):
        find_origins(model, values)
    assert all(np.array_equal(values[name], before[name]) for name in values)
