"""The rigorous derivative, and what it decides."""
