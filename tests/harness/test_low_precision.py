"""Numbers of 16 bits: what is honest agrees, what is wrong is found, each element by its bar."""

import ml_dtypes
import numpy as np
import pytest
import torch

import gradcheck
from gradcheck.adapters import normal_range
from gradcheck.adapters.torch import array_from, tensor_from
from gradcheck.errors import RequestError
from gradcheck.harness.request import Request
from gradcheck.harness.samples import draw_model
from gradcheck.judge.reference import Passes
from gradcheck.model.loading import load_model
from gradcheck.numbers.narrow import Narrow
from gradcheck.numbers.rounding import Rounding
from gradcheck.trace import trace_sample

NARROW = ("float16", "bfloat16")
GALLERY = ("chain", "softmax-cross-entropy", "layer-norm", "batch-norm", "attention", "gelu")
ADAPTERS = ["torch", "torch-forward", "jax", "jax-eager", "hand-written", "closed-form"]
FEW = {"samples": 3, "dtypes": ["bfloat16"]}


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return torch.nn.functional.silu(a) * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        s = torch.sigmoid(a)
        return g * b * (s + a * s * (1 - s)), g * a * s


class SwiGLUWithoutOneFactor(SwiGLU):
    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        s = torch.sigmoid(a)
        return g * b * (s + a * s), g * a * s


class SwiGLUOfZeros(SwiGLU):
    @staticmethod
    def backward(ctx, g):
        return torch.zeros_like(g), torch.zeros_like(g)


class SwiGLUWithOneWrongElement(SwiGLU):
    @staticmethod
    def backward(ctx, g):
        da, db = SwiGLU.backward(ctx, g)
        db = db.clone()
        db[3, 5] *= 1.125
        return da, db


class SwiGLUFused(SwiGLU):
    """Computes in float32, and rounds once."""

    @staticmethod
    def backward(ctx, g):
        a, b, h = (one.float() for one in (*ctx.saved_tensors, g))
        s = torch.sigmoid(a)
        return (h * b * (s + a * s * (1 - s))).to(g.dtype), (h * a * s).to(g.dtype)


class RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        wide = x.float()
        r = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, w, r)
        return (wide * r).to(x.dtype) * w

    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        n, scaled = x.float() * r, (g * w).float()
        dx = r * (scaled - n * (scaled * n).mean(-1, keepdim=True))
        return dx.to(x.dtype), (g.float() * n).sum(0).to(w.dtype)


class RMSNormWithoutMean(RMSNorm):
    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        _, dw = RMSNorm.backward(ctx, g)
        return ((g * w).float() * r).to(x.dtype), dw


