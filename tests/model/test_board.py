"""Quantities by name, lists and dicts of them: what is written can be read, by flat names too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.model.board import Blackboard, Given, flatten

NESTED = {
    "a": 1,
    "f": [10, 11, 12],
    "layers": [{"W": 20, "b": 21}, {"W": 22, "b": 23}],
    "head": {"out": {"W": 30}, "scale": [31, 32]},
}
FLAT = {
    "a": 1,
    "f.0": 10, "f.1": 11, "f.2": 12,
    "layers.0.W": 20, "layers.0.b": 21, "layers.1.W": 22, "layers.1.b": 23,
    "head.out.W": 30, "head.scale.0": 31, "head.scale.1": 32,
}  # fmt: skip


@pytest.fixture
def board():
    return Blackboard(FLAT)


def held(board):
    return {name: board[name] for name in board}


def test_flat_names_are_paths():
    assert flatten(NESTED) == FLAT
    assert list(flatten(NESTED)) == list(FLAT)


def test_a_tuple_of_whole_numbers_is_a_leaf_and_any_other_a_branch():
    shapes = {"W": [(2, 3), ()], "pair": ((2,), (3,))}
    assert flatten(shapes) == {"W.0": (2, 3), "W.1": (), "pair.0": (2,), "pair.1": (3,)}


def test_what_is_written_whole_has_flat_names():
    board = Blackboard()
    for name, tree in NESTED.items():
        setattr(board, name, tree)
    assert held(board) == FLAT
    assert list(board) == list(FLAT)
    assert len(board) == len(FLAT)


def test_what_is_written_piece_by_piece_has_flat_names():
    board = Blackboard()
    for k in range(3):
        board.f[k] = 10 + k
    board.head["out"] = 30
    board.layers[0] = {"W": 20, "b": 21}
    board.layers[0]["b"] = 22
    assert held(board) == {
        "f.0": 10, "f.1": 11, "f.2": 12, "head.out": 30, "layers.0.W": 20, "layers.0.b": 22,
    }  # fmt: skip


def test_two_levels_can_be_written_at_once():
    board = Blackboard()
    for k, (W, b) in enumerate([(20, 21), (22, 23)]):  # noqa: N806
        board.layers[k]["W"] = W
        board.layers[k]["b"] = b
    board.head["out"]["W"] = 30
    assert held(board) == {
        "layers.0.W": 20, "layers.0.b": 21, "layers.1.W": 22, "layers.1.b": 23, "head.out.W": 30,
    }  # fmt: skip


def test_the_order_is_that_of_first_writing():
    board = Blackboard()
    board.f[1], board.a, board.f[0], board.f[1] = 1, 2, 3, 4
    assert list(board) == ["f.1", "a", "f.0"]
    assert board.f[1] == 4
    assert list(board.f) == [3, 4]


def test_nested_names_are_read_as_lists_and_dicts(board):
    assert board.a == 1
    assert board.f[0] == board["f.0"] == 10
    assert board.layers[1]["W"] == board["layers.1.W"] == 22
    assert board.head["out"]["W"] == 30
    assert board.head["scale"][1] == 32


@pytest.mark.parametrize("key", [-1, -3, slice(1, None), slice(None, -1), slice(None, None, -1)])
def test_a_list_is_indexed_as_python_does(board, key):
    assert board.f[key] == NESTED["f"][key]


def test_a_list_is_iterated_as_python_does(board):
    assert list(board.f) == NESTED["f"]
    assert len(board.f) == 3
    assert list(enumerate(board.f)) == list(enumerate(NESTED["f"]))
    pairs = zip(board.f[:-1], board.layers, strict=True)
    assert [(f, layer["W"]) for f, layer in pairs] == [(10, 20), (11, 22)]
    assert [f for f in reversed(board.f)] == NESTED["f"][::-1]


def test_a_list_of_more_than_ten_is_in_the_order_of_its_indices():
    board = Blackboard()
    board.f = list(range(25))
    assert list(board.f) == list(range(25))
    assert board.f[-1] == 24


def test_a_dict_is_iterated_as_python_does(board):
    layer = board.layers[0]
    assert list(layer) == list(layer.keys()) == ["W", "b"]
    assert layer.values() == [20, 21]
    assert layer.items() == [("W", 20), ("b", 21)]
    assert len(layer) == 2


def test_a_list_grows_by_appending():
    board = Blackboard()
    for value in (5, 6, [7, 8]):
        board.f.append(value)
    assert held(board) == {"f.0": 5, "f.1": 6, "f.2.0": 7, "f.2.1": 8}


def test_the_last_of_a_list_can_be_written_by_a_negative_index(board):
    board.f[-1] = 99
    assert board["f.2"] == 99
    assert len(board) == len(FLAT)


def test_an_item_can_be_added_to():
    board = Blackboard()
    board.f[0] = np.ones(2)
    board.f[0] += 1
    np.testing.assert_array_equal(board.f[0], [2, 2])


def test_one_board_can_be_copied_to_another(board):
    other = Blackboard()
    other.layers = board.layers
    other.single = board.head["out"]
    assert held(other) == {
        **{name: value for name, value in FLAT.items() if name.startswith("layers")},
        "single.W": 30,
    }


def test_a_name_is_no_beginning_of_a_longer_one():
    board = Blackboard({"f.0": 1, "fine.0": 2, "f2": 3})
    assert list(board.f) == [1]
    assert board.f2 == 3


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    tree=st.recursive(
        st.floats(allow_nan=False),
        lambda branch: (
            st.lists(branch, min_size=1, max_size=3)
            | st.dictionaries(st.sampled_from(["W", "b", "gain"]), branch, min_size=1, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_whatever_is_written_is_read_again(tree):
    def read(branch):
        if not hasattr(branch, "keys"):
            return branch
        keys = branch.keys()
        if isinstance(keys[0], int):
            return [read(item) for item in branch]
        return {key: read(branch[key]) for key in keys}

    board = Blackboard()
    board.q = tree
    assert read(board.q) == tree
    assert held(board) == flatten(tree, "q")


# --- what was never written

UNKNOWN = {
    "arithmetic": lambda v: v.speed + 1,
    "reflected arithmetic": lambda v: 2 * v.speed,
    "a matrix product": lambda v: np.ones((2, 2)) @ v.speed,
    "a function": lambda v: np.sin(v.speed),
    "a sum": lambda v: np.sum(v.speed),
    "an array": lambda v: np.asarray(v.speed),
    "an attribute": lambda v: v.speed.shape,
    "an item": lambda v: v.speed[0] + 1,
    "a key": lambda v: np.exp(v.speed["W"]),
    "a comparison": lambda v: v.speed > 0,
    "equality": lambda v: v.speed == 0,
    "a reflected power": lambda v: 2**v.speed,
    "a condition": lambda v: bool(v.speed),
    "a number": lambda v: float(v.speed),
}


@pytest.mark.parametrize("use", UNKNOWN)
def test_what_was_never_written_is_told_by_its_name(board, use):
    with pytest.raises(AttributeError, match=r"^speed(\.0|\.W)? was not written before$"):
        UNKNOWN[use](board)


BEYOND = {
    "arithmetic": lambda f: f[7] * 2,
    "a function": lambda f: np.sin(f[7]),
    "a comparison": lambda f: f[7] < 1,
    "an array": lambda f: np.asarray(f[7]),
}


@pytest.mark.parametrize("use", BEYOND)
def test_an_index_beyond_a_list_is_told(board, use):
    with pytest.raises(AttributeError, match=r"^f\.7 was not written before$"):
        BEYOND[use](board.f)


@pytest.mark.parametrize("use", [lambda f: f + 1, lambda f: np.exp(f), lambda f: f @ np.ones(3)])
def test_a_list_is_no_array(board, use):
    with pytest.raises(AttributeError, match="f is a list or a dict, no array"):
        use(board.f)


def test_a_key_of_a_dict_taken_for_an_attribute_gets_the_mend(board):
    with pytest.raises(AttributeError, match=r"layers\.0 is a list or a dict.*; write \['W'\]"):
        _ = board.layers[0].W


# --- the inputs and parameters: a closed board

MISSPELT = {
    "omga": "there is no input or parameter omga; did you mean 'omega'?",
    "layer": "there is no input or parameter layer; ",
    "q": "there is no input or parameter q; ",
}


@pytest.fixture
def values():
    return Given({"x": 1.0, "omega": 2.0, "layers.0.W": 3.0, "layers.1.W": 4.0})


def test_inputs_and_parameters_are_read_as_from_any_board(values):
    assert (values.x, values.omega, values["layers.1.W"]) == (1.0, 2.0, 4.0)
    assert [layer["W"] for layer in values.layers] == [3.0, 4.0]
    assert list(values) == ["x", "omega", "layers.0.W", "layers.1.W"]


@pytest.mark.parametrize("name", MISSPELT)
def test_an_unknown_input_is_told_at_once_with_the_nearest(values, name):
    with pytest.raises(AttributeError) as refusal:
        getattr(values, name)
    assert str(refusal.value).startswith(MISSPELT[name])


def test_what_there_is_not_inside_a_family_is_told(values):
    with pytest.raises(AttributeError, match=r"no input or parameter layers\.2"):
        values.layers[2]
    with pytest.raises(AttributeError, match=r"no input or parameter layers\.0\.b"):
        values.layers[0]["b"]


def test_inputs_and_parameters_cannot_be_assigned_to(values):
    before = held(values)
    for name in ("x", "new"):
        with pytest.raises(AttributeError, match=f"^{name} is an input or a parameter, or none"):
            setattr(values, name, 5.0)
    with pytest.raises(AttributeError, match="write to t or to d"):
        values.layers[0]["W"] = 5.0
    assert held(values) == before
