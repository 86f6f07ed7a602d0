"""Real training under TRL on the testbed: steps, state, resumes, limits, evaluation, what is kept."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from leanthink.core.errors import ConfigError, MissingColumnError, StateError
from leanthink.data.records import read_below
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.rewards import Correct
from leanthink.runs.folder import Run
from leanthink.testbed import questions
from leanthink.testbed.rows import row
from leanthink.training import Settings, load_states
from leanthink.trl import LeanthinkGRPOTrainer, dataset
from trl_runs import PROMPTS, N, Playback, carried, played, recorded, trainer_of

QUICK = ("drpo", "gfpo_adaptive", "thinkprune", "trle")


def rows(count: int, seed: int = 1, **more: Any) -> Any:
    return dataset([{**row(one, "train", 0), **more} for one in questions("train", count, seed=seed)])


def trained(name: str, folder: Path) -> Any:
    trainer = trainer_of(name, folder, run=folder / "run")
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    after = list(trainer.model.parameters())
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all(bool(parameter.isfinite().all()) for parameter in after)
    metrics = Run(folder=folder / "run").read_metrics()
    assert [one["step"] for one in metrics] == [1, 2]
    for one in metrics:
        assert 0 <= one["leanthink/accuracy"] <= 1 and one["leanthink/length/all"] > 0
        assert one["timing_s/step"] > 0 and one["timing_s/gen"] > 0
    return trainer


@pytest.mark.parametrize("name", QUICK)
def test_two_steps_of_a_recipe(name: str, tmp_path: Path) -> None:
    trainer = trained(name, tmp_path)
    assert trainer.scorer.done == trainer.state.global_step == 2


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in carried() if name not in QUICK])
def test_two_steps_of_every_other_recipe(name: str, tmp_path: Path) -> None:
    trained(name, tmp_path)


def test_a_generation_is_scored_once_however_often_it_is_trained_on(tmp_path: Path) -> None:
    """Two updates a pass, two passes: TRL's global step counts four for each of ours."""
    overrides = ["actor_rollout_ref.actor.ppo_mini_batch_size=2", "actor_rollout_ref.actor.ppo_epochs=2"]
    own = {"per_device_train_batch_size": N}
    trainer = trainer_of("hapo", tmp_path, overrides=overrides, own=own, run=tmp_path / "run", keep_rollouts=True)
    assert (trainer.args.gradient_accumulation_steps, trainer.args.steps_per_generation) == (2, 4)
    trainer.train()
    assert (trainer.state.global_step, trainer.scorer.done) == (8, 2)
    assert sorted(path.name for path in (tmp_path / "run" / "rollouts").glob("*.jsonl")) == ["1.jsonl", "2.jsonl"]
    right = {one["prompt_key"] for one in kept(tmp_path / "run") if one["acc"] == 1}
    assert len(kept(tmp_path / "run")) == 2 * PROMPTS * N
    assert set(trainer.scorer.states.reward["length"]["of"]["length"]) == right


def kept(run: Path) -> list[dict[str, Any]]:
    return [dict(record.fields) for record in read_below(run / "rollouts")]