class SumInSixteenBits(torch.autograd.Function):
    """Adds up one term after the other in bfloat16, where float32 is expected."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        total = torch.zeros_like(w)
        for row in g * x:
            total = total + row
        return g * w, total


@pytest.mark.parametrize(
    ("model", "dtype"), [*((one, "bfloat16") for one in GALLERY), ("chain", "float16")]
)
def test_what_is_honest_agrees(model, dtype):
    adapters = ADAPTERS if load_model(model).closed_forms else ADAPTERS[:-1]
    report = gradcheck.sweep(model, samples=200, dtypes=[dtype], adapters=adapters, audit=0)
    counts = report.summary.groupby("adapter")[["agree", "disagree", "error"]].sum()
    assert (counts["agree"] > 0).all()
    assert set(counts.index) == set(adapters)
    assert not counts[["disagree", "error"]].to_numpy().any()


@pytest.mark.parametrize("dtype", NARROW)
def test_of_the_chain_nearly_all_is_informative(dtype):
    report = gradcheck.sweep("chain", samples=2_000, dtypes=[dtype], adapters=["torch", "jax"])
    share = report.summary["agree"].sum() / report.summary["samples"].sum()
    assert share > 0.88
    assert report.agrees


@pytest.mark.parametrize("dtype", NARROW)
def test_the_misprint_is_found_and_blamed_on_the_reference(dtype):
    report = gradcheck.sweep("chain-misprint", samples=200, dtypes=[dtype], adapters=["torch"])
    assert not report.agrees
    found = report.discrepancies[report.discrepancies["verdict"] == "disagree"]
    assert set(found["gradient"]) == {"beta1"}
    assert "reference" in set(found["culprit"])


@pytest.mark.parametrize("function", [SwiGLU, SwiGLUFused])
@pytest.mark.parametrize("dtype", NARROW)
def test_a_right_pass_agrees_whether_it_is_fused_or_not(function, dtype):
    report = gradcheck.check(
        function.apply, numbers(8, 16), numbers(8, 16, seed=1), samples=8, dtypes=[dtype]
    )
    assert report.agrees
    assert report.summary["agree"].sum() > 1_900


@pytest.mark.parametrize("dtype", NARROW)
def test_a_pass_that_computes_in_float32_agrees(dtype):
    report = gradcheck.check(
        RMSNorm.apply, numbers(8, 16), numbers(16, seed=1), samples=8, dtypes=[dtype]
    )
    assert report.agrees


@pytest.mark.parametrize(
    "function", [SwiGLUWithoutOneFactor, SwiGLUOfZeros, SwiGLUWithOneWrongElement]
)
def test_a_fault_is_found(function):
    report = gradcheck.check(function.apply, numbers(4, 8), numbers(4, 8, seed=1), **FEW)
    assert not report.agrees
    assert report.summary["disagree"].sum() or report.run["audit"]["refuted"]


def test_a_dropped_mean_is_found():
    report = gradcheck.check(RMSNormWithoutMean.apply, numbers(8, 16), numbers(16, seed=1), **FEW)
    assert not report.agrees


def test_an_accumulator_of_sixteen_bits_is_no_honest_one():
    def plain(x, w):
        return x * w

    inputs = numbers(4096, 2).abs() + 1, numbers(2, seed=1)
    cotangents = [np.ones((4096, 2))]
    honest = gradcheck.check(plain, *inputs, cotangents=cotangents, samples=1, dtypes=["bfloat16"])
    assert honest.agrees
    report = gradcheck.check(
        SumInSixteenBits.apply,
        *inputs,
        definition=plain,
        cotangents=cotangents,
        samples=1,
        dtypes=["bfloat16"],
    )
    assert report.summary.set_index("gradient").loc["w", "disagree"] == 2


@pytest.mark.parametrize("dtype", NARROW)
def test_a_long_sum_is_not_charged_a_roundoff_of_sixteen_bits_a_term(dtype):
    rounding = Rounding(np.dtype(dtype))
    once = rounding.unit_roundoff
    assert once < rounding.sum_error(4096) < 1.51 * once
    assert rounding.sum_error(0) == 0
    assert Rounding(np.dtype(np.float32)).sum_error(100) >= 200 * 2.0**-24


def test_an_adapter_says_in_which_formats_it_works():
    with pytest.raises(RequestError, match="complex-step works in float64 and float32, not in"):
        gradcheck.sweep("chain", samples=10, dtypes=["bfloat16"], adapters=["complex-step"])
    with pytest.raises(RequestError, match=r"none of the adapters \(complex-step\) works in"):
        gradcheck.sweep(
            "chain", samples=10, dtypes=["float64", "bfloat16"], adapters=["complex-step"]
        )


def test_an_adapter_has_rows_of_its_formats_alone():
    report = gradcheck.sweep(
        "chain", samples=10, dtypes=["float64", "bfloat16"], adapters=["complex-step", "torch"]
    )
    found = report.summary.groupby("adapter")["dtype"].unique()
    assert list(found["complex-step"]) == ["float64"]
    assert sorted(found["torch"]) == ["bfloat16", "float64"]


def test_a_tensor_that_is_mostly_uninformative_is_named():
    text = str(gradcheck.sweep("attention", samples=100, dtypes=["bfloat16"], adapters=["torch"]))
    assert "is uninformative, up to" in " ".join(text.split())
    text = str(gradcheck.sweep("chain", samples=100, adapters=["torch"]))
    assert "is uninformative" not in " ".join(text.split())


@pytest.mark.parametrize("dtype", NARROW)
def test_the_trace_of_a_sample_agrees_with_the_truth(dtype):
    request = Request(dtypes=(dtype,), adapters=("torch", "closed-form"))
    table = trace_sample(load_model("chain"), request, 1).backward
    truth = table["truth"].astype(float)
    assert (np.abs(truth - table["reference"]) <= table["bound"]).all()
    assert (np.abs(truth - table["torch"]) <= table["bound"]).all()


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_tensors_and_arrays_have_the_same_bits(name):
    array = np.linspace(-3, 3, 7).astype(name)
    tensor = tensor_from(array)
    assert str(tensor.dtype) == f"torch.{name}"
    assert array_from(tensor).tobytes() == array.tobytes()
    assert tensor.double().tolist() == array.astype(float).tolist()


@pytest.mark.parametrize("kept", [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)])
def test_the_hand_written_passes_round_every_result_and_add_up_in_float32(kept):
    x = Narrow(np.full((1, 4096), 1.01), 1, kept)
    one = x.array[0, 0]
    assert one == np.float32(kept.type(1.01))
    assert (x * x).array[0, 0] == np.float32(kept.type(one * one))
    assert np.sum(x).array[0] == np.float32(kept.type(4096 * one))


def test_cotangents_of_an_output_of_fewer_bits_are_exact_in_it():
    def narrowed(x):
        return (x.float() * 3).bfloat16()

    for dtype in ("float16", "float32"):
        report = gradcheck.check(narrowed, numbers(8, 16), samples=8, dtypes=[dtype])
        assert report.agrees


def test_what_enters_by_a_detour_is_noticed_in_sixteen_bits():
    def scaled(x):
        return x * float(x.detach().float().numpy().max())

    report = gradcheck.check(scaled, numbers(8, 16), **FEW)
    assert not report.agrees
    assert "depend on the inputs" in report.summary["message"][0]


def test_a_recipe_that_keeps_float32_holds_results_to_it():
    """A fused pass keeps the promise, one that rounds every result does not."""
    inputs, promised = (numbers(8, 16), numbers(8, 16, seed=1)), {"intermediates": "float32"}
    fused = gradcheck.check(SwiGLUFused.apply, *inputs, recipe=promised, **FEW)
    assert fused.agrees
    assert not gradcheck.check(SwiGLU.apply, *inputs, recipe=promised, **FEW).agrees
    assert fused.run["recipe"]["bfloat16"]["intermediates"] == "float32"
    assert "computes in float32, results kept; sums in float32, in any order; no TF32" in " ".join(
        str(fused).split()
    )


def test_a_recipe_that_adds_up_in_sixteen_bits_excuses_such_an_accumulator():
    inputs = numbers(64, 2).abs() + 1, numbers(2, seed=1)
    settings = {
        "definition": lambda x, w: x * w,
        "cotangents": [np.ones((64, 2))],
        "samples": 1,
        "dtypes": ["bfloat16"],
    }
    strict = gradcheck.check(SumInSixteenBits.apply, *inputs, **settings)
    lenient = gradcheck.check(
        SumInSixteenBits.apply, *inputs, recipe="accumulator=storage", **settings
    )
    assert strict.summary["disagree"].sum()
    assert lenient.agrees


class ProductInTF32(torch.autograd.Function):
    """Rounds the factors of its products to 11 bits."""

    @staticmethod
    def rounded(x):
        bits = x.numpy().view(np.uint32)
        return torch.from_numpy(((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view("f4"))

    @classmethod
    def forward(cls, ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @classmethod
    def backward(cls, ctx, g):
        x, w, g = map(cls.rounded, (*ctx.saved_tensors, g))
        return g @ w.mT, x.mT @ g


@pytest.mark.parametrize("bars", ["ball", "stochastic"])
def test_tf32_is_honest_if_the_recipe_says_so(bars):
    inputs = numbers(16, 8).float() * 1.1, numbers(8, 4, seed=1).float() * 1.1
    settings = {"definition": lambda x, w: x @ w, "samples": 3, "bars": bars}
    assert not gradcheck.check(ProductInTF32.apply, *inputs, **settings).agrees
    assert gradcheck.check(ProductInTF32.apply, *inputs, recipe={"tf32": "yes"}, **settings).agrees


def test_pairwise_sums_are_charged_by_their_depth():
    rounding = Request(recipe="order=pairwise").rounding("float32")
    assert rounding.additions(1024) == 10
    assert rounding.additions(1025) == 11
    assert Request().rounding("float32").additions(1024) == 1023
    assert Request().rounding("float32").additions(1) == rounding.additions(1) == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("tf=yes", "there is no 'tf'; did you mean 'tf32'"),
        ("tf32=maybe", "tf32 is no or yes, not 'maybe'"),
        ({"order": "forward"}, "order is any or pairwise, not 'forward'"),
        ("accumulator", "accumulator is float32 or storage, not ''"),
        (7, "expected text such as 'tf32=yes', got 7"),
    ],
)
def test_a_wrong_recipe_is_refused(given, told):
    with pytest.raises(RequestError, match=told) as error:
        Request(recipe=given)
    assert error.value.field == "recipe"


def test_casts_are_read_off_the_record():
    def mixed(x, w):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return torch.sigmoid((x @ w).float())

    report = gradcheck.check(mixed, numbers(4, 4).float(), numbers(4, 4, seed=1).float(), samples=2)
    casts = report.run["recipe"]["float32"]["casts"]
    assert any(cast.startswith("to bfloat16 (test_low_precision.py, line ") for cast in casts)
    assert any(cast.startswith("to float32 (") for cast in casts)


@pytest.mark.parametrize(("bars", "roundoffs"), [("ball", 3), ("stochastic", 12)])
def test_what_is_kept_in_float32_is_rounded_when_it_is_returned(bars, roundoffs):
    dtype, model = np.dtype(ml_dtypes.bfloat16), load_model("gelu")
    values = draw_model(model, 0, 0, 20, dtype=dtype)
    rounding = Request(recipe="intermediates=float32").rounding(dtype)
    reference = Passes(model, values, rounding, bars=bars).gradient("W", normal_range(dtype), 20)
    rounded = reference.value.astype(dtype).astype(np.float64)
    told = np.isfinite(reference.bound)
    assert told.mean() > 0.9
    assert (np.abs(rounded - reference.value) <= reference.bound)[told].all()
    once = reference.bound / np.abs(reference.value) < roundoffs * Rounding(dtype).unit_roundoff
    assert once.mean() > 0.2  # a ball is that wide, a stochastic bar t times the root mean square
