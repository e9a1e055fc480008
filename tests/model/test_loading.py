"""Models by name and from files."""

import linecache
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gradcheck import Model, RequestError, load_model
from gradcheck.examples.chain import MODEL as CHAIN
from gradcheck.model.loading import BUILT_IN

ONE = "from gradcheck.examples.chain import MODEL\n"
TWO = f"""{ONE}from dataclasses import replace
OTHER = replace(MODEL, name="other")
annotations = 1
"""


@pytest.fixture(autouse=True)
def modules_are_as_before():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(text, name="own_model.py"):
        file = tmp_path / name
        file.write_text(text)
        return str(file)

    return write


def at_example(model, leaf):
    """Look up a leaf by its path."""
    branch = model.example
    for key in leaf.split("."):
        branch = branch[int(key) if key.isdigit() else key]
    return branch


def refused(request, options=None, argument="model"):
    with pytest.raises(RequestError) as refusal:
        load_model(request, options)
    message = str(refusal.value)
    assert message.startswith(f"{argument}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_model_goes_by_its_name(name):
    model = load_model(name)
    assert isinstance(model, Model)
    assert model.name == name


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_models_example_and_closed_forms_are_of_its_leaves(name):
    model = load_model(name)
    for leaf, shape in model.leaves.items():
        if model.example:
            assert np.shape(at_example(model, leaf)) == shape
    assert {name.partition(".")[0] for name in model.leaves} >= set(model.example)
    assert set(model.closed_forms) <= set(model.parameters)


def test_a_file_with_one_model_needs_no_name(write):
    assert load_model(write(ONE)) is CHAIN


@pytest.mark.parametrize(("name", "expected"), [("MODEL", "chain"), ("OTHER", "other")])
def test_one_of_several_models_is_named_after_a_colon(write, name, expected):
    assert load_model(f"{write(TWO)}:{name}").name == expected


def test_a_model_in_a_folder_with_a_colon_is_found(write, tmp_path):
    (tmp_path / "a:b").mkdir()
    assert load_model(write(ONE, "a:b/own_model.py")) is CHAIN


def test_a_file_may_define_dataclasses(write):
    text = f"from __future__ import annotations\nfrom dataclasses import dataclass\n{ONE}"
    assert load_model(write(text + "@dataclass\nclass Size:\n    width: int = 3\n")) is CHAIN


def test_a_file_is_read_anew_each_time(write):
    assert load_model(write(TWO.replace("MODEL, name", "MODEL, inputs={}, name") + "del MODEL\n"))
    renamed = TWO.replace('"other"', '"another"') + "del MODEL\n"
    assert load_model(write(renamed)).name == "another"


def test_a_mistyped_name_gets_the_nearest(write):
    assert "did you mean 'chain'?" in refused("chian")


def test_an_unlike_name_gets_all():
    assert all(name in refused("zzz") for name in BUILT_IN)


def test_a_file_that_is_not_there_is_named():
    assert refused("nowhere/own_model.py") == "model: there is no file nowhere/own_model.py"


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "folder.py").mkdir()
    assert "there is no file" in refused(str(tmp_path / "folder.py"))


def test_a_file_without_a_model_is_refused(write):
    assert "holds no gradcheck.Model" in refused(write("MODEL = 'chain'\n"))


def test_a_file_with_several_models_asks_for_one(write):
    file = write(TWO)
    message = refused(file)
    assert "MODEL, OTHER" in message
    assert f"{file}:NAME" in message


@pytest.mark.parametrize("name", ["NONE", "annotations", ""])
def test_a_name_that_is_no_model_is_refused(write, name):
    assert f"no gradcheck.Model or Case named {name!r}" in refused(f"{write(TWO)}:{name}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{ONE}\nx = 1 / 0\n", "line 3: ZeroDivisionError: division by zero"),
        (f"{ONE}import no_such_module\n", "line 2: ModuleNotFoundError: No module named"),
        (f"{ONE}def f(:\n", "line 2: SyntaxError: "),
        (f"{ONE}    x = 1\n", "line 2: IndentationError: "),
        (
            f"{ONE}\n\nimport statistics\nstatistics.mean([])\n",
            "line 5: StatisticsError: mean requires at least one data point",
        ),
        ("def f():\n    raise KeyError('k')\n\n\nf()\n", "line 2: KeyError: 'k'"),
    ],
    ids=["division", "import", "syntax", "indentation", "in-a-library", "in-a-function"],
)
def test_a_file_that_fails_is_blamed_at_its_line(write, text, complaint):
    file = write(text)
    assert re.search(re.escape(complaint), refused(file))
    assert file in refused(file)


def test_a_file_that_failed_can_be_mended(write):
    refused(write("import no_such_module\n"))
    assert load_model(write(ONE)) is CHAIN


def test_a_file_named_like_a_library_does_not_take_its_place(write):
    assert "wave" not in sys.modules
    load_model(write(ONE, "wave.py"))
    import wave

    assert hasattr(wave, "open")


# --- models that are made to size

MADE = f"""{ONE}from dataclasses import replace

def build(width=2):
    return replace(MODEL, name=f"made-{{width}}")

def number(width=2):
    return width

def picky(width=2):
    raise ValueError("no such width")
"""


