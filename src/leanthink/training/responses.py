"""What the tokens of one response say by themselves: where it ends, whether it was cut off, how long it thinks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from leanthink.core.errors import ConfigError
from leanthink.files.models import config_of

if TYPE_CHECKING:
    from transformers import GenerationConfig

CUT: Final = frozenset({"length", "abort", "aborted"})
ENDED: Final = frozenset({"stop"})


def was_truncated(stop_reason: str | None, token_ids: list[int], limit: int, end_ids: frozenset[int]) -> bool:
    """Whether a response was cut off rather than ended by the model.

    What ends in an end token is complete, also when it fills its limit: verl's async client then says "length". SGLang
    says "stop" or "length"; verl's vLLM server says "completed" for both, so there the response is cut when it fills
    its limit.

    >>> was_truncated("length", [5, 6], 9, frozenset({2})), was_truncated("length", [5, 2], 2, frozenset({2}))
    (True, False)
    >>> was_truncated("completed", [5, 2], 2, frozenset({2})), was_truncated("completed", [5, 6], 2, frozenset({2}))
    (False, True)
    """
    if token_ids and token_ids[-1] in end_ids:
        return False
    if stop_reason in CUT or stop_reason in ENDED:
        return stop_reason in CUT
    return len(token_ids) >= limit


@lru_cache(maxsize=8)
def end_ids(model_path: str, eos_token_id: int) -> frozenset[int]:
    """The tokens that end a response: the tokenizer's and those of the model's generation settings.

    A model without generation settings has those of its ``config.json``, as transformers and vLLM have it.
    """
    from transformers import GenerationConfig

    try:
        settings = GenerationConfig.from_pretrained(model_path)
    except OSError:
        settings = _settings_of_config(model_path)
    more = None if settings is None else settings.eos_token_id
    extra = [] if more is None else [more] if isinstance(more, int) else list(more)
    return frozenset({eos_token_id, *extra})


def _settings_of_config(model_path: str) -> GenerationConfig | None:
    """The generation settings within a model's ``config.json``; None where there is none."""
    from transformers import GenerationConfig, PretrainedConfig

    try:
        config = config_of(model_path, f"model {model_path}")
    except ConfigError:  # no model, or one that brings its own code
        try:
            config, _ = PretrainedConfig.get_config_dict(model_path)
        except OSError:
            return None
    return GenerationConfig.from_model_config(config)


def without_end(token_ids: Sequence[int], ends: frozenset[int]) -> list[int]:
    """A response's tokens without those that end it.

    >>> without_end([5, 7, 2, 2], frozenset({2}))
    [5, 7]
    """
    count = len(token_ids)
    while count and token_ids[count - 1] in ends:
        count -= 1
    return list(token_ids[:count])


def thinking_length(tokens: list[int], decode: Callable[[list[int]], str], thinking_end: str) -> int:
    """How many tokens there are up to the tag that ends the thinking, with it; all where the thinking never ends.

    >>> words = ["so", "4", "</think>", "4"]
    >>> thinking_length([0, 1, 2, 3], lambda ids: " ".join(words[i] for i in ids), "</think>")
    3
    """
    return bisect_left(range(len(tokens)), True, key=lambda count: thinking_end in decode(tokens[:count]))
