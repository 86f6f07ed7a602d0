"""A recipe as a plain reward function: TRL's own trainer, TRL's own advantage, our rewards and state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from leanthink.core.errors import ConfigError, StateError
from leanthink.testbed import policy_path, questions
from leanthink.testbed.rows import row
from leanthink.trl import config, dataset, reward
from trl_runs import PROMPTS, N, Playback, recorded, trainer_of

CPU = {"model": str(policy_path()), "profile": "cpu"}


def plain(name: str, folder: Path, playback: Playback | None = None, **own: Any) -> tuple[Any, Any]:
    """TRL's trainer with the function, and the function."""
    function = reward(name, **CPU)
    overrides = [f"data.train_batch_size={PROMPTS}", f"actor_rollout_ref.rollout.n={N}"]
    overrides += [f"actor_rollout_ref.actor.ppo_mini_batch_size={PROMPTS}"]
    own = {"per_device_train_batch_size": PROMPTS * N, "save_strategy": "steps", "save_steps": 1, **own}
    scale = own.pop("scale", "none")
    args = config(name, overrides, profile="cpu", steps=2, output_dir=str(folder), **own)
    args.scale_rewards = scale
    data = dataset([row(one, "train", 0) for one in questions("train", 24, seed=1)])
    trainer = GRPOTrainer(
        str(policy_path()), reward_funcs=[function], args=args, train_dataset=data, callbacks=[function.callback],
        rollout_func=playback,
    )  # fmt: skip
    return trainer, function


@pytest.mark.parametrize(("name", "scale"), [("kimi", "none"), ("hapo", "group")])
def test_rewards_and_state_are_those_of_the_trainer(name: str, scale: str, tmp_path: Path) -> None:
    playback = Playback()
    theirs, function = plain(name, tmp_path / "function", playback, scale=scale)
    ours = trainer_of(name, tmp_path / "trainer", playback)
    theirs.callback_handler.on_train_begin(theirs.args, theirs.state, theirs.control)
    for batch in recorded(6):
        playback.now = batch
        for trainer in (theirs, ours):
            trainer.model.train()
        theirs.callback_handler.on_step_begin(theirs.args, theirs.state, theirs.control)
        got = theirs._generate_and_score_completions([dict(one) for one in batch.rows])
        theirs.callback_handler.on_step_end(theirs.args, theirs.state, theirs.control)
        wanted = ours._generate_and_score_completions([dict(one) for one in batch.rows])
        rewards = torch.tensor(list(theirs._logs["rewards"][name]))
        torch.testing.assert_close(rewards, ours._leanthink_made.reward_N.float(), equal_nan=True)
        # TRL adds 1e-4 to the deviation where the recipe adds 1e-6.
        torch.testing.assert_close(got["advantages"], wanted["advantages"], rtol=2e-3, atol=1e-5)
    assert function.scorer.states == ours.scorer.states and function.scorer.done == 6


def test_it_trains_is_saved_and_goes_on(tmp_path: Path) -> None:
    trainer, function = plain("hapo", tmp_path, scale="group")
    trainer.train()
    assert function.scorer.done == 2
    assert "leanthink/accuracy" in {name for one in trainer.state.log_history for name in one}
    state = function.scorer.states
    again, other = plain("hapo", tmp_path, scale="group")
    again.args.max_steps = 3
    again.train(resume_from_checkpoint=True)
    assert other.scorer.done == 3
    before, after = state.reward["length"]["of"]["length"], other.scorer.states.reward["length"]["of"]["length"]
    assert before.keys() <= after.keys() and all(after[key] <= before[key] for key in before)


def test_an_evaluation_is_told_apart_and_feeds_no_state(tmp_path: Path) -> None:
    trainer, function = plain("hapo", tmp_path, scale="group", save_strategy="no")
    trainer.train()
    before = function.scorer.states
    data = dataset([row(one, "test", 0) for one in questions("test", 4, seed=1)])
    told = trainer.evaluate(data)
    assert function.scorer.states == before and function.scorer.done == 2
    assert told["eval_reward"] == pytest.approx(told["eval_leanthink/accuracy"])


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("gfpo", "its advantage, filter_top_k, which TRL does not compute"),
        ("curriculum", "its advantage, grpo, which TRL does not compute"),  # the population's deviation
        ("drpo", "the advantage that its loss makes, drpo"),
        ("thinkprune", "its limit, which a reward function cannot set"),
    ],
)
def test_what_a_function_cannot_carry_is_refused(name: str, lost: str) -> None:
    with pytest.raises(
        ConfigError, match=f"recipe {name} as a reward function would lose .*{lost}.*LeanthinkGRPOTrainer"
    ):
        reward(name, **CPU)


def test_what_it_needs_to_be_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="truncated=mask, because a reward function masks no loss"):
        reward("kimi", **CPU, options={"truncated": "mask"})
    with pytest.raises(ConfigError, match="scale_rewards is 'group', but the advantage of recipe kimi is grpo"):
        plain("kimi", tmp_path, scale="group")
    batch = recorded(1)[0]
    given = {
        "prompts": [one["prompt"] for one in batch.rows],
        "completions": [""] * len(batch.rows),
        "completion_ids": batch.token_ids,
        "reward_model": [one["reward_model"] for one in batch.rows],
        "extra_info": [one["extra_info"] for one in batch.rows],
    }
    with pytest.raises(ConfigError, match=r"callbacks=\[kimi.callback\], or reward\(..., n=8\)"):
        reward("kimi", **CPU)(**given)
    with pytest.raises(StateError, match="hapo remembers what was before, and nothing would save it"):
        reward("hapo", **CPU, n=N)(**given)
    values = reward("kimi", **CPU, n=N)(**given)
    assert len(values) == len(batch.rows) and any(value for value in values)
    with pytest.raises(ConfigError, match="kimi needs prompts and completion_ids"):
        reward("kimi", **CPU, n=N)(given["completions"])
    answer = [{"role": "assistant", "content": ""}]
    swifts = {
        "messages": [[*one["prompt"], *answer] for one in batch.rows],
        "response_token_ids": [[ids[:3], ids[3:]] for ids in batch.token_ids],
        **{name: given[name] for name in ("reward_model", "extra_info")},
    }
    assert reward("kimi", **CPU, n=N)(given["completions"], **swifts) == values
