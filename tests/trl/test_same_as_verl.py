"""The same recorded batches under TRL, in verl's driver, and in a replay: the same rewards, advantages, state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from leanthink.core.placement import token_rewards
from leanthink.data.records import read_below
from leanthink.data.rollouts import read_rollouts
from leanthink.recipe.definition import load_recipe
from leanthink.replay.score import replay
from leanthink.training import FactFinder, Shaper, end_ids, end_of_prompt
from leanthink.verl.driver import shaping
from leanthink.verl.driver.advantage import recipe_advantage
from leanthink.verl.rollout.facts import response_of
from leanthink.verl.settings import Settings
from trl_runs import LIMIT, N, Playback, Recorded, carried, models, played, policy_path, recorded, trainer_of

CLOSE = {"rtol": 0.0, "atol": 1e-6}


class Queue:
    """TransferQueue's rows, and what the sampler writes back to them."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def kv_batch_get(self, keys: Any, partition_id: Any, select_fields: Any) -> dict[str, Any]:
        return {name: [row[name] for row in self.rows] for name in select_fields}

    def kv_batch_put(self, keys: Any, partition_id: Any, fields: Any) -> None:
        for name in fields.keys():  # noqa: SIM118 - no mapping
            values = fields[name] if name == "uid" else fields[name].unbind()
            for key, value in zip(keys, values, strict=True):
                self.rows[int(key[1:])][name] = getattr(value, "data", value) if name == "uid" else value


def in_64_bits(reward_N: Any, length_N: Any, placement: Any = None, last_N: Any = None) -> torch.Tensor:
    """verl holds token rewards in 32 bits, which is less than 1e-6 where the rewards of a group hardly differ."""
    rows = token_rewards(reward_N, length_N, placement)
    return torch.cat([row[: int(length)] for row, length in zip(rows, length_N, strict=True)])


class Verl:
    """verl's way, as its reward worker, its sampler and its estimator take it."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Settings.of(load_recipe(name, profile="cpu"))
        tokenizer, _ = models()
        ends = end_ids(str(policy_path()), tokenizer.eos_token_id)
        self.finder = FactFinder(self.settings, tokenizer, ends, end_of_prompt(tokenizer))
        self.buffer = object.__new__(shaping.ShapingReplayBuffer)
        self.buffer._group_loss, self.buffer._rollouts = None, None
        self.buffer.shaper = Shaper(self.settings)
        self.monkeypatch, self.step = monkeypatch, 0

    def __call__(self, batch: Recorded, limit: int | None) -> tuple[list[float], torch.Tensor, torch.Tensor]:
        """Rewards (N,), advantages (N, T) and masks (N, T)."""
        self.step += 1
        end = models()[0].eos_token_id
        responses = []
        for data, tokens, prompt in zip(batch.rows, batch.token_ids, batch.prompt_ids, strict=True):
            columns = {**data, "raw_prompt": data["prompt"]}
            said = {"truncated": tokens[-1] != end, **({} if limit is None else {"limit": limit})}
            responses.append(response_of(tokens, columns, said, prompt))
        facts = self.finder.find_all(responses)
        rows = [
            {
                "response_mask": torch.ones(len(tokens), dtype=torch.int64),
                "extra_fields": {"reward_extra_info": fact},
                "uid": str(place // N),
            }
            for place, (tokens, fact) in enumerate(zip(batch.token_ids, facts, strict=True))
        ]
        self.monkeypatch.setattr(shaping, "tq", Queue(rows))
        self.monkeypatch.setattr(shaping, "flat_token_rewards", in_64_bits)
        keys = [f"k{place}" for place in range(len(rows))]
        tags = [{"response_len": len(tokens)} for tokens in batch.token_ids]
        self.buffer._shape(SimpleNamespace(keys=keys, tags=tags, partition_id="train"), self.step)
        scores = pad_sequence([row["rm_scores"] for row in rows], batch_first=True)
        mask = pad_sequence([row["response_mask"] for row in rows], batch_first=True)
        uids = np.array([row["uid"] for row in rows], dtype=object)
        advantage, _ = recipe_advantage(scores, mask, uids, config={"leanthink": self.settings.advantage})
        return scores.sum(-1).tolist(), advantage, mask


@pytest.fixture(scope="module")
def batches() -> tuple[Recorded, ...]:
    found = recorded()
    end = models()[0].eos_token_id
    cut = [tokens[-1] != end for batch in found for tokens in batch.token_ids]
    assert 0.02 < sum(cut) / len(cut) < 0.9  # the recordings show something of everything
    assert {len(tokens) for batch in found for tokens in batch.token_ids} >= {LIMIT}
    return found


@pytest.mark.parametrize("name", carried())
def test_rewards_advantages_and_state_are_those_of_verl_and_of_a_replay(name, batches, tmp_path, monkeypatch):
    playback = Playback()
    trainer = trainer_of(name, tmp_path, playback, run=tmp_path / "run", keep_rollouts=True)
    made = played(trainer, playback, batches)
    recipe, verl = load_recipe(name, profile="cpu"), Verl(name, monkeypatch)
    longest = int(trainer.args.max_completion_length)
    for number, (batch, output) in enumerate(zip(batches, made, strict=True)):
        limit = None
        if recipe.limit is not None:
            limit = min(verl.buffer.shaper.limits(["any"], number + 1)[0], longest)
        reward, advantage, mask = verl(batch, limit)
        ours = output["made"]
        torch.testing.assert_close(torch.nan_to_num(ours.reward_N), torch.tensor(reward, dtype=torch.float64), **CLOSE)
        assert torch.equal(output["completion_mask"], mask)
        if recipe.loss.reads_advantage:
            own = output["advantages"]
            own = own[:, None] * mask if own.dim() == 1 else own * mask
            torch.testing.assert_close(own.double(), advantage, **CLOSE)
    assert verl.buffer.shaper.states == trainer.scorer.states
    assert any(bool(output["made"].reward_N.isnan().any()) for output in made)  # of unknown verdict
    assert any(bool(output["advantages"].any()) for output in made)

    rollouts = read_rollouts(read_below(tmp_path / "run" / "rollouts"))
    told = replay(recipe, rollouts)
    place = {record.fields["uid"]: row for row, record in enumerate(rollouts.records)}
    for output in made:
        ours = output["made"]
        rows = [place[f"{ours.step}-{row}"] for row in range(len(ours.found))]
        torch.testing.assert_close(told.reward[rows], ours.reward_N, equal_nan=True, **CLOSE)
        shown = ours.advantage if ours.advantage.dim() == 1 else None
        if shown is not None:
            torch.testing.assert_close(torch.nan_to_num(told.advantage[rows]), shown, **CLOSE)
    assert (told.state, told.advantage_state or {}) == (trainer.scorer.states.reward, trainer.scorer.states.advantage)
