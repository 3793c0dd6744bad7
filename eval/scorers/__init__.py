"""Scorers: pure functions from an answer to a label, and their Inspect wrappers."""
