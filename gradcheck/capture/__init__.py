"""PyTorch and JAX functions as lists of operations, which run on every kind of number."""
