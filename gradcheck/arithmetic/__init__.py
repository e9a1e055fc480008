"""The numbers that an engine runs on: balls, which carry their rounding error, and Arb's reals."""
