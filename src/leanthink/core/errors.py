"""The library's errors: each names the place, what was given, what is allowed, and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LeanthinkError(Exception):
    """Base of every error the library raises on purpose; the command line prints it as one paragraph."""


class ConfigError(LeanthinkError, ValueError):
    """A recipe, an argument or a command is wrong."""


class BatchError(LeanthinkError, ValueError):
    """A column of a rollout batch is missing, malformed or out of range."""


class ChangedBatchError(BatchError):
    """A reward wrote into the batch that all parts of it share."""


class MissingColumnError(BatchError, KeyError):
    """A reward needs a column the batch does not have."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class DataError(LeanthinkError, ValueError):
    """An input file cannot be read as what it should be."""


class StateError(LeanthinkError, RuntimeError):
    """Saved state does not belong to the recipe that loads it."""


class TrustError(ConfigError):
    """A file names code that nobody has said to trust."""


class WriteError(LeanthinkError, OSError):
    """A file cannot be written; what was there before is still there."""


class DependencyError(LeanthinkError, ImportError):
    """A package, or a compatible version of it, is missing."""


class AdviceWarning(UserWarning):
    """Parts of a recipe work against each other; the command line prints it as one paragraph."""


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """The end of an error message: the nearest allowed name, or all of them.

    >>> did_you_mean("alhpa", ["alpha", "std_floor"])
    "did you mean 'alpha'?"
    >>> did_you_mean("zzz", ["b", "a"])
    'allowed: a, b'
    """
    names = sorted(set(allowed))
    close = get_close_matches(str(given), names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(names) or 'nothing'}"
