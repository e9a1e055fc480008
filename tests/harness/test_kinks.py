"""Samples moved onto kinks: nearly all are on one, and any choice between both sides is honest."""

import numpy as np
import pytest

import gradcheck
from gradcheck import Model, Request, RequestError, load_model, sampling
from gradcheck.harness import kinks
from gradcheck.harness.samples import block_size, draw_block, draw_sample
from gradcheck.model.board import Given

SAMPLES = 100
BOUND = 0.5


def of_elements(name, function, slope, **parts):
    """Return Σ c·f(w)."""

    def loss(xp, v):
        return xp.sum(v.c * function(xp, v.w))

    def forward(xp, v, t):
        t.f = function(xp, v.w)
        t.loss = xp.sum(v.c * t.f)

    def backward(xp, v, t, d):
        d.f = v.c
        d.w = d.f * slope(xp, v.w)

    return Model(name, {"c": (3,)}, {"w": (3,)}, loss, forward, backward, **parts)


def write_larger(xp, v, t):
    t.m = xp.maximum(v.a, v.b)
    t.loss = t.m * v.x


def write_adjoints_of_larger(xp, v, t, d):
    d.m = v.x
    d.a = xp.where(v.a > v.b, d.m, 0.0)
    d.b = xp.where(v.a > v.b, 0.0, d.m)


ABSOLUTE = of_elements(
    "absolute", lambda xp, w: xp.abs(w), lambda xp, w: xp.where(w > 0, 1.0, -1.0)
)
CLIPPED = of_elements(
    "clipped",
    lambda xp, w: xp.clip(w, -BOUND, BOUND),
    lambda xp, w: xp.where(w > -BOUND, 1.0, 0.0) * xp.where(w < BOUND, 1.0, 0.0),
)
RECTIFIED = of_elements(
    "rectified",
    lambda xp, w: xp.where(w > 0, w, 0.0 * w),
    lambda xp, w: xp.where(w > 0, 1.0, 0.0),
)
LARGER = Model(
    "larger",
    {"x": ()},
    {"a": (), "b": ()},
    lambda xp, v: xp.maximum(v.a, v.b) * v.x,
    write_larger,
    write_adjoints_of_larger,
)
NETWORK = load_model("network", {"depth": 2, "width": 3})
MODELS = {model.name: model for model in (ABSOLUTE, CLIPPED, RECTIFIED, LARGER, NETWORK)}
every_model = pytest.mark.parametrize("name", MODELS)


def drawn(model, samples=SAMPLES, start=0, dtype="float64", **settings):
    return draw_block(model, Request(kinks=True, **settings), dtype, start, samples).values


def preactivations(values, row):
    """Return what the network compares with zero."""
    v = Given({name: array[row] for name, array in values.items()})
    found, activity = [], v.x
    for weights, biases in list(zip(v.Omega, v.beta, strict=True))[:-1]:
        found += (weights @ activity + biases).tolist()
        activity = np.maximum(weights @ activity + biases, 0)
    return np.array(found)


# --- where the samples are


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_sample_has_a_number_on_the_kink(dtype):
    for model in (ABSOLUTE, RECTIFIED):
        assert ((drawn(model, dtype=dtype)["w"] == 0).sum(axis=1) == 1).all()
    clipped = drawn(CLIPPED, dtype=dtype)["w"]
    assert ((abs(clipped) == BOUND).sum(axis=1) == 1).all()
    assert 30 < (clipped == BOUND).sum() < 70
    larger = drawn(LARGER, dtype=dtype)
    assert (larger["a"] == larger["b"]).all()


