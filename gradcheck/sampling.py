"""How a model declares what its inputs and parameters are drawn from: `sampling.positive()`."""

from gradcheck.model.domains import (
    Domain,
    integers,
    near,
    normal,
    one_hot,
    positive,
    scaled,
    uniform,
    unit_norm,
)

__all__ = [
    "Domain",
    "integers",
    "near",
    "normal",
    "one_hot",
    "positive",
    "scaled",
    "uniform",
    "unit_norm",
]
