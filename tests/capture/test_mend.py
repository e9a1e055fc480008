import importlib.util
from itertools import count
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradcheck.capture.mend import find_mend  # noqa: E402
from gradcheck.capture.program import begin, proceed  # noqa: E402
from gradcheck.capture.torch_recorder import Recording, finish, recorded  # noqa: E402

SOURCE = (Path(__file__).parent / "backwards.py").read_text()
SHAPES = {
    "Gate": {"x": (3, 4), "y": (3, 4)},
    "LayerNorm": {"x": (3, 5), "w": (5,), "b": (5,)},
    "CrossEntropy": {"x": (3, 4), "target": (3, 4)},
    "LinearTanh": {"x": (3, 4), "w": (4, 2), "b": (2,)},
    "Gelu": {"x": (7,)},
    "Huber": {"x": (9,), "y": (9,)},
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
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name), number


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
    """Try a change on samples that were not searched."""
    fresh = [sample(function, seed) for seed in range(100, 105)]

    def prove(edit):
        for program, leaves, truth in fresh:
            changed = edit.applied(program)
            values = begin(changed, leaves)
            proceed(changed.steps, values)
            for name, true in truth.items():
                found = values[changed.gradients[name]]
                if not np.allclose(found, true, rtol=1e-11, atol=1e-12):
                    return False
        return True

    return prove


def suspects_of(function, prove=None, seconds=10.0):
    samples = [sample(function, seed) for seed in range(SAMPLES)]
    return find_mend(*zip(*samples, strict=True), prove or prover(function), seconds)


FAULTS = [
    ("Gate", "slope = s * (1 - s)", "slope = s * (1 + s)"),
    ("Gate", "slope = s * (1 - s)", "slope = s"),
    ("Gate", "(s + x * slope)", "(s - x * slope)"),
    ("Gate", "dx = g * y * (s", "dx = g * (s"),
    ("Gate", "dy = g * (x * s)", "dy = g * (y * s)"),
    ("Gate", "dy = g * (x * s)", "dy = g * s"),
    ("Gate", "(s + x * slope)", "(s + slope)"),
    ("Gate", "(s + x * slope)", "(s)"),
    ("LayerNorm", "dh - mean - h * along", "dh + mean - h * along"),
    ("LayerNorm", "dh - mean - h * along", "dh - h * along"),
    ("LayerNorm", "dh - mean - h * along", "dh - mean"),
    ("LayerNorm", "dx = rstd * (", "dx = ("),
    ("LayerNorm", "(dh * h).mean(", "(dh * h).sum("),
    ("LayerNorm", "(dh * h).mean(", "(g * h).mean("),
    ("LayerNorm", "dw = (g * h).sum(0)", "dw = (g * h).mean(0)"),
    ("LayerNorm", "dw = (g * h).sum(0)", "dw = (g * dh).sum(0)"),
    ("CrossEntropy", " / len(p)", ""),
    ("CrossEntropy", "p - target", "p + target"),
    ("CrossEntropy", "p - target", "target - p"),
    ("CrossEntropy", "p = e / total", "p = e * total"),
    ("CrossEntropy", "(p - target)", "(p * p - target)"),
    ("LinearTanh", "(1 - t * t)", "(1 - t)"),
    ("LinearTanh", "(1 - t * t)", "(1 + t * t)"),
    ("LinearTanh", "dz = g * (1 - t * t)", "dz = g"),
    ("LinearTanh", "db = dz.sum(0)", "db = g.sum(0)"),
    ("LinearTanh", "db = dz.sum(0)", "db = dz.mean(0)"),
    ("LinearTanh", "dx = dz @ w.t()", "dx = g @ w.t()"),
    ("LinearTanh", "dw = x.t() @ dz", "dw = -(x.t() @ dz)"),
    ("Gelu", "x**3)", "x**2)"),
    ("Gelu", "1 + 3 * 0.044715 * x**2", "1 + 2 * 0.044715 * x**2"),
    ("Gelu", "3 * 0.044715", "3 * 0.044716"),
    ("Gelu", "3 * 0.044715 * x**2", "3 * 0.044715 * x**3"),
    ("Gelu", "dx += 0.5 * x", "dx -= 0.5 * x"),
    ("Gelu", "dx = 0.5 * (1 + t)", "dx = 0.5 * (1 - t)"),
    ("Huber", "< 1.5", "> 1.5"),
    ("Huber", "r, 1.5 * torch.sign(r)", "1.5 * torch.sign(r), r"),
    ("Huber", "1.5 * torch.sign(r)", "1.5 * torch.tanh(r)"),
    ("Huber", "-g * dr", "g * dr"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), FAULTS)
def test_a_single_fault_is_told(tmp_path, name, right, wrong):
    function, line = planted(tmp_path, name, (right, wrong))
    first, *_ = suspects_of(function)
    print(first.explanation)
    assert first.proved
    assert first.line.number == line
