"""A specimen: `chain` with a slip found in a worked notebook, where ∂ℓ/∂β1 was given as ∂ℓ/∂f2.

At the notebook's point it yields −1.683 where the derivative is −17.060.
"""

from dataclasses import replace
from typing import Any

from gradcheck.examples import chain


def backward(xp: Any, v: Any, t: Any, d: Any) -> None:
    """Run the backward pass of `chain`, but for one line."""
    chain.backward(xp, v, t, d)
    d.beta1 = d.f2


MODEL = replace(chain.MODEL, name="chain-misprint", backward=backward)
