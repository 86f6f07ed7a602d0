"""A response has the same facts in training and in a replay of its dump, whatever its kind."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from verl import DataProto

from leanthink.data.records import files_of, read_records
from leanthink.data.rollouts import read_rollouts
from leanthink.recipe.definition import Recipe
from leanthink.replay.batches import facts_of
from leanthink.rewards import Correct, Format, Repetition, Sum
from leanthink.training.keeping import write_shaped
from leanthink.training.names import RESPONSE_KEY
from leanthink.verl.rollout import facts
from leanthink.verl.settings import Settings

COUNT = 2000
RECIPE = Recipe(name="mine", reward=Sum(correct=Correct(), form=Format(), again=Repetition(size=3, penalty=-1)))
END = 1


class Signs:
    """A tokenizer of single signs."""

    eos_token_id = END

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(chr(one) for one in ids)

    def encode(self, text: str) -> list[int]:
        return [ord(sign) for sign in text]


class Config(dict[str, Any]):
    actor_rollout_ref = SimpleNamespace(model=SimpleNamespace(path="nowhere"))


THINKING = (
    "<think>{t}</think> {a}",
    "<think>{t} {a}",
    "{t}</think> {a}",
    "{a}",
    "<think>{t}</think><think>{t} {a}",
    "{t}",
)
THOUGHTS = ("19 \\cdot 23 is 437.", "wait, wait, wait", "I get \\boxed{5}. No.", "", "½ of x² 90°", "so\n\nthen")
ANSWERS = (
    *("\\boxed{437}", "So \\boxed{436}.", "The answer is 437.", "#### 437", "437", "", "\\boxed{19 \\cdot 23}"),
    *("\\boxed{\\frac{874}{2}}", "\\boxed{437} or \\boxed{438}", "final answer is 437 or 438", "\\boxed{9^{9^9}}"),
    *("\\boxed{{437}", "<answer>437</answer>", "\\boxed{437\\text{ apples}}", "\\boxed{}", "(B)", "It is 437,00"),
)
GOLDS: tuple[Any, ...] = ("437", 437, ["437", "438"], "proof", "Half is so. #### 437", "436.5", None)


def kinds(count: int) -> Iterator[dict[str, Any]]:
    draw = random.Random(0)
    for number in range(count):
        text = draw.choice(THINKING).format(t=draw.choice(THOUGHTS), a=draw.choice(ANSWERS))
        cut = draw.random() < 0.2
        prompt = f"<user> What is 19 \\cdot 23? <assistant>{draw.choice(['', '', '<think>', '<think>' + chr(10)])}"
        yield {"number": number, "text": text, "truncated": cut, "prompt": prompt, "gold": draw.choice(GOLDS)}


def data(one: dict[str, Any]) -> DataProto:
    """As verl hands a response to its reward worker."""
    before, ids = Signs().encode(one["prompt"]), Signs().encode(one["text"]) + [END] * (not one["truncated"])
    batch = TensorDict(
        {
            "prompts": torch.tensor([before]),
            "responses": torch.tensor([[*ids, 0, 0]]),
            "attention_mask": torch.tensor([[1] * (len(before) + len(ids)) + [0, 0]]),
        },
        batch_size=1,
    )
    held = np.empty(1, dtype=object)
    held[0] = {"ground_truth": one["gold"]}
    columns = {
        "raw_prompt": np.array([[{"role": "user", "content": "What is 19 \\cdot 23?"}]]),
        "reward_model": held,
        "extra_info": np.array([{}], dtype=object),
        "tool_extra_fields": np.array([{"truncated": one["truncated"]}], dtype=object),
    }
    return DataProto(batch=batch, non_tensor_batch=columns)


@pytest.fixture(scope="module")
def trained() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The responses, and the facts that verl's worker found of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "end_ids", lambda path, eos: frozenset({eos}))
        config = Config(leanthink=Settings.of(RECIPE, max_unknown=1.0).node())
        manager = facts.FactsRewardManager(config, Signs(), None)

    async def all_of(ones: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [(await manager.run_single(data(one)))["reward_extra_info"] for one in ones]

    responses = list(kinds(COUNT))
    found = asyncio.run(all_of(responses))
    manager.loop.close()
    return responses, found


def uid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number // 4:012d}_{number % 4}_0"


def dump(folder: Path, responses: list[dict[str, Any]], found: list[dict[str, Any]], bare: bool) -> Path:
    """As verl dumps a step: texts without end tokens, the gold, and, unless bare, the facts."""
    rows = []
    for one, fact in zip(responses, found, strict=True):
        row = {"input": one["prompt"], "output": one["text"], "gts": one["gold"], "score": fact["acc"], "step": 3}
        row |= {"uid": uid(one["number"]), "finish_reason": "length" if one["truncated"] else "stop"}
        ids = Signs().encode(one["text"]) + [END] * (not one["truncated"])
        rows.append(row | ({"response_ids": ids, "problem": "What is 19 \\cdot 23?"} if bare else fact))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "3.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def compared(folder: Path, found: list[dict[str, Any]], rows: list[int]) -> None:
    records = [record for file in files_of(folder) for record in read_records(file)]
    rollouts = read_rollouts(records, workers=1)
    replayed, _ = facts_of(RECIPE.reward, rollouts, "mine")
    for row, fact, judgement in zip(rows, replayed, rollouts.judgements, strict=True):
        trained = found[row]
        known = trained["unknown"] == 0
        assert str(judgement.verdict) == (["wrong", "correct"][int(trained["acc"])] if known else "unknown")
        assert fact["length"] == trained["length"] and fact["truncated"] == bool(trained["truncated"])
        for name in ("measured/format", "measured/repetition(size=3, penalty=-1)"):
            assert fact[name] == trained[name]


def test_judged_again_from_a_plain_dump(tmp_path: Path, trained: Any) -> None:
    """All that has a gold answer; the row without one is refused when it is judged again, by its name."""
    responses, found = trained
    rows = [row for row, one in enumerate(responses) if one["gold"] is not None]
    assert len({fact["reason"] for fact in found}) >= 10 and 0 < len(rows) < COUNT
    folder = dump(tmp_path, [responses[row] for row in rows], [found[row] for row in rows], bare=True)
    compared(folder, found, rows)


def test_as_the_run_kept_it(tmp_path: Path, trained: Any) -> None:
    responses, found = trained
    plain = [{name: fact[name] for name in fact if name != RESPONSE_KEY} for fact in found]
    folder = dump(tmp_path / "rollouts", responses, plain, bare=False)
    keys = [uid(one["number"]) for one in responses]
    write_shaped(folder, 3, keys, found, [], None)
    compared(tmp_path, found, list(range(COUNT)))
