"""What a model's author may get wrong in declaring it is told in one line, with the mend."""

from dataclasses import replace

import numpy as np
import pytest

from gradcheck import Model, RequestError, sampling


def loss(xp, v):
    return v.w * v.x


def forward(xp, v, t):
    t.loss = v.w * v.x


def backward(xp, v, t, d):
    d.w = v.x


PRODUCT = Model("product", {"x": ()}, {"w": ()}, loss, forward, backward)


def refused(**parts):
    with pytest.raises(RequestError) as refusal:
        replace(PRODUCT, **parts)
    message = str(refusal.value)
    assert message.startswith("model: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("part", "what"),
    [("loss", "definition"), ("forward", "forward pass"), ("backward", "backward pass")],
)
@pytest.mark.parametrize("value", [None, 3])
def test_a_part_that_is_missing_is_named_with_its_signature(part, what, value):
    message = refused(**{part: value})
    assert f"product has no {what}: give {part}={part}, a function {part}(xp, v" in message


def test_parts_may_be_left_out_of_the_call_and_are_still_missed():
    with pytest.raises(RequestError, match="none has no definition"):
        Model("none", {"x": ()}, {"w": ()})


REFUSED = [
    ({"name": ""}, "'' is no name for a model"),
    ({"name": "a/b"}, "'a/b' is no name for a model"),
    ({"name": "a\nb"}, "is no name for a model"),
    ({"inputs": ["x"]}, "the inputs of product are ['x']; give a dict from names to shapes"),
    ({"parameters": None}, "the parameters of product are None; give a dict"),
    ({"parameters": {}}, "product has no parameters, so no gradients to compare"),
    ({"parameters": {"layers": []}}, "product has no parameters"),
    ({"inputs": {"w": ()}}, "w stands for two inputs or parameters of product; rename one"),
    (
        {"inputs": {"f": [(), ()]}, "parameters": {"f": [()]}},
        "f.0 stands for two inputs or parameters of product",
    ),
    # shapes
    ({"inputs": {"x": 3}}, "the shape of x in product is 3; give a tuple of positive whole"),
    ({"inputs": {"x": (0,)}}, "the shape of x in product is (0,)"),
    ({"inputs": {"x": (2, -1)}}, "the shape of x in product is (2, -1)"),
    ({"inputs": {"x": (2.0,)}}, "the shape of x.0 in product is 2.0"),
    ({"inputs": {"x": None}}, "the shape of x in product is None"),
    ({"parameters": {"w": [3]}}, "the shape of w.0 in product is 3"),
    ({"parameters": {"w": [{"W": "3"}]}}, "the shape of w.0.W in product is '3'"),
    # names
    *(
        ({"inputs": {name: ()}}, f"calls an input or parameter {name!r}, which is no identifier")
        for name in ("value", "culprit", "element", "bar", "2x", "x y", "x-y", "", "x.", ".x")
    ),
    ({"parameters": {"w": {"a b": ()}}}, "calls an input or parameter 'w.a b'"),
    # domains
    ({"sampling": {"z": sampling.positive()}}, "how to sample 'z', which is no input or parameter"),
    ({"sampling": {"w.0": sampling.positive()}}, "how to sample 'w.0'"),
    ({"sampling": {"x": (0, 1)}}, "samples x from (0, 1); give one of gradcheck.sampling, such as"),
    ({"sampling": {"x": sampling.positive}}, "give one of gradcheck.sampling"),
    (
        {"sampling": {"w": sampling.integers(0, 3)}},
        "w is a parameter of product and sampled from integers, by which nothing can be",
    ),
    (
        {"parameters": {"w": [(), ()]}, "sampling": {"w": sampling.integers(0, 3)}},
        "w is a parameter of product and sampled from integers",
    ),
]


@pytest.mark.parametrize(("parts", "complaint"), REFUSED, ids=[text for _, text in REFUSED])
def test_a_wrong_declaration_is_refused_in_one_line(parts, complaint):
    assert complaint in refused(**parts)


def test_names_of_columns_are_free_inside_a_family():
    model = replace(PRODUCT, parameters={"w": {"value": ()}})
    assert list(model.parameters) == ["w.value"]


def test_nested_shapes_are_kept_by_flat_names():
    model = replace(
        PRODUCT,
        inputs={"x": [(3,), ()]},
        parameters={"layers": [{"W": (2, 3), "b": (2,)}, {"W": (1, 2)}], "head": {"w": ()}},
    )
    assert model.inputs == {"x.0": (3,), "x.1": ()}
    assert model.parameters == {
        "layers.0.W": (2, 3), "layers.0.b": (2,), "layers.1.W": (1, 2), "head.w": (),
    }  # fmt: skip
    assert list(model.leaves) == [*model.inputs, *model.parameters]


def test_a_domain_of_a_family_holds_for_every_leaf_below():
    model = replace(
        PRODUCT,
        parameters={"layers": [{"W": (2,)}, {"W": (2,)}], "layers2": ()},
        sampling={"layers": sampling.positive(), "x": sampling.integers(0, 2)},
    )
    assert repr(model.domain("layers.1.W")) == "sampling.positive()"
    assert repr(model.domain("x")) == "sampling.integers(0, 2)"
    assert model.domain("layers2") is None


def test_of_two_domains_the_nearer_one_holds():
    model = replace(
        PRODUCT,
        parameters={"layers": [(), ()]},
        sampling={"layers": sampling.positive(), "layers.1": sampling.unit_norm()},
    )
    assert repr(model.domain("layers.1")) == "sampling.unit_norm()"


@pytest.mark.parametrize(
    "parts",
    [
        {"parameters": {"a": {"b": ()}, "a.b": (2,)}},
        {"inputs": {"f": ()}, "parameters": {"f": {"b": ()}}},  # v.f hides v.f["b"]
    ],
    ids=["the same name", "a leaf and a family"],
)
def test_one_name_for_two_things_is_refused(parts):
    message = refused(**parts)
    assert "two things are called a.b" in message or "f stands for two inputs" in message


def test_sizes_may_be_numpys():
    model = replace(PRODUCT, parameters={"w": (np.int64(3), 2)})
    assert model.parameters == {"w": (3, 2)}


@pytest.mark.parametrize("name", ["omga", "x", "w.0"])
def test_a_closed_form_for_what_is_no_parameter_is_refused(name):
    message = refused(closed_forms={name: loss})
    assert f"product gives a closed form for {name!r}, which is no parameter" in message


def test_a_closed_form_of_a_misspelt_parameter_is_told_the_nearest():
    message = refused(parameters={"omega": ()}, closed_forms={"omga": loss})
    assert message.endswith("; did you mean 'omega'?")


def test_what_the_example_has_beyond_the_model_is_ignored():
    replace(PRODUCT, example={"w": 1.0, "x": 2.0, "label": 3})
