"""Names of prompts and responses that are the same in every run, process and order of the data."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from leanthink.core.batch import PROMPT_KEY, TEMPLATE_ARGUMENTS

RESPONSE_KEY: Final = "response_key"
"""The fact that names a response by what it says: the same in every run that samples it."""


def response_key(prompt: str, tokens: Sequence[int]) -> str:
    """A name for a response: its prompt's key, and a hash of its tokens.

    >>> response_key("4d0181ad2081b96f", [5, 7, 2])
    '4d0181ad2081b96f-7b9d50a7b897e432'
    """
    return f"{prompt}-{hashlib.blake2b(array('q', tokens).tobytes(), digest_size=8).hexdigest()}"


def own_arguments(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a row brings for the chat template; a null, as of another file's rows, is none.

    >>> own_arguments({"chat_template_kwargs": {"reasoning_effort": "low", "documents": None}})
    {'reasoning_effort': 'low'}
    """
    given = columns.get(TEMPLATE_ARGUMENTS) or {}
    return {name: value for name, value in given.items() if value is not None}


def key_of(messages: Iterable[Mapping[str, Any]], columns: Mapping[str, Any]) -> str:
    """The name that the data give a prompt, or else one by its messages and its arguments for the chat template.

    >>> key_of([], {"prompt_key": "sum"}), key_of([{"role": "user", "content": "1 + 1 ="}], {})
    ('sum', '4d0181ad2081b96f')
    """
    if named := columns.get(PROMPT_KEY):
        return str(named)
    arguments = own_arguments(columns)
    return prompt_key([*messages, arguments] if arguments else messages)


def prompt_key(messages: Iterable[Mapping[str, Any]]) -> str:
    """A name for a prompt that is the same in every epoch, process and order of the data: a hash of its messages.

    What is no text, as an image, does not tell prompts apart; give ``extra_info.prompt_key`` then.

    >>> prompt_key([{"role": "user", "content": "1 + 1 ="}])
    '4d0181ad2081b96f'
    """
    text = json.dumps(
        [dict(message) for message in messages], sort_keys=True, default=lambda value: type(value).__name__
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]
