"""What the stages share: the universe, the models and the run directory."""

__version__ = "0.1.0"
