"""The audit's study: what is called Arb's own time is spent on what the audit computes."""

from dataclasses import replace

import numpy as np
import pandas as pd
from studies import audit as study

from gradcheck import load_model
from gradcheck.harness.samples import draw_model
from gradcheck.truth.enclosures import precision
from gradcheck.truth.points import Points


def test_the_bare_loops_compute_what_the_audit_does():
    model, count = load_model("chain"), 3
    values = draw_model(model, 0, 0, count)
    samples = list(zip(*(values[name].tolist() for name in model.leaves), strict=True))
    speeds = np.random.default_rng(1).uniform(-1, 1, (count, len(model.parameters)))
    slopes, gradients = [], []

    def loss(xp, v):
        found = model.loss(xp, v)
        slopes.append(found[1])
        return found

    def backward(xp, v, t, d):
        model.backward(xp, v, t, d)
        gradients.append(dict(vars(d)))

    noted = replace(model, loss=loss, backward=backward)
    study._series(noted, samples, speeds.tolist())
    study._passes(noted, samples)
    moved = {name: speeds[:, i] for i, name in enumerate(model.parameters)}
    points = Points(model, values)
    wanted, _ = points.slopes(moved, 128)
    enclosed, _ = points.gradients(128)
    with precision(128):
        assert all(one.overlaps(other) for one, other in zip(slopes, wanted, strict=True))
        for row, found in enumerate(gradients):
            assert all(found[name].overlaps(enclosed[name][row]) for name in model.parameters)
            assert all(found[name].rad() < 1e-25 for name in model.parameters)


def test_medians_and_extremes_are_told_with_units():
    audited = pd.DataFrame({"series": [1.0, 3.0, 2.0], "ratio": [2.0, 2.5, 9.0]})
    table = study.summarise(audited, pd.DataFrame({"diagnosis": [0.25, 0.5, 0.375]}))
    assert table["quantity"].tolist() == ["series", "ratio", "diagnosis"]
    assert table["unit"].tolist() == ["us/sample", "", "s"]
    assert table["median"].tolist() == [2.0, 2.5, 0.375]
    assert table["largest"].tolist() == [3.0, 9.0, 0.5]
    assert table["repeats"].tolist() == [3, 3, 3]
