"""The file that `gradcheck new` writes: a model that is right, to be changed into one's own."""

from __future__ import annotations

from pathlib import Path

from gradcheck.errors import FULL, RequestError, UnfinishedError, printable, quoted

STARTING_FILE = '''\
"""A dense layer with tanh under least squares. Put your own model in its place."""

from gradcheck import Model

# Every function is written for one sample, in plain array code. `xp` holds the functions of
# whatever arrays come in: NumPy's when your passes run, PyTorch's or JAX's when they differentiate
# `loss`. `v` holds the inputs and parameters that are declared below, under their names.


def loss(xp, v):
    """The definition: one number. Write it as plainly as you can, not as you compute it."""
    return xp.sum((xp.tanh(v.W @ v.x + v.b) - v.y) ** 2)


def forward(xp, v, t):
    """The same, step by step: every quantity that `backward` needs, `t.loss` last."""
    t.z = v.W @ v.x + v.b
    t.h = xp.tanh(t.z)
    t.loss = xp.sum((t.h - v.y) ** 2)


def backward(xp, v, t, d):
    """What is to be judged. `d.q` is ∂loss/∂q, an array of the shape of q."""
    # First of the quantities in `forward`, in reverse order:
    d.h = 2 * (t.h - v.y)
    d.z = (1 - t.h**2) * d.h
    # Then of every parameter:
    d.W = xp.outer(d.z, v.x)
    d.b = d.z


MODEL = Model(
    name={name},
    # Shapes; () is a scalar. Inputs are given, parameters get a gradient. Parameters may be
    # nested, {{"layers": [{{"W": (3, 4)}}, {{"W": (2, 3)}}]}}, and are then v.layers[0]["W"].
    inputs={{"x": (4,), "y": (3,)}},
    parameters={{"W": (3, 4), "b": (3,)}},
    loss=loss,
    forward=forward,
    backward=backward,
    # Samples are normally distributed, unless you import `sampling` from gradcheck and declare
    # sampling={{"x": sampling.uniform(-1, 1), "y": sampling.positive()}},
    # If your functions take whole batches, with a leading sample axis and losses of shape (n,):
    # batched=True,
)
'''


def write_starting_file(path: Path, force: bool = False) -> str:
    """Write a model that runs as it is; return what to do next.

    Raises
    ------
    RequestError
        If the path is no name for a Python file, its folder is missing or cannot be written, or
        it exists and is not to be overwritten by `force`.
    """
    from gradcheck.reports.files import write_files

    if path.suffix != ".py":
        raise RequestError("file", f"expected a name that ends in .py, got {str(path)!r}")
    try:
        if not path.parent.is_dir():
            raise RequestError("file", f"there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise RequestError("file", f"{path} is a folder; name a file")
        if (path.exists() or path.is_symlink()) and not force:
            raise RequestError("file", f"{path} exists; name another, or overwrite it with --force")
    except OSError as error:
        raise RequestError("file", f"{path} cannot be written ({error.strerror})") from error
    name = path.stem if path.stem.replace("-", "_").isidentifier() else "mine"
    try:
        write_files({path: STARTING_FILE.format(name=f'"{name}"')})
    except OSError as error:
        if error.errno in FULL:
            raise UnfinishedError(f"{path} cannot be written ({error.strerror})") from error
        raise RequestError("file", f"{path} cannot be written ({error.strerror})") from error
    file = quoted(str(path))
    return printable(
        f"Written: {path}\n"
        f"  judge it:      gradcheck sweep {file}\n"
        f"  look into it:  gradcheck trace {file} --sample 0\n"
        f"  in a test:     def test_{name.replace('-', '_').lower()}(gradcheck): "
        f'gradcheck("{path.as_posix()}")'
    )
