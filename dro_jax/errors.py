"""Errors written for the person who launched the run.

Each message is one paragraph: what was wrong, where (file, record, gin name), and
what to do. The command line prints the message alone; library callers can catch
:class:`UserError`.
"""


class UserError(ValueError):
    """Something the user gave us cannot be used."""


class ConfigError(UserError):
    """A setting is unknown, missing, unused or inconsistent with another."""


class DataError(UserError):
    """A record, a field or a vocabulary cannot be used."""


class CheckpointError(UserError):
    """A checkpoint is missing, unreadable or made for another model."""


class TrainingError(UserError):
    """Training cannot go on: a loss is not finite, or policy and reference differ."""


class ServerError(UserError):
    """A server that was asked over HTTP did not answer as it should."""


class StorageError(UserError):
    """The storage of a sweep's trials cannot be reached or read."""


class Pruned(Exception):
    """A run ends early, as others do better; its text says than which."""


class PeerError(RuntimeError):
    """Another process of the run failed, and says why; nobody's setting is wrong."""
