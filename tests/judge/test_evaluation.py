"""Both passes on balls: however they are written, and what is wrong with them in one line."""

from dataclasses import replace

import numpy as np
import pytest

import gradcheck
from gradcheck import Model, Request, RequestError, sampling
from gradcheck.adapters import Adapter
from gradcheck.harness.samples import BLOCK, block_size, draw_model
from gradcheck.harness.sweep import run_sweep
from gradcheck.judge.reference import Passes
from gradcheck.judge.verdict import LABELS, Verdict
from gradcheck.numbers.rounding import Rounding

BOTH = ("float64", "float32")
FLOAT32, FLOAT64 = Rounding(np.dtype(np.float32)), Rounding(np.dtype(np.float64))
WIDE = {np.dtype(np.float32): (2.0**-126, 3e38), np.dtype(np.float64): (2.0**-1022, 1e308)}
SIZES = {"inputs": {"x": (3,), "y": (2,)}, "parameters": {"W": (2, 3), "b": (2,)}}


# --- one model, stated in four ways


def loss(xp, v):
    return xp.sum((xp.tanh(v.W @ v.x + v.b) - v.y) ** 2)


def forward(xp, v, t):
    t.z = v.W @ v.x + v.b
    t.h = np.tanh(t.z)
    t.loss = np.sum((t.h - v.y) ** 2)


def backward(xp, v, t, d):
    d.h = 2 * (t.h - v.y)
    d.z = (1 - t.h**2) * d.h
    d.b = d.z
    d.W = d.z[:, None] * v.x[None, :]


def batched_loss(xp, v):
    z = xp.sum(v.W * v.x[:, None, :], axis=-1) + v.b
    return xp.sum((xp.tanh(z) - v.y) ** 2, axis=-1)


def batched_forward(xp, v, t):
    t.z = xp.sum(v.W * v.x[:, None, :], axis=-1) + v.b
    t.h = np.tanh(t.z)
    t.loss = np.sum((t.h - v.y) ** 2, axis=-1)


def batched_backward(xp, v, t, d):
    d.h = 2 * (t.h - v.y)
    d.z = (1 - t.h**2) * d.h
    d.b = d.z
    d.W = d.z[:, :, None] * v.x[:, None, :]


def branching_forward(xp, v, t):
    forward(xp, v, t)
    t.sign = 1.0 if t.z[0] > 0 else -1.0


def looping_forward(xp, v, t):
    t.z = v.b.copy()
    for i in range(2):
        for j in range(3):
            t.z[i] += v.W[i, j] * v.x[j]
    t.h = np.tanh(t.z)
    t.loss = np.sum((t.h - v.y) ** 2)


PER_SAMPLE = Model("layer", **SIZES, loss=loss, forward=forward, backward=backward)
BATCHED = Model(
    "layer",
    **SIZES,
    loss=batched_loss,
    forward=batched_forward,
    backward=batched_backward,
    batched=True,
)
STATEMENTS = {
    "per sample": PER_SAMPLE,
    "batched": BATCHED,
    "with an if": replace(PER_SAMPLE, forward=branching_forward),
    "in loops": replace(PER_SAMPLE, forward=looping_forward),
}
every_statement = pytest.mark.parametrize("statement", STATEMENTS)


def passes(model, samples=50, rounding=FLOAT64, **settings):
    values = draw_model(model, 3, 0, samples, dtype=rounding.dtype)
    return Passes(model, values, rounding, **settings)


def reference(model, gradient="W", samples=50, rounding=FLOAT64, **settings):
    found = passes(model, samples, rounding, **settings)
    return found.gradient(gradient, WIDE[rounding.dtype], samples)


