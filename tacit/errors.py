"""Errors a user can mend. The door of each verb prints their message as one line."""


class TacitError(Exception):
    """Something the user can mend; the message names the remedy."""


class ConfigError(TacitError, ValueError):
    """A value in the configuration is wrong."""


class UniverseError(TacitError, ValueError):
    """A universe file is incomplete or contradicts itself."""


class CorpusError(TacitError, ValueError):
    """A corpus folder is missing a part or holds a broken record."""


class ModelError(TacitError, ValueError):
    """A model name, its weights or an adapter cannot be used."""


class RunDirError(TacitError, RuntimeError):
    """A run directory belongs to another configuration or cannot be written."""
