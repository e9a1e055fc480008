"""The first wrong line, and what it should say."""
