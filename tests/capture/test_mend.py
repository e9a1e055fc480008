import importlib.util
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradcheck.capture.mend import find_mend  # noqa: E402
from gradcheck.capture.program import begin, proceed  # noqa: E402
from gradcheck.capture.torch_recorder import Recording, finish, recorded  # noqa: E402
from gradcheck.numbers.arb import Reals  # noqa: E402
from gradcheck.truth.enclosures import precision  # noqa: E402


def loaded(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FILE = Path(__file__).parent / "backwards.py"
SOURCE, backwards = FILE.read_text(), loaded(FILE)
SHAPES = {
    "Gate": {"x": (3, 4), "y": (3, 4)},
    "LayerNorm": {"x": (3, 5), "w": (5,), "b": (5,)},
    "CrossEntropy": {"x": (3, 4), "target": (3, 4)},
    "LinearTanh": {"x": (3, 4), "w": (4, 2), "b": (2,)},
    "Gelu": {"x": (7,)},
    "Huber": {"x": (9,), "y": (9,)},
    "Taps": {"x": (6,), "w": (3,)},
}
SAMPLES = 3
numbered = count()


def planted(tmp_path, name, *faults):
    """Write the file with faults in it; return the function and the first faulty line."""
    begin, end = SOURCE.index(f"class {name}("), SOURCE.find("\n\n\nclass", SOURCE.index(name))
    text, number = SOURCE, 0
    for right, wrong in faults:
        place = text.index(right, text.index("def backward", begin))
        assert end < 0 or place < end
        number = number or text.count("\n", 0, place) + 1
        text = text[:place] + wrong + text[place + len(right) :]
    file = tmp_path / f"planted{next(numbered)}.py"
    file.write_text(text)
    return getattr(loaded(file), name), number


class Context:
    """What a forward pass needs to run as plain operations."""

    def save_for_backward(self, *_):
        pass


def sample(function, seed):
    """Record a function on random inputs; return the program, its leaves and the true gradients."""
    rng = np.random.default_rng(seed)
    arrays = {key: rng.standard_normal(shape) for key, shape in SHAPES[function.__name__].items()}
    tensors = {key: torch.tensor(array, requires_grad=True) for key, array in arrays.items()}
    wanted = {key: one for key, one in tensors.items() if key != "target"}
    recording = Recording(tensors)
    with recorded(recording):
        output = function.apply(*tensors.values())
    cotangent = torch.tensor(rng.standard_normal(tuple(output.shape)))
    finish(recording, [output], [cotangent], wanted)
    plain = function.forward(Context(), *tensors.values())
    truth = torch.autograd.grad(plain, list(wanted.values()), cotangent)
    leaves = arrays | {"cotangent.0": cotangent.numpy()}
    return recording.program, leaves, dict(zip(wanted, (one.numpy() for one in truth), strict=True))


def prover(function):
    """Prove a change in Arb: on samples that were not searched, it is the honest pass."""
    honest = getattr(backwards, function.__name__)
    fresh = [(*sample(function, seed)[:2], sample(honest, seed)[0]) for seed in (100, 101)]

    def prove(edit):
        with precision(256):
            return all(
                agree(edit.applied(program), right, leaves) for program, leaves, right in fresh
            )

    return prove


def agree(one, other, leaves):
    """Tell whether two programs yield the same gradients, to 60 digits."""
    found = []
    for program in (one, other):
        values = begin(program, {name: Reals.from_value(leaf) for name, leaf in leaves.items()})
        proceed(program.steps, values)
        found.append({name: values[number] for name, number in program.gradients.items()})
    return all(
        found[0][name].shape == found[1][name].shape
        and all(
            abs(getattr(real, "constant", real)) < 1e-60
            for real in (found[0][name] - found[1][name]).reals.flat
        )
        for name in found[1]
    )


def suspects_of(function, prove=None, seconds=10.0):
    samples = [sample(function, seed) for seed in range(SAMPLES)]
    return find_mend(*zip(*samples, strict=True), prove or prover(function), seconds)


FAULTS = [
    ("Gate", "slope = s * (1 - s)", "slope = s * (1 + s)", "slope = s * (1 - s)"),
    ("Gate", "dy = g * (x * s)", "dy = g * (y * s)", "dy = g * (x * s)"),
    ("Gate", "(s + x * slope)", "(s)", "dx = g * y * (s + slope * x)"),
    ("LayerNorm", " - h * along", "", "dx = rstd * (dh - mean - along * h)"),
    ("LayerNorm", "(dh * h).mean(-1", "(dh * h).mean(0", "along = (dh * h).mean(1, keepdim=True)"),
    ("LayerNorm", "dx, dw, db", "dx, db, db", "`dw`"),
    ("CrossEntropy", "p - target", "target - p", "dx = g * (p - target) / len(p)"),
    ("LinearTanh", "(1 - t * t)", "(1 - t)", "dz = g * (1 - t * t)"),
    ("LinearTanh", "db = dz.sum(0)", "db = g.sum(0)", "db = dz.sum(0)"),
    ("LinearTanh", "dw = x.t() @ dz", "dw = -(x.t() @ dz)", "dw = x.t() @ dz"),
    ("Gelu", "dx += 0.5 * x", "dx -= 0.5 * x", "dx += 0.5 * x * (1 - t * t) * slope"),
    ("Huber", "r, 1.5 * torch.sign(r)", "1.5 * torch.sign(r), r", "small, r, 1.5 * torch.sign(r)"),
    ("Taps", "w[i] * g", "w[i] + g", "dx[i : i + len(g)] += w[i] * g"),
]


@pytest.mark.parametrize(("name", "right", "wrong", "mend"), FAULTS)
def test_a_single_fault_is_told(tmp_path, name, right, wrong, mend):
    function, line = planted(tmp_path, name, (right, wrong))
    (only,) = suspects_of(function)
    assert only.proved
    assert only.line.number == line
    assert mend in only.explanation.partition("is right")[2]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [],
)
def test_what_is_told_may_be_another_mend_but_a_proved_one(tmp_path, name, right, wrong):
    function, line = planted(tmp_path, name, (right, wrong))
    (only,) = suspects_of(function)
    assert only.proved
    assert abs(only.line.number - line) == 1


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("Gate", [("slope = s * (1 - s)", "slope = s + x"), ("dy = g * (x * s)", "dy = g - x")]),
        ("LinearTanh", [("dx = dz @ w.t()", "dx = -g @ w.t()"), ("dz.sum(0)", "dz.mean(0)")]),
        ("LayerNorm", [("- mean - h * along", "+ mean"), ("(g * h).sum(0)", "(g + h).sum(0)")]),
    ],
)
def test_of_two_faults_nothing_is_claimed(tmp_path, name, faults):
    function, _ = planted(tmp_path, name, *faults)
    proofs = []
    suspects = suspects_of(function, lambda edit: proofs.append(edit) or True)
    assert not proofs
    assert suspects
    for suspect in suspects:
        assert not suspect.proved
        assert suspect.explanation.endswith("nothing was proved")


