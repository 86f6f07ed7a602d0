"""The limit of a response, said in its prompt, as ThinkPrune (arXiv 2504.01296) says it to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

PLACEHOLDER: Final = "{token_limit}"
"""In a prompt's text it is replaced by the limit, as ThinkPrune states it in the system prompt."""


def stating(messages: Sequence[Mapping[str, Any]], limit: int) -> list[Mapping[str, Any]]:
    """The messages with the limit in the place of every ``{token_limit}``.

    >>> stating([{"role": "system", "content": "Use at most {token_limit} tokens."}], 3000)
    [{'role': 'system', 'content': 'Use at most 3000 tokens.'}]
    """
    return [
        {**message, "content": content.replace(PLACEHOLDER, str(limit))}
        if isinstance(content := message.get("content"), str) and PLACEHOLDER in content
        else message
        for message in messages
    ]