def test_every_kink_gets_its_share():
    where = (drawn(ABSOLUTE)["w"] == 0).sum(axis=0)
    assert (where >= SAMPLES // 3).all()


def test_most_samples_of_a_network_are_on_the_kink_of_a_unit():
    values = drawn(NETWORK)
    near = [abs(preactivations(values, row)).min() < 1e-14 for row in range(SAMPLES)]
    assert np.mean(near) >= 0.85
    far = draw_block(NETWORK, Request(), "float64", 0, SAMPLES).values
    assert not any(abs(preactivations(far, row)).min() < 1e-14 for row in range(SAMPLES))


@every_model
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sample_alone_is_the_same_as_in_its_block(name, dtype):
    model, request = MODELS[name], Request(kinks=True)
    whole = drawn(model, block_size(model, request), 0, dtype)
    for number in (0, 13):
        alone = draw_sample(model, request, dtype, number)
        assert alone.numbers.tolist() == [number]
        for leaf in model.leaves:
            np.testing.assert_array_equal(alone.values[leaf][0], whole[leaf][number])
            np.testing.assert_array_equal(whole[leaf], whole[leaf].astype(dtype))


@every_model
def test_one_number_of_a_sample_is_moved(name):
    model = MODELS[name]
    before, after = draw_block(model, Request(), "float64", 0, SAMPLES).values, drawn(model)
    moved = sum(
        (before[leaf] != after[leaf]).reshape(SAMPLES, -1).sum(axis=1) for leaf in model.leaves
    )
    assert (moved <= 1).all()
    assert moved.mean() >= 0.85


def test_numbers_with_a_declared_range_stay_in_it():
    model = of_elements(
        "bounded",
        lambda xp, w: xp.abs(w),
        lambda xp, w: xp.where(w > 0, 1.0, -1.0),
        sampling={"w": sampling.uniform(1, 2)},
    )
    before, after = draw_block(model, Request(), "float64", 0, 20).values, drawn(model, 20)
    np.testing.assert_array_equal(after["w"], before["w"])


@every_model
def test_of_numbers_tried_at_once_the_first_counts_as_if_tried_in_turn(name, monkeypatch):
    at_once = drawn(MODELS[name])
    monkeypatch.setattr(kinks, "AT_ONCE", [range(i, i + 1) for i in range(16)])
    in_turn = drawn(MODELS[name])
    for leaf, array in at_once.items():
        np.testing.assert_array_equal(array, in_turn[leaf])


def test_only_samples_that_still_move_are_evaluated(monkeypatch):
    sizes = []
    honest = kinks._compared

    def noted(model, values, rounding):
        sizes.append(len(values["x"]))
        return honest(model, values, rounding)

    monkeypatch.setattr(kinks, "_compared", noted)
    drawn(NETWORK, 256)
    assert len(sizes) <= 2 + len(kinks.AT_ONCE) * (kinks.STEPS + 1)
    assert sizes[0] == sizes[1] == 256
    assert sizes[2] == 256
    assert sizes[3] < 256
    assert all(size % kinks.LANES == 0 for size in sizes[1:])


# --- what is said of them


def swept(model, adapters, samples=SAMPLES, **settings):
    for framework in {"torch", "jax"} & set(adapters):
        pytest.importorskip(framework)
    return gradcheck.sweep(
        model, samples=samples, kinks=True, adapters=adapters, workers=1, **settings
    )


def kinks_of(report, adapter):
    """Tabulate the kinks, by which share of the way from low to high the adapter has gone."""
    cases = report.discrepancies.query("verdict == 'kink' and adapter == @adapter")
    assert len(cases)
    assert ((cases["low"] <= cases["value"]) & (cases["value"] <= cases["high"])).all()
    assert (cases["low"] < cases["high"]).all()
    return cases


@pytest.mark.parametrize("name", ["absolute", "clipped", "rectified", "larger"])
def test_every_sample_is_a_kink_and_nothing_disagrees(name):
    report = swept(MODELS[name], ["complex-step"], dtypes=["float64"])
    assert report.agrees
    summary = report.summary
    assert (summary["kink"] == SAMPLES).all()
    assert (summary["kink"] + summary["agree"] == summary["samples"]).all()
    cases = kinks_of(report, "complex-step")
    assert set(cases["bar"]) == {"ball"}


def test_a_network_on_its_kinks_agrees():
    report = swept(NETWORK, ["torch"], samples=20, dtypes=["float64"], audit=0)
    assert report.agrees
    assert (report.summary["kink"] > 0).any()
    assert not report.summary[["disagree", "error"]].any(axis=None)


CHOICES = {
    # model, adapter: of the coefficient, what the framework takes where both sides tie
    ("absolute", "torch"): 0.0,
    ("absolute", "jax"): 1.0,
    ("clipped", "torch"): 1.0,
    ("clipped", "jax"): 0.5,
    ("rectified", "torch"): 0.0,
    ("rectified", "jax"): 0.0,
    ("larger", "torch"): 0.5,
    ("larger", "jax"): 0.5,
}


@pytest.mark.parametrize(("name", "adapter"), CHOICES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_a_framework_takes_on_a_kink_is_tabulated(name, adapter, dtype):
    cases = kinks_of(swept(MODELS[name], [adapter], dtypes=[dtype], audit=0), adapter)
    for _, case in cases.iterrows():
        factor = case["x"] if name == "larger" else case[f"c{case['element']}"]
        assert case["value"] == pytest.approx(CHOICES[name, adapter] * factor, rel=1e-6)
        ends = (-factor, factor) if name == "absolute" else (0.0, factor)
        found = sorted((case["low"], case["high"]))
        np.testing.assert_allclose(found, sorted(ends), rtol=1e-5, atol=1e-5 * abs(factor))


@pytest.mark.parametrize("share", [-1.5, 1.5])
def test_a_choice_beyond_both_sides_disagrees_and_the_adapter_is_the_culprit(
    share, register, altered
):
    def beyond(found, values):
        return {"w": np.where(values["w"] == 0, share * values["c"], found["w"])}

    register({"honest": altered(), "beyond": altered(beyond)})
    report = swept(ABSOLUTE, ["honest", "beyond"], dtypes=["float64"], referee_limit=10, audit=0)
    summary = report.summary.set_index("adapter")
    assert not report.agrees
    assert summary.loc["beyond"]["disagree"] == SAMPLES
    assert summary.loc["honest"]["disagree"] == 0
    assert summary.loc["honest"]["kink"] == SAMPLES
    cases = report.discrepancies.query("verdict == 'disagree' and culprit != ''")
    assert len(cases) == 10
    assert set(cases["adapter"]) == set(cases["culprit"]) == {"beyond"}
    outside = (cases["value"] < cases["low"]) | (cases["value"] > cases["high"])
    assert outside.all()


def test_what_is_wrong_away_from_the_kink_is_found(register, altered):
    def wrong(found, values):
        return {"w": np.where(values["w"] == 0, found["w"], 1.001 * found["w"])}

    register({"wrong": altered(wrong)})
    report = swept(ABSOLUTE, ["wrong"], dtypes=["float64"], referee_limit=5, audit=0)
    assert report.summary["disagree"].tolist() == [2 * SAMPLES]
    assert report.summary["kink"].tolist() == [SAMPLES]


@pytest.mark.parametrize("name", ["chain", "gelu"])
def test_a_model_that_compares_nothing_is_refused(name):
    with pytest.raises(RequestError) as refusal:
        swept(load_model(name), ["complex-step"])
    assert str(refusal.value) == (
        f"kinks: the passes of {name} compare nothing, so they have no kinks"
    )


def test_masks_joined_by_and_are_no_fault_of_the_hand_written_pass():
    joined = of_elements(
        "joined",
        lambda xp, w: xp.clip(w, -BOUND, BOUND),
        lambda xp, w: xp.where((w > -BOUND) & (w < BOUND), 1.0, 0.0),
    )
    for on_kinks in (False, True):
        report = gradcheck.sweep(
            joined, samples=10, kinks=on_kinks, adapters=["complex-step"], audit=1, workers=1
        )
        assert report.run["audit"]["refuted"] == 0
        assert report.agrees


LAYER = """import numpy as np
from gradcheck import Model


def loss(xp, v):
    return xp.sum((xp.maximum(v.W @ v.x, 0.0) - v.y) ** 2)


def forward(xp, v, t):
    t.z = v.W @ v.x
    t.h = {activation}
    t.loss = np.sum((t.h - v.y) ** 2)


def backward(xp, v, t, d):
    d.h = 2 * (t.h - v.y)
    d.z = d.h * {mask}
    d.W = np.outer(d.z, v.x)


M = Model("layer", {{"x": (3,), "y": (2,)}}, {{"W": (2, 3)}}, loss, forward, backward)
"""


@pytest.mark.parametrize("bars", ["ball", "stochastic"])
@pytest.mark.parametrize("mask", ["(t.h > 0)", "(t.h != 0)"])
@pytest.mark.parametrize(
    "activation", ["np.maximum(t.z, 0)", "t.z * (t.z > 0)", "np.where(t.z > 0, t.z, 0)"]
)
def test_a_dead_unit_is_no_kink(activation, mask, bars, tmp_path):
    (tmp_path / "layer.py").write_text(LAYER.format(activation=activation, mask=mask))
    report = gradcheck.sweep(
        str(tmp_path / "layer.py"), samples=100, adapters=["complex-step"], bars=bars, audit=0
    )
    assert report.run["counts"]["kink"] == 0
    assert report.run["counts"]["agree"] == report.run["counts"]["samples"] == 1200


# --- comparisons that are no kinks


def of_vector(name, function, slope, remember):
    """Return f(w·x), whose adjoint is `slope` of what `remember` keeps."""

    def loss(xp, v):
        return function(xp, v.w * v.x)

    def forward(xp, v, t):
        t.z = v.w * v.x
        t.kept = remember(xp, t.z)
        t.loss = function(xp, t.z)

    def backward(xp, v, t, d):
        d.z = slope(xp, v.w * v.x, t.kept)
        d.w = d.z * v.x

    return Model(name, {"x": (4,)}, {"w": (4,)}, loss, forward, backward)


def rank(xp, z):
    return xp.sum(xp.astype(z[None, :] > z[:, None], z.dtype), axis=1)


DECIDED = {
    "the rank of each among all": (
        lambda xp, z: xp.sum(xp.where(rank(xp, z) < 2, z * z, 0.0)),
        lambda xp, z, kept: xp.where(kept < 2, 2 * z, 0.0),
        rank,
    ),
    "the largest, computed again": (
        lambda xp, z: xp.max(z) ** 2,
        lambda xp, z, kept: (z == kept) * 2 * kept,
        lambda xp, z: xp.max(z),
    ),
    "what is computed again": (
        lambda xp, z: xp.sum(z * z),
        lambda xp, z, kept: xp.where((kept == z * z) & (z - z >= 0), 2 * z, 7.0),
        lambda xp, z: z * z,
    ),
}


@pytest.mark.parametrize("wrong", [1.0, 1.5])
@pytest.mark.parametrize("name", DECIDED)
def test_what_is_decided_is_no_kink_and_hides_no_wrong_formula(name, wrong):
    function, slope, remember = DECIDED[name]
    model = of_vector("decided", function, lambda xp, z, kept: wrong * slope(xp, z, kept), remember)
    report = gradcheck.sweep(model, samples=30, adapters=["complex-step"], audit=0, workers=1)
    counts = report.run["counts"]
    assert counts["kink"] == 0
    assert (counts["disagree"] > 0) == (wrong != 1)
    assert counts["agree"] + counts["disagree"] == counts["samples"]
