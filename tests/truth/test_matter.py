"""Many matters looked at together are ruled on as each by itself."""

import numpy as np
import pytest

from gradcheck import Request, load_model
from gradcheck.examples import chain
from gradcheck.harness.sweep import run_sweep
from gradcheck.numbers.rounding import Rounding
from gradcheck.truth import referee
from gradcheck.truth.matter import Matter, look_at
from gradcheck.truth.points import Points
from gradcheck.truth.witness import Witness


def spoilt(found, values):
    """Return gradients of which one is wrong on some samples, more and less."""
    name = next(iter(found))
    row = np.arange(len(found[name])).reshape((-1,) + (1,) * (found[name].ndim - 1))
    factor = np.where(row % 3 == 0, 1 + found[name].dtype.type(0.01), 1)
    return found | {name: found[name] * factor}


@pytest.mark.parametrize(
    ("name", "kinks"),
    [("chain", False), ("chain-misprint", False), ("attention", False), ("network", True)],
)
def test_the_rulings_are_those_of_each_by_itself(name, kinks, register, altered, monkeypatch):
    register({"spoilt": altered(spoilt)})
    model = load_model(name)
    request = Request(samples=24, kinks=kinks, audit=0, workers=1)
    outcome = run_sweep(model, request)
    together = list(referee.referee(model, request, outcome).by_case.values())
    looked_at = []
    monkeypatch.setattr(referee, "look_at", looked_at.extend)
    assert list(referee.referee(model, request, outcome).by_case.values()) == together
    assert len(together) >= len(looked_at) > 0
    assert {ruling.culprit for ruling in together} & {"spoilt", referee.REFERENCE}


def test_little_is_evaluated_again(monkeypatch):
    values = {name: np.ones(1) for name in chain.MODEL.leaves}
    rounding = Rounding(np.dtype("float64"))
    witnesses = [
        Witness(chain.MODEL, values | {"x": np.array([x])}, rounding) for x in (0.5, 1.0, 2.0)
    ]
    matters = [Matter(one, name, 0, 1e-9) for one in witnesses for name in ("beta1", "omega0")]
    sizes = []
    honest = Points.gradients

    def noted(self, bits):
        sizes.append(self.samples)
        return honest(self, bits)

    monkeypatch.setattr(Points, "gradients", noted)
    look_at(matters)
    assert sizes == [3, 3]
    monkeypatch.setattr("gradcheck.truth.derivative.Point._one_sided", None)
    monkeypatch.setattr("gradcheck.truth.derivative.Point.gradients", None)
    for matter in matters:
        assert matter.slope.enclosure.overlaps(matter.formula)
        assert matter.coarse.enclosure.overlaps(matter.formula)
        assert matter.honest_width() > 2.0**-48 * abs(float(matter.formula))


def test_a_derivative_that_is_too_wide_is_left_to_a_higher_precision():
    values = {name: np.ones(1) for name in chain.MODEL.leaves}
    matter = Matter(Witness(chain.MODEL, values, Rounding(np.dtype("float64"))), "beta1", 0, 1e-60)
    look_at([matter])
    assert "slope" not in vars(matter)
    assert float(matter.slope.enclosure.rad()) < 1e-60
