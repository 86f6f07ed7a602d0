"""Conversations of a policy with the calculator, sampled in batches without a trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from leanthink.testbed.generate import Sampling, generate
from leanthink.testbed.tokenizer import ASSISTANT
from leanthink.testbed.tools import RESULT, Tools, answered, calls_in


@dataclass(kw_only=True)
class Conversation:
    """What came of one prompt.

    Attributes:
        prompt_ids: what it began with.
        token_ids: all that stands behind, in the order of reading.
        written: for each of those whether the policy wrote it.
        cut: whether it ended for want of room or turns.
    """

    prompt_ids: list[int]
    token_ids: list[int] = field(default_factory=list)
    written: list[bool] = field(default_factory=list)
    cut: bool = False

    def add(self, ids: Sequence[int], *, written: bool) -> None:
        """Go on with more tokens."""
        self.token_ids += ids
        self.written += [written] * len(ids)


def converse(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    task: Tools,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    banned_token_ids: Sequence[int] = (),
) -> list[Conversation]:
    """One conversation a prompt, in order: the policy writes, what it called is answered, until it calls no more.

    A turn has at most one call, the first. What does not fit is cut as verl's tool loop cuts it: a policy's turn where
    the room ends, a result before it is put in.
    """
    found = [Conversation(prompt_ids=list(prompt)) for prompt in prompts]
    going = list(found)
    for turn in range(1, task.max_turns + 1):
        room = [task.max_response_tokens - len(one.token_ids) for one in going]
        replies = generate(
            model,
            [one.prompt_ids + one.token_ids for one in going],
            [Sampling(max_new_tokens=left, temperature=temperature) for left in room],
            eos_token_ids=[tokenizer.eos_token_id],
            generator=generator,
            banned_token_ids=banned_token_ids,
        )
        on = []
        for one, reply in zip(going, replies, strict=True):
            one.add(reply.token_ids, written=True)
            calls = calls_in(tokenizer.decode(reply.token_ids, skip_special_tokens=True))
            one.cut = reply.stop_reason == "length"
            if one.cut or not calls:
                continue
            result = tokenizer.encode(f"{RESULT} {answered(calls[0])} {ASSISTANT}", add_special_tokens=False)
            one.cut = turn == task.max_turns or len(one.token_ids) + len(result) >= task.max_response_tokens
            if not one.cut:
                one.add(result, written=False)
                on.append(one)
        going = on
        if not going:
            break
    return found