def test_a_gradient_that_is_missing_is_told_with_the_line_that_returns(tmp_path):
    function, line = planted(tmp_path, "LinearTanh", ("return dx, dw, db", "return dx, None, db"))
    (only,) = suspects_of(function)
    assert only.line.number == line
    assert "returns no gradient of w" in only.explanation


def test_what_cannot_be_proved_is_not_claimed(tmp_path):
    function, line = planted(tmp_path, "LinearTanh", ("(1 - t * t)", "(1 + t * t)"))
    first, *others = suspects_of(function, lambda edit: False)
    assert first.line.number == line
    assert not any(one.proved for one in (first, *others))


def test_where_every_gradient_is_right_nobody_is_suspected():
    for name in SHAPES:
        assert suspects_of(getattr(backwards, name), lambda edit: True) == ()


def test_a_small_fault_is_no_rounding_error(tmp_path):
    function, line = planted(tmp_path, "LinearTanh", ("(1 - t * t)", "(1 + 1e-9 - t * t)"))
    (only,) = suspects_of(function)
    assert only.proved
    assert only.line.number == line


def test_the_search_ends_in_time(tmp_path, monkeypatch):
    function, _ = planted(tmp_path, "Gate", ("(s + x * slope)", "torch.cos(x * s * y)"))
    looked = []

    def clock():
        looked.append(None)
        return float(len(looked))

    monkeypatch.setattr(time, "process_time", clock)
    assert not suspects_of(function, seconds=50.0)[0].proved
    assert 50 < len(looked) < 200