class Stop(TrainerCallback):
    """As if the process had ended after a step's checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise InterruptedError("killed")


def made_by(folder: Path, stop: int | None = None, resume: str | None = None) -> tuple[dict[int, Any], Any]:
    """The kept responses of a run of six steps, with their rewards and advantages, and its state."""
    own = {"save_strategy": "steps", "save_steps": 1, "seed": 3}
    trainer = trainer_of("hapo", folder, steps=6, own=own, run=folder / "run", keep_rollouts=True, data=rows(8))
    if stop is not None:
        trainer.add_callback(Stop(stop))
        with pytest.raises(InterruptedError):
            trainer.train()
    else:
        trainer.train(resume_from_checkpoint=resume)
    shaped = sorted((folder / "run" / "rollouts" / "shaped").glob("*.jsonl"))
    return {int(path.stem): path.read_text() for path in shaped}, trainer.scorer.states


def test_killed_at_a_random_step_and_resumed_it_goes_on_bit_by_bit(tmp_path: Path) -> None:
    step = random.Random().randint(1, 5)
    print(f"killed after step {step}")
    whole, state = made_by(tmp_path / "whole")
    made_by(tmp_path / "again", stop=step)
    again, resumed = made_by(tmp_path / "again", resume=str(tmp_path / "again" / "own" / f"checkpoint-{step}"))
    assert again == whole
    assert resumed == state
    saved = load_states(
        tmp_path / "again" / "own" / "checkpoint-6", Settings.of(load_recipe("hapo", profile="cpu")), after_step=6
    )
    assert saved == state


def test_a_generation_trained_on_in_part_is_not_counted_before_the_resume(tmp_path: Path) -> None:
    overrides = ["actor_rollout_ref.actor.ppo_mini_batch_size=2"]
    own = {"per_device_train_batch_size": 2 * N, "save_strategy": "steps", "save_steps": 1}
    trainer = trainer_of("hapo", tmp_path, overrides=overrides, own=own, steps=2)
    trainer.train()
    contents = [
        json.loads((tmp_path / "own" / f"checkpoint-{step}" / "leanthink.json").read_text()) for step in range(1, 5)
    ]
    assert [content["step"] for content in contents] == [0, 1, 1, 2]
    assert contents[1]["state"] == contents[2]["state"] != contents[3]["state"]
    assert not contents[0]["state"]["length"]["of"]["length"]


def test_a_checkpoint_of_another_recipe_or_of_none_is_refused(tmp_path: Path) -> None:
    own = {"save_strategy": "steps", "save_steps": 1}
    trainer_of("hapo", tmp_path, own=own, steps=1).train()
    checkpoint = tmp_path / "own" / "checkpoint-1"
    other = trainer_of("trle", tmp_path, own=own, steps=2)
    with pytest.raises(StateError, match="belongs to recipe hapo, this run trains trle"):
        other.train(resume_from_checkpoint=str(checkpoint))
    (checkpoint / "leanthink.json").unlink()
    with pytest.raises(StateError, match="has no reward state"):
        trainer_of("hapo", tmp_path, own=own, steps=2).train(resume_from_checkpoint=str(checkpoint))


def test_evaluation_shows_raw_accuracy_and_feeds_no_state(tmp_path: Path) -> None:
    own = {"per_device_eval_batch_size": 6, "num_generations_eval": 3}
    trainer = trainer_of("hapo", tmp_path, own=own, steps=1, run=tmp_path / "run", eval_dataset=rows(5, seed=2))
    trainer.train()
    before = trainer.scorer.states
    told = trainer.evaluate()
    assert trainer.scorer.states == before and trainer.scorer.done == 1
    kept = list(Run(folder=tmp_path / "run").evaluations()[1])
    assert len(kept) == 15  # two of five prompts in the first batches, one in the last
    assert told["eval_leanthink/accuracy"] == pytest.approx(sum(one["acc"] for one in kept) / 15)
    assert told["eval_reward"] == pytest.approx(told["eval_leanthink/accuracy"], abs=0.2)  # TRL weighs batches alike
    assert told["eval_leanthink/length/all"] == pytest.approx(sum(one["length"] for one in kept) / 15)
    assert Run(folder=tmp_path / "run").read_summary()["after"]["questions"] == 15


def test_a_limit_holds_in_training_and_not_in_evaluation(tmp_path: Path) -> None:
    trainer = trainer_of(
        "thinkprune", tmp_path, overrides=["limit.per_step.at_most=6"], steps=1, eval_dataset=rows(4, seed=2),
        own={"per_device_eval_batch_size": 8}, run=tmp_path / "run",
    )  # fmt: skip
    trainer.train()
    assert max(fact["length"] for fact in trainer._leanthink_made.facts) == 6
    (metrics,) = Run(folder=tmp_path / "run").read_metrics()
    assert metrics["leanthink/limit"] == 6 and metrics["leanthink/truncated_share"] > 0.9
    assert trainer.evaluate()["eval_leanthink/length/all"] > 6
    assert trainer.generation_config.max_new_tokens == trainer.args.max_completion_length == 96


def test_unknown_verdicts_are_in_no_statistics_and_not_in_the_loss(tmp_path: Path) -> None:
    playback = Playback()
    trainer = trainer_of("grpo", tmp_path, playback)
    batch = recorded()[2]  # the golds of its second prompt are none
    (output,) = played(trainer, playback, [batch])
    assert output["completion_mask"].sum(-1).bool().tolist() == [place // N != 1 for place in range(PROMPTS * N)]
    assert output["num_items_in_batch"] == output["completion_mask"].sum()
    assert not output["advantages"][N : 2 * N].any()
    assert list(trainer._logs["advantages"]) == pytest.approx(output["advantages"].tolist())
    assert trainer._metrics["train"]["leanthink/unknown_share"] == [0.25]


def test_groups_are_told_by_place_and_not_by_prompt(tmp_path: Path) -> None:
    playback = Playback()
    trainer = trainer_of("grpo", tmp_path, playback)
    batch = recorded()[3]  # its first two prompts are one
    assert batch.rows[0]["prompt"] == batch.rows[N]["prompt"]
    (output,) = played(trainer, playback, [batch])
    sums = output["advantages"].view(PROMPTS, N).sum(-1)
    assert sums.abs().max() < 1e-4
    right = torch.tensor([fact["acc"] for fact in output["made"].facts]).view(PROMPTS, N)
    spread = right.std(-1) > 0
    assert torch.equal(output["advantages"].view(PROMPTS, N).abs().sum(-1) > 0, spread)


def test_what_would_change_the_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe vsrm_ppo under TRL would lose .*its critic .*Train it with verl"):
        trainer_of("vsrm_ppo", tmp_path)
    with pytest.raises(ConfigError, match="reward_funcs are given, but the reward is the recipe's"):
        trainer_of("trle", tmp_path, reward_funcs=[lambda **_: []])
    with pytest.raises(ConfigError, match="mask_truncated_completions"):
        trainer_of("trle", tmp_path, own={"mask_truncated_completions": True})
    with pytest.raises(ConfigError, match="scale_rewards is 'group', but the advantages are the recipe's"):
        trainer_of("trle", tmp_path, own={"scale_rewards": "group"})
    with pytest.raises(ConfigError, match="no gold answer"):
        trainer_of("trle", tmp_path, data=dataset([{"prompt": "1 + 1 ="}] * 8))
    with pytest.raises(MissingColumnError, match="needs the column 'budget'"):
        trainer_of("lcpo_exact", tmp_path, data=dataset([{"prompt": "1 + 1 =", "answer": "2"}] * 8))
    with pytest.raises(ConfigError, match="has no recipe"):
        LeanthinkGRPOTrainer("nowhere")


def test_a_recipe_of_ones_own_and_a_class_that_names_it(tmp_path: Path) -> None:
    class Mine(LeanthinkGRPOTrainer):
        recipe = Recipe(name="mine", reward=Correct(right=2.0))
        profile = "cpu"

    given = trainer_of("grpo", tmp_path, steps=1)
    trainer = Mine(given.model, args=given.args, train_dataset=rows(8), processing_class=given.processing_class)
    trainer.train()
    assert "rewards/mine/mean" in {name for one in trainer.state.log_history for name in one}
