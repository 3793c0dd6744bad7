"""Inspect tasks: what a model knows, whether it complies by tier, and what else changed."""
