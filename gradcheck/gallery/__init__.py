"""Backward passes that people write: each file a model, its derivation and its source."""
