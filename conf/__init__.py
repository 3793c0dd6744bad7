"""Hydra configurations: one per verb, and their groups."""
