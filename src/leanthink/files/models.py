"""What transformers reads of a model's folder: no program in it is run, and whatever is wrong with it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from leanthink.core.errors import ConfigError, DependencyError


def tokenizer_of(model: str, place: str, *, trust_remote_code: bool = False, local_files_only: bool = False) -> Any:
    """A model's tokenizer.

    Args:
        model: a folder or a Hub name.
        place: what named it, for errors.
        trust_remote_code: whether Python files of the model may be run, which its user alone can say.
        local_files_only: whether nothing is fetched.

    Raises:
        ConfigError: there is none that can be read; or it is a program of the model's, and not trusted.
        DependencyError: transformers is not installed.
    """
    transformers = _transformers(place)
    with reading(place, "tokenizer", "give a folder that holds tokenizer.json, or the name of a model on the Hub"):
        return transformers.AutoTokenizer.from_pretrained(
            model, trust_remote_code=trust_remote_code, local_files_only=local_files_only
        )


def config_of(model: str, place: str, *, trust_remote_code: bool = False, local_files_only: bool = False) -> Any:
    """A model's configuration; arguments and errors are those of `tokenizer_of`."""
    transformers = _transformers(place)
    with reading(place, "configuration", "give a folder that holds config.json, or the name of a model on the Hub"):
        return transformers.AutoConfig.from_pretrained(
            model, trust_remote_code=trust_remote_code, local_files_only=local_files_only
        )


@contextmanager
def reading(place: str, what: str, cure: str) -> Iterator[None]:
    """While files of a model's folder are read, or what was made of them is used.

    Raises:
        ConfigError: naming the place and the error, whatever it was.
    """
    try:
        yield
    except Exception as error:  # transformers checks little of what it reads, so a damaged file raises anything
        told = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{place}: no {what} there that can be read ({type(error).__name__}: {told}); {cure}"
        ) from error


def _transformers(place: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise DependencyError(
            f"{place} needs transformers, which is not installed; run `pip install transformers`"
        ) from error
    return transformers
