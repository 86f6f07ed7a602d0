"""Names of prompts and responses that are the same in every run, process and order of the data."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

RESPONSE_KEY: Final = "response_key"
"""The fact that names a response by what it says: the same in every run that samples it."""


def response_key(prompt: str, tokens: Sequence[int]) -> str:
    """A name for a response: its prompt's key, and a hash of its tokens.

    >>> response_key("4d0181ad2081b96f", [5, 7, 2])
    '4d0181ad2081b96f-7b9d50a7b897e432'
    """
    return f"{prompt}-{hashlib.blake2b(array('q', tokens).tobytes(), digest_size=8).hexdigest()}"


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
