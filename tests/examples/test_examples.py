"""The gallery's models agree with every framework; a fault planted in one is found and named.

By default the typical faults are planted: for every model a wrong sign, a wrong factor and a
forgotten term among them, and where it has them a transpose, a sum and a mask. The environment
variable `GRADCHECK_EVERY_FAULT=1` plants all: a minute and a half.
"""

import os
from functools import cache

import pytest

from gradcheck import RequestError, sweep
from gradcheck.adapters import all_adapters
from gradcheck.model.loading import BUILT_IN

from .faults import FAULTS, REFUSED, plant

PACKAGE = "gradcheck.examples."
MODULES = {
    name: module.removeprefix(PACKAGE)
    for name, module in BUILT_IN.items()
    if module.removeprefix(PACKAGE) in FAULTS
}
FRAMEWORKS = ("complex-step", "torch", "jax")
INFORMATIVE = {"attention": 0.91, "gelu": 0.97}
"""Least share of comparisons that prove something where it is not 1: a twelfth of attention's are
with the first query's zeros, and far below 0 GELU's derivative is lost in rounding."""
EVERY = bool(os.environ.get("GRADCHECK_EVERY_FAULT"))
QUICK = {
    "samples": 30,
    "adapters": ["complex-step"],
    "dtypes": ["float64"],
    "bars": "ball",
    "audit": 0,
    "referee_limit": 20,
}


def cases(table, chosen=lambda fault: True):
    """Make a parameter set of every fault."""
    return [
        pytest.param(module, fault, id=f"{module}: {fault.name}")
        for module, faults in table.items()
        for fault in faults
        if chosen(fault)
    ]


@cache
def report(name):
    """Sweep a model once for several tests."""
    adapters = [adapter for adapter in FRAMEWORKS if all_adapters()[adapter].installed]
    return sweep(name, samples=500, adapters=adapters)


def test_every_model_has_faults():
    others = {"chain", "chain-misprint", "network"}  # with tests of their own
    assert set(MODULES) == set(BUILT_IN) - others
    assert set(FAULTS) == set(REFUSED) == set(MODULES.values())


@pytest.mark.parametrize("adapter", FRAMEWORKS)
@pytest.mark.parametrize("name", MODULES)
def test_a_model_agrees_with_every_framework(name, adapter):
    if not all_adapters()[adapter].installed:
        pytest.skip(f"{adapter} is not installed")
    overview = report(name).overview
    rows = overview[overview["adapter"] == adapter].set_index("dtype")
    assert set(rows.index) == {"float64", "float32"}
    verdicts = rows[["disagree", "defect", "error", "overflow", "kink"]]
    assert not verdicts.to_numpy().any(), verdicts
    assert (rows["agree"] >= INFORMATIVE.get(name, 1) * rows["samples"]).all(), rows


@pytest.mark.parametrize("name", MODULES)
def test_the_audit_proves_a_models_gradients(name):
    run = report(name).run
    assert run["misstated"] == {}
    assert run["unchecked"] == ""
    assert run["audit"]["refuted"] == 0
    assert run["audit"]["proved"] > 0


@pytest.mark.parametrize(("module", "fault"), cases(FAULTS, lambda fault: EVERY or fault.typical))
def test_a_fault_is_found_and_its_line_named_and_explained(module, fault, tmp_path):
    path, line = plant(module, fault, tmp_path)
    found = sweep(str(path), **QUICK)
    assert not found.agrees
    assert found.run["counts"]["disagree"] > 0
    ruled = found.discrepancies.loc[found.discrepancies["culprit"] != "", "culprit"]
    assert set(ruled) == {"reference"}
    first = found.diagnosis.iloc[0]
    assert (first["pass"], first["quantity"]) == ("backward", fault.quantity)
    assert (first["line"], first["source"]) == (line, fault.new)
    assert (fault.words or "") in first["explanation"]


@pytest.mark.parametrize(("module", "fault"), cases(REFUSED))
def test_a_gradient_of_the_wrong_shape_or_none_is_refused_by_name(module, fault, tmp_path):
    path, _ = plant(module, fault, tmp_path)
    with pytest.raises(RequestError, match=fault.words):
        sweep(str(path), **QUICK)