@every_statement
@pytest.mark.parametrize("gradient", ["W", "b"])
def test_the_reference_is_the_same_to_rounding_however_it_is_stated(statement, gradient):
    for rounding in (FLOAT64, FLOAT32):
        one = reference(PER_SAMPLE, gradient, rounding=rounding)
        other = reference(STATEMENTS[statement], gradient, rounding=rounding)
        assert other.value.shape == one.value.shape
        np.testing.assert_allclose(other.value, one.value, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(other.bound, one.bound, rtol=0.5)
        assert other.kink is one.kink is None


@every_statement
def test_the_verdicts_are_the_same_however_it_is_stated(statement):
    def counts(model):
        request = Request(samples=200, adapters=("complex-step",), bars="ball", workers=1)
        return {
            key: dict(zip(LABELS, tally.counts.tolist(), strict=True))
            for key, tally in run_sweep(model, request, block=128).tallies.items()
        }

    found = counts(STATEMENTS[statement])
    assert found == counts(PER_SAMPLE)
    assert all(count["agree"] > 190 for count in found.values())
    assert not any(count["disagree"] or count["error"] for count in found.values())


@every_statement
def test_a_planted_fault_is_found_however_it_is_stated(statement):
    model = STATEMENTS[statement]

    def wrong(xp, v, t, d):
        model.backward(xp, v, t, d)
        d.b = d.z * 1.01

    request = Request(samples=150, adapters=("complex-step",), bars="ball", workers=1)
    tallies = run_sweep(replace(model, backward=wrong), request, block=128).tallies
    for dtype in BOTH:
        assert tallies["complex-step", dtype, "b"].counts[Verdict.DISAGREE] > 270
        assert not tallies["complex-step", dtype, "W"].counts[Verdict.DISAGREE]


def test_only_the_samples_asked_for_are_run_where_they_are_run_one_by_one():
    assert passes(STATEMENTS["with an if"], 50, wanted=7).samples == 7
    assert passes(PER_SAMPLE, 50, wanted=7).samples == 50


def test_a_pass_with_an_if_can_have_stochastic_bars():
    found = reference(STATEMENTS["with an if"], bars="stochastic", samples=5)
    assert found.stochastic.all()


def with_constants(xp, v, t, d):
    backward(xp, v, t, d)
    d.b = 0.0
    d.W = np.ones((2, 3))


@pytest.mark.parametrize(
    ("gradient", "value"),
    [("b", 0.0), ("W", 1.0)],
)
def test_constants_are_lifted_for_every_sample(gradient, value):
    found = reference(replace(PER_SAMPLE, backward=with_constants), gradient)
    assert found.value.shape == (50, *PER_SAMPLE.parameters[gradient])
    assert (found.value == value).all()
    assert (found.bound == 0).all()


# --- what the passes leave out, invent, or shape otherwise


def refused(model):
    with pytest.raises(RequestError) as refusal:
        passes(model, 4)
    message = str(refusal.value)
    assert message.startswith("model: ")
    assert "\n" not in message
    return message


def with_backward(write, model=PER_SAMPLE):
    def altered(xp, v, t, d):
        model.backward(xp, v, t, d)
        write(v, t, d)

    return replace(model, backward=altered)


def with_forward(write, model=PER_SAMPLE):
    def altered(xp, v, t):
        model.forward(xp, v, t)
        write(v, t)

    return replace(model, forward=altered)


def write(board, name, value):
    board[name] = value


BACKWARD = {
    "invented": (
        lambda v, t, d: write(d, "other", d.z),
        "the backward pass of layer writes d.other, but there is no parameter, input or quantity "
        "of the trace called other; rename it, or keep it in a variable",
    ),
    "of a family that is none": (
        lambda v, t, d: write(d, "z.0", d.z[0]),
        "the backward pass of layer writes d.z.0, but there is no",
    ),
    "transposed": (
        lambda v, t, d: write(d, "W", v.x[:, None] * d.z[None, :]),
        "gives d.W the shape (3, 2) where (2, 3) was expected; is a transpose missing?",
    ),
    "not summed over the first axis": (
        lambda v, t, d: write(d, "b", d.z[:, None] * np.ones((2, 2))),
        "gives d.b the shape (2, 2) where (2,) was expected; is a sum over axis 0 missing?",
    ),
    "not summed over the last axis": (
        lambda v, t, d: write(d, "b", d.z[:, None] * v.x[None, :]),
        "gives d.b the shape (2, 3) where (2,) was expected; is a sum over axis 1 missing?",
    ),
    "of another size": (
        lambda v, t, d: write(d, "b", v.x),
        "gives d.b the shape (3,) where (2,) was expected",
    ),
    "None": (lambda v, t, d: write(d, "b", None), "wrote None as b; an array was expected"),
    "text": (lambda v, t, d: write(d, "b", "z"), "wrote 'z' as b; an array was expected"),
}


@pytest.mark.parametrize("what", BACKWARD)
def test_an_adjoint_that_does_not_fit_is_told_with_the_mend(what):
    alter, complaint = BACKWARD[what]
    assert complaint in refused(with_backward(alter))


def test_a_gradient_that_is_left_out_is_named():
    def partial(xp, v, t, d):
        d.W = np.zeros((2, 3))

    message = refused(replace(PER_SAMPLE, backward=partial))
    assert "the backward pass of layer leaves out d.b, the gradient of a parameter" in message


def test_a_gradient_of_a_family_that_is_left_out_is_named():
    def sum_of_squares(xp, v):
        return v.w[0] ** 2 + v.w[1]["a"] ** 2

    def write_loss(xp, v, t):
        t.loss = v.w[0] ** 2 + v.w[1]["a"] ** 2

    def write_one(xp, v, t, d):
        d.w[0] = 2 * v.w[0]

    model = Model("two", {"x": ()}, {"w": [(), {"a": ()}]}, sum_of_squares, write_loss, write_one)
    assert "leaves out d.w.1.a, the gradient of a parameter" in refused(model)


def test_a_batched_gradient_that_is_summed_over_the_samples_or_transposed_is_told():
    def transposed(v, t, d):
        d.W = d.z[:, None, :] * v.x[:, :, None]

    message = refused(with_backward(transposed, BATCHED))
    assert "the shape (3, 2) where (2, 3) was expected; is a transpose missing?" in message


@pytest.mark.parametrize("model", [PER_SAMPLE, BATCHED], ids=["per sample", "batched"])
def test_a_loss_that_is_no_scalar_is_told_with_the_mend(model):
    message = refused(with_forward(lambda v, t: write(t, "loss", t.h), model))
    assert "t.loss of layer has the shape (2,) where a scalar was expected; sum it" in message


def test_a_loss_that_is_left_out_is_told():
    def no_loss(xp, v, t):
        t.z = v.W @ v.x + v.b
        t.h = np.tanh(t.z)

    assert "the forward pass of layer leaves out t.loss" in refused(
        replace(PER_SAMPLE, forward=no_loss)
    )


@pytest.mark.parametrize("name", ["x", "y"])
def test_the_adjoint_of_an_input_may_be_written(name):
    passes(with_backward(lambda v, t, d: write(d, name, v[name])))


def test_what_a_pass_reads_and_nobody_wrote_is_named_with_its_line():
    def mistyped(xp, v, t, d):
        backward(xp, v, t, d)
        d.b = t.zz * d.h  # this line

    line = mistyped.__code__.co_firstlineno + 2
    message = refused(replace(PER_SAMPLE, backward=mistyped))
    assert f"(test_evaluation.py, line {line})" in message
    assert "zz" in message


def test_a_function_without_a_rule_is_named_with_its_line():
    def exotic(xp, v, t):
        forward(xp, v, t)
        t.s = np.unwrap(t.z)

    message = refused(replace(PER_SAMPLE, forward=exotic))
    assert f"(test_evaluation.py, line {exotic.__code__.co_firstlineno + 2})" in message
    assert "unwrap" in message


# --- changes in place


def add_to_an_input(v, t):
    v.x[0] = 0.0


def double_a_parameter(v, t):
    v.W *= 2


def through_another_name(v, t):
    t.a = v.x
    t.a += 1


def with_out(v, t):
    np.exp(v.x, out=v.x)


@pytest.mark.parametrize(
    "change", [add_to_an_input, double_a_parameter, through_another_name, with_out]
)
@pytest.mark.parametrize("model", [PER_SAMPLE, BATCHED], ids=["per sample", "batched"])
def test_a_change_of_an_input_in_place_is_told_with_file_and_line(change, model):
    def changing(xp, v, t):
        model.forward(xp, v, t)
        change(v, t)

    line = change.__code__.co_firstlineno + (2 if change is through_another_name else 1)
    message = refused(replace(model, forward=changing))
    assert f"change an input or a parameter in place (test_evaluation.py, line {line})" in message
    assert "work on a copy of it, such as v.x.copy()" in message


def test_a_copy_of_an_input_may_be_changed():
    def copying(v, t):
        x = v.x.copy()
        x[0] = 0.0
        x *= 2
        t.x2 = x

    found = passes(with_forward(copying))
    assert (found.t["x2"].mid[:, 0] == 0).all()
    np.testing.assert_array_equal(found.t["x2"].mid[:, 1:], 2 * found.v["x"].mid[:, 1:])


def test_a_row_that_is_changed_changes_its_matrix_or_is_refused():
    def by_rows(v, t):
        rows = np.zeros_like(v.W)
        for i in range(2):
            row = rows[i]
            row += v.x
        t.rows = rows

    try:
        found = passes(with_forward(by_rows))
    except RequestError:  # as good
        return
    np.testing.assert_array_equal(found.t["rows"].mid[:, 1], found.v["x"].mid)


# --- kinks: between the one-sided derivatives everything is honest, and nothing else


def kinked(name, of_element, slope, edges):
    """Return Σ c·f(w) with a `w` of zeros and a one, and the derivatives of f on either side."""

    def definition(xp, v):
        return xp.sum(v.c * of_element(xp, v.w))

    def trace(xp, v, t):
        t.f = of_element(xp, v.w)
        t.loss = xp.sum(v.c * t.f)

    def adjoints(xp, v, t, d):
        d.w = v.c * slope(xp, v.w)

    domains = {"w": sampling.one_hot(), "c": sampling.uniform(1, 2)}
    model = Model(name, {"c": (3,)}, {"w": (3,)}, definition, trace, adjoints, sampling=domains)
    return model, edges


KINKS = {
    # (left, right) derivative where w is 0, and where it is 1
    "absolute value": kinked(
        "absolute", lambda xp, w: xp.abs(w), lambda xp, w: xp.sign(w), ((-1, 1), (1, 1))
    ),
    "clip": kinked(
        "clip",
        lambda xp, w: xp.clip(w, 0.0, 1.0),
        lambda xp, w: xp.where(w > 0, 1.0, 0.0) * xp.where(w < 1, 1.0, 0.0),
        ((0, 1), (1, 0)),
    ),
    "maximum": kinked(
        "maximum",
        lambda xp, w: xp.maximum(w, 0.0),
        lambda xp, w: xp.where(w > 0, 1.0, 0.0),
        ((0, 1), (1, 1)),
    ),
}
PLACES = {
    # where between the derivative on the left and that on the right
    "left": (0.0, True),
    "right": (1.0, True),
    "middle": (0.5, True),
    "a quarter": (0.25, True),
    "beyond": (1.001, False),
    "before": (-0.001, False),
    "far away": (3.0, False),
}


def at(place, edges):
    """Return an adapter that gives values at a place between the one-sided derivatives."""

    def prepare(model, dtype):
        def gradients(values):
            one = values["w"] == 1
            left, right = (np.where(one, edges[1][side], edges[0][side]) for side in (0, 1))
            slope = left + (right - left) * place
            return {"w": (values["c"] * slope).astype(dtype)}

        return gradients

    return Adapter(prepare, "for a test")


@pytest.mark.parametrize("bars", ["auto", "ball"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", KINKS)
def test_on_a_kink_what_lies_between_the_one_sided_derivatives_is_honest(
    name, place, bars, register
):
    (model, edges), (fraction, honest) = KINKS[name], PLACES[place]
    register({"adapter": at(fraction, edges)})
    outcome = run_sweep(model, Request(samples=40, bars=bars, workers=1), block=128)
    on_kink = 40 * sum(
        places for places, (left, right) in zip((2, 1), edges, strict=True) if left != right
    )
    for dtype in BOTH:
        tally = outcome.tallies["adapter", dtype, "w"]
        expected = {"kink" if honest else "disagree": on_kink, "agree": 120 - on_kink}
        counts = dict(zip(LABELS, tally.counts.tolist(), strict=True))
        assert {label: n for label, n in counts.items() if n} == {
            label: n for label, n in expected.items() if n
        }
        case = (tally.kinks if honest else tally.disagreements)[0]
        assert case.low < case.high
        assert (case.low <= case.value <= case.high) is honest


def by_order(xp, v, t, d):
    first = v.w[0] > v.w[1]
    d.w = np.stack([first * 1.0, 1.0 - first, 0 * v.w[2]])


def by_equality(xp, v, t, d):
    d.w = np.concatenate([(v.w[:2] == t.m) * 1.0, np.zeros(1)])


def write_largest(xp, v, t):
    t.m = np.max(v.w[:2])
    t.loss = t.m * 1.0


@pytest.mark.parametrize(
    "adjoints",
    [
        by_order,
        by_equality,
    ],
)
def test_a_tie_of_the_largest_is_a_kink(adjoints, register):
    model = Model(
        "largest",
        inputs={"x": ()},
        parameters={"w": (3,)},
        loss=lambda xp, v: xp.max(v.w[:2]),
        forward=write_largest,
        backward=adjoints,
        sampling={"w": sampling.one_hot()},
    )

    def share(first):
        def gradients(values):
            w = values["w"]
            tied = (w[:, 0] == w[:, 1])[:, None]
            chosen = np.where(tied, [first, 1 - first, 0], w * [1, 1, 0])
            return {"w": chosen.astype(w.dtype)}

        return Adapter(lambda model, dtype: gradients, "for a test")

    register({"first": share(1.0), "half": share(0.5), "beyond": share(1.5)})
    tallies = run_sweep(model, Request(samples=60, workers=1), block=128).tallies
    values = draw_model(model, 0, 0, 60)["w"]
    ties = int((values[:, 2] == 1).sum())
    assert 10 < ties < 40
    for dtype in BOTH:
        for name in ("first", "half"):
            counts = tallies[name, dtype, "w"].counts
            assert counts[Verdict.KINK] == 2 * ties
            assert counts[Verdict.AGREE] == 180 - 2 * ties
        assert tallies["beyond", dtype, "w"].counts[Verdict.DISAGREE] == 2 * ties


# --- blocks


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("chain", {}, BLOCK),
        ("chain-misprint", {}, BLOCK),
        ("network", {}, 2048),
        ("network", {"depth": 20, "width": 64}, 8),
        ("network", {"depth": 3, "width": 1000}, 1),
    ],
)
def test_a_block_has_fewer_samples_of_a_larger_model(name, options, size):
    assert block_size(gradcheck.load_model(name, options), Request()) == size


def test_a_block_is_small_where_an_expression_may_be_called_for_every_sample():
    model = replace(PER_SAMPLE, expressions={"torch": loss})
    assert block_size(PER_SAMPLE, Request()) == 32_768
    assert block_size(model, Request()) == 256


def test_a_block_is_small_where_the_passes_take_one_sample_at_a_time():
    assert block_size(STATEMENTS["with an if"], Request()) == 256
    assert block_size(PER_SAMPLE, Request()) > 256
