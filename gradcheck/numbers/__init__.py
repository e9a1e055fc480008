"""What unchanged NumPy code runs on: balls, stochastic floats, Arb's reals, all samples at once."""
