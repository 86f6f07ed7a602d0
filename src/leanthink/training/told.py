"""What is put into a prompt's text before it is sampled from, which makes it longer; imports no verl."""

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


def instructed(messages: Sequence[Mapping[str, Any]], instruction: str) -> list[Mapping[str, Any]]:
    """The messages with an instruction in front of the last question.

    >>> instructed([{"role": "user", "content": "1 + 1 ="}], "[Short]")
    [{'role': 'user', 'content': '[Short] 1 + 1 ='}]
    """
    changed = list(messages)
    for place in reversed(range(len(changed))):
        content = changed[place].get("content")
        if instruction and changed[place].get("role") == "user" and isinstance(content, str):
            changed[place] = {**changed[place], "content": f"{instruction} {content}"}
            break
    return changed
