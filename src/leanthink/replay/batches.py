"""Responses to the batches that rewards see: verdicts, lengths, and what the parts of a reward measure on each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from leanthink.core.batch import PROMPT_KEY, RolloutBatch
from leanthink.core.errors import BatchError, MissingColumnError
from leanthink.core.groups import group_codes
from leanthink.core.measured import PieceReward, PromptReward
from leanthink.core.reward import Reward
from leanthink.data.fields import USUAL, shown_names
from leanthink.data.records import Record
from leanthink.data.rollouts import Rollouts, read_rollouts, words_and_signs
from leanthink.recipe.scoring import batch_of_facts, measured_rewards
from leanthink.rewards import Correct
from leanthink.rewards.counted import THINKING_LENGTH
from leanthink.verify import Judgement, Verdict

END: Final = "</think>"
"""What ends the thinking of a stored response, as to the verifier by default."""


class TextBatch(NamedTuple):
    """What became of some texts.

    Attributes:
        batch: the M responses whose verdict is known.
        rows: (M,) which of the texts they are, from 0.
        judgements: (N,) the verdict on every text, with its reason; those that are unknown are in no batch.
        notices: what to know of how lengths and columns came about.
    """

    batch: RolloutBatch
    rows: list[int]
    judgements: Sequence[Judgement]
    notices: Sequence[str]


def batch_from_texts(
    texts: Sequence[str],
    golds: Sequence[str | int | float],
    groups: Sequence[Hashable],
    *,
    reward: Reward | None = None,
    prompts: Sequence[str] | None = None,
    token_ids: Sequence[Sequence[int]] | None = None,
    truncated: Sequence[bool] | None = None,
    step: int = 0,
    workers: int = 2,
    deadline: float = 5.0,
    **columns: Sequence[Any],
) -> TextBatch:
    r"""The batch of N responses given as texts: verified, counted, and measured; no trainer, no file.

    Args:
        texts: (N,) the responses.
        golds: (N,) the right answer of each.
        groups: (N,) the prompt of each, by any id.
        reward: whose measured parts (format, repetition) become columns; None for none.
        prompts: (N,) the prompts' texts, for rewards that read them.
        token_ids: (N,) the tokens of each response, its end token included; without them lengths are counted in words
            and signs.
        truncated: (N,) whether a limit ended the response; without it, none was.
        step: the training step, from 0, that schedules go by.
        workers: processes of the verifier.
        deadline: seconds for one judgement.
        columns: (N,) each, further columns of the batch.

    Raises:
        BatchError: a list of another length, or an entry that cannot be what it should.
        MissingColumnError: a column that the reward needs.

    >>> batch, rows, _, _ = batch_from_texts(["So \\boxed{4}.", "5"], golds=["4", "4"], groups=["2+2"] * 2)
    >>> batch.correct, rows
    (tensor([1., 0.], dtype=torch.float64), [0, 1])
    """
    lists: dict[str, Sequence[Any]] = {"response": texts, "gold": golds, "group": groups, **columns}
    lists |= {"truncated": [False] * len(texts) if truncated is None else truncated}
    if prompts is not None:
        lists["prompt"] = prompts
    if token_ids is not None:
        lists["response_ids"] = [list(ids) for ids in token_ids]
    for name, values in lists.items():
        if len(values) != len(texts):
            raise BatchError(f"{name}: {len(values)} entries for {len(texts)} texts; give one per text")
        for row, value in enumerate(values):
            if value is None:
                raise BatchError(f"{name}, row {row}: None; give a value per text, or leave the text out")
    if not len(texts):
        raise BatchError("no texts; give at least one")
    lists = {PROMPT_KEY: [str(name) for name in groups], **lists, "group": group_codes(groups).tolist()}
    records = [
        Record(fields={name: values[row] for name, values in lists.items()}, file=Path("texts"), line=row + 1)
        for row in range(len(texts))
    ]
    rollouts = read_rollouts(records, step=step, workers=workers, deadline=deadline)
    facts, notices = facts_of(Correct() if reward is None else reward, rollouts, "the reward")
    rows = [row for row, one in enumerate(rollouts.judgements) if one.verdict is not Verdict.UNKNOWN]
    batch = batch_of_facts([facts[row] for row in rows], [groups[row] for row in rows], step)
    return TextBatch(batch, rows, rollouts.judgements, [*rollouts.notices, *notices])


def facts_of(reward: Reward, rollouts: Rollouts, who: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The facts about each response as a training worker would return them, and what to know of them.

    ``who`` needs them, as an error says it.

    Raises:
        MissingColumnError: a column the reward needs is missing, named with the file and the row.
    """
    measured, notices = _measured(reward, rollouts, who)
    columns = {**rollouts.columns, **measured}
    return [_facts(rollouts, columns, row) for row in range(len(rollouts))], notices