@pytest.mark.parametrize(
    ("options", "name", "parameters"),
    [
        (None, "network", 187),
        ({}, "network", 187),
        ({"depth": 5, "width": 6}, "network", 187),
        ({"depth": 1}, "network-1x6", 19),
        ({"depth": 3, "width": 4}, "network-3x4", 53),
        ({"depth": 20, "width": 64}, "network-20x64", 79_233),
    ],
)
def test_the_network_is_made_to_size(options, name, parameters):
    model = load_model("network", options)
    assert model.name == name
    assert sum(math.prod(shape) for shape in model.parameters.values()) == parameters
    for leaf, shape in model.leaves.items():
        assert np.shape(at_example(model, leaf)) == shape


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"widht": 3}, "network has no 'widht'; did you mean 'width'?"),
        ({"depth": 0}, "expected depth to be at least 1, got 0"),
        ({"width": -1}, "expected width to be at least 1, got -1"),
    ],
)
def test_a_wrong_option_is_refused(options, complaint):
    assert complaint in refused("network", options, "option")


def test_a_model_of_fixed_size_has_no_options(write):
    for request in ("chain", write(ONE), f"{write(TWO)}:OTHER"):
        message = refused(request, {"width": 3}, "option")
        assert message.endswith("has no options; leave out width")


def test_a_function_of_a_file_makes_a_model_to_size(write):
    file = write(MADE)
    assert load_model(f"{file}:build").name == "made-2"
    assert load_model(f"{file}:build", {"width": 7}).name == "made-7"
    assert "has no 'depth'" in refused(f"{file}:build", {"depth": 7}, "option")


def test_a_function_that_makes_no_model_is_refused(write):
    assert "returns int, not a gradcheck.Model" in refused(f"{write(MADE)}:number")
    assert "cannot be made: " in refused(f"{write(TWO)}:replace")


def test_a_function_that_raises_is_told_in_one_line(write):
    assert "ValueError: no such width" in refused(f"{write(MADE)}:picky")


# --- what lies beside a file

USES = """
from gradcheck.examples.chain import MODEL
from dataclasses import replace
import helper

def name():
    import late.inner
    from late import inner
    assert late.inner is inner
    return inner.NAME

MINE = replace(MODEL, name=f"{helper.NAME}-{name()}", loss=lambda xp, v: name())
del MODEL
"""


@pytest.fixture
def with_neighbours(tmp_path):
    """Write a model into a folder of its own, with what it imports beside it."""

    def write(folder, name="mine.py", helper="import other\nNAME = other.NAME\n"):
        inside = tmp_path / folder
        (inside / "late").mkdir(parents=True)
        (inside / "late" / "__init__.py").write_text("")
        (inside / "late" / "inner.py").write_text("from .deep import NAME\n")
        (inside / "late" / "deep.py").write_text(f"NAME = 'late-{folder}'\n")
        (inside / "other.py").write_text(f"NAME = '{folder}'\n")
        (inside / "helper.py").write_text(helper)
        (inside / name).write_text(USES)
        return str(inside / name)

    return write


def test_each_of_two_files_of_one_name_has_the_modules_beside_it(with_neighbours):
    path, first = list(sys.path), load_model(with_neighbours("one"))
    second = load_model(with_neighbours("two"))
    assert [first.name, second.name] == ["one-late-one", "two-late-two"]
    assert [first.loss(None, None), second.loss(None, None)] == ["late-one", "late-two"]
    assert sys.path == path
    assert not {"helper", "other", "late"} & set(sys.modules)


def test_a_helper_imports_what_lies_beside_it_from_inside_a_function_too(with_neighbours):
    lazy = "def find():\n    import other\n    return other\nNAME = find().NAME\n"
    assert load_model(with_neighbours("one", helper=lazy)).name == "one-late-one"


def test_a_neighbour_comes_before_a_module_of_the_program(with_neighbours, monkeypatch):
    monkeypatch.setitem(sys.modules, "helper", math)
    assert load_model(with_neighbours("one")).name == "one-late-one"
    assert sys.modules["helper"] is math


@pytest.mark.parametrize("library", ["wave", "numpy", "gradcheck"])
def test_a_library_comes_before_a_neighbour(library, write, tmp_path):
    for neighbour in (f"{library}.py", "results.py"):
        (tmp_path / neighbour).write_text("HERE = True\n")
    (tmp_path / "jax").mkdir()
    found = load_model(write(f"{ONE}import {library}\nassert not hasattr({library}, 'HERE')\n"))
    assert found is CHAIN


def test_an_edited_neighbour_of_the_same_size_is_read_anew(with_neighbours):
    file = with_neighbours("one", helper="NAME = 'a'\n")
    assert load_model(file).name == "a-late-one"
    Path(file).with_name("helper.py").write_text("NAME = 'b'\n")
    assert load_model(file).name == "b-late-one"


def test_an_edited_file_shows_its_new_lines(write):
    file = write(ONE)
    load_model(file)
    assert linecache.getline(file, 1) == ONE
    load_model(write("# new\n" + ONE))
    assert linecache.getline(file, 1) == "# new\n"


@pytest.mark.parametrize("where", ["", "def build():\n    "])
@pytest.mark.parametrize("end", ["sys.exit(0)", "raise BaseException('odd')", "sys.exit()"])
def test_a_file_that_would_end_the_process_is_refused(where, end, write):
    file = write(f"import sys\n{where}{end}\n")
    kind = "SystemExit" if "exit" in end else "BaseException: odd"
    assert kind in refused(f"{file}:build" if where else file)


def test_an_interruption_while_a_file_is_imported_is_one(write):
    with pytest.raises(KeyboardInterrupt):
        load_model(write("raise KeyboardInterrupt\n"))
