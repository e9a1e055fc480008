"""All subjects of the study, of both frameworks."""

from __future__ import annotations

from studies.functions import corpus, corpus_jax

FRAMEWORKS = ("torch", "jax")
Subject = corpus.Subject | corpus_jax.JaxSubject
SUBJECTS: dict[str, Subject] = {**corpus.SUBJECTS, **corpus_jax.SUBJECTS}
"""PyTorch's by the function's name, JAX's by that behind `jax.`."""