def _facts(rollouts: Rollouts, columns: Mapping[str, Sequence[Any]], row: int) -> dict[str, Any]:
    return {
        "length": rollouts.length[row],
        "correct": float(rollouts.judgements[row].verdict is Verdict.CORRECT),
        "truncated": rollouts.truncated[row],
        **{name: values[row] for name, values in columns.items()},
    }


def _measured(reward: Reward, rollouts: Rollouts, who: str) -> tuple[dict[str, Sequence[float | str]], list[str]]:
    """The columns of a reward's measured parts that the file does not bring, once nothing else is missing."""
    parts = {part.column: part for part in measured_rewards(reward) if part.column not in rollouts.columns}
    notices = []
    values: dict[str, Sequence[float | str]] = {}
    if THINKING_LENGTH in reward.requires and THINKING_LENGTH not in rollouts.columns and rollouts.texts is not None:
        values[THINKING_LENGTH] = thinking_lengths(rollouts)
        notices.append(f"{who}: {THINKING_LENGTH} is each length's share of words and signs up to {END!r}")
    tokens: Sequence[Sequence[Hashable]] | None = rollouts.tokens
    for name in sorted(reward.requires - set(RolloutBatch.CORE) - rollouts.columns.keys() - values.keys()):
        if name not in parts:
            bare = next(record for record in rollouts.records if not record.has(name))
            raise MissingColumnError(
                f"{bare.place}: no {name!r}, which {who} needs; give it in every row (it has: {shown_names(bare)})"
            )
        of_tokens = parts[name].of_tokens
        if rollouts.texts is None and (tokens is None or not of_tokens):
            what, cure = ("tokens", "'response_ids' or 'response'") if of_tokens else ("the text", "'response'")
            raise MissingColumnError(
                f"{rollouts.records[0].file}: {who} needs {name!r}, measured on {what}; give "
                f"{cure}, or that column, in every row"
            )
        if of_tokens and rollouts.tokens is None:
            tokens = [words_and_signs(text) for text in rollouts.texts or ()]
            notices.append(f"{who}: {name} is measured on words and signs, not tokens; give 'response_ids'")
    texts = rollouts.texts or [""] * len(rollouts)
    ids = tokens or [()] * len(rollouts)
    for name, part in parts.items():
        if isinstance(part, PromptReward):
            values[name] = asyncio.run(_asked(part, rollouts))
        elif isinstance(part, PieceReward):
            counts = [int(length) for length in rollouts.length]
            values[name] = [part.value_of(text, range(count)) for text, count in zip(texts, counts, strict=True)]
        else:
            values[name] = [part.value_of(*pair) for pair in zip(texts, ids, strict=True)]
    for tag in dict.fromkeys(getattr(part, "close_tag", "") for part in parts.values() if not part.of_tokens):
        if tag and rollouts.texts and not any(tag in text for text in rollouts.texts):
            named = ", ".join(name for name, part in parts.items() if getattr(part, "close_tag", "") == tag)
            notices.append(
                f"{who}: {named} looks for {tag!r}, and none of {len(texts)} responses has it: 100 % count as without; "
                "give the recipe your model's tags (open_tag, close_tag), or drop that part"
            )
    return values, notices


def thinking_lengths(rollouts: Rollouts) -> list[float]:
    """The tokens of each thinking, by the share of the text's words and signs that stand up to its end, with that.

    All of them where it never ends.
    """
    lengths = []
    for text, length in zip(rollouts.texts or (), rollouts.length, strict=True):
        thought, closed, _ = text.partition(END)
        share = len(words_and_signs(thought + closed)) / max(len(words_and_signs(text)), 1) if closed else 1.0
        lengths.append(float(round(share * length)))
    return lengths


async def _asked(part: PromptReward, rollouts: Rollouts) -> list[float]:
    """What a part says of the correct, complete responses, asked one by one; NaN for the others, as in training."""
    values = []
    for row, (record, text) in enumerate(zip(rollouts.records, rollouts.texts or (), strict=True)):
        prompt = next((str(record.get(name)) for name in USUAL["prompt"] if record.has(name)), "")
        wanted = rollouts.judgements[row].verdict is Verdict.CORRECT and not rollouts.truncated[row]
        values.append(await part.ask(prompt, text) if wanted else math.nan)
    return values
