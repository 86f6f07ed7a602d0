"""Trainers under TRL on the testbed, and batches of responses that are recorded once and given to each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.testbed import policy_path, questions
from leanthink.testbed.generate import Sampling, generate
from leanthink.testbed.rows import row
from leanthink.trl import LeanthinkGRPOTrainer, config, dataset, fit_of
from leanthink.trl.arguments import keys_of

PROMPTS, N = 4, 4
LIMIT = 40  # tokens; some responses are cut


@dataclass(frozen=True)
class Recorded:
    """One batch: the rows of the data, each prompt N times in a row, and what was answered."""

    rows: list[dict[str, Any]]
    prompt_ids: list[list[int]]
    token_ids: list[list[int]]


FREE = "algorithm.filter_groups.enable=false"


def carried() -> list[str]:
    """The recipes that TRL carries on the testbed, those among them that do without dynamic sampling on purpose."""
    recipes = [load_recipe(name, profile="cpu") for name in recipe_names()]
    return [recipe.name for recipe in recipes if not fit_of(recipe, keys_of(recipe, [FREE], "cpu")).lost]


@cache
def models() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = str(policy_path())
    return AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)


@cache
def recorded(count: int = 20) -> tuple[Recorded, ...]:
    """Batches that the testbed's policy answered: right, wrong and cut; a gold that is none; a prompt that comes twice.

    Prompts come again in later batches, for what a recipe remembers of them.
    """
    tokenizer, model = models()
    asked, generator, made = list(questions("train", 12, seed=5)), torch.Generator().manual_seed(5), []
    for number in range(count):
        chosen = [asked[(3 * number + place) % len(asked)] for place in range(PROMPTS)]
        if number == 3:
            chosen[1] = chosen[0]
        rows = [row(question, "train", place) for place, question in enumerate(chosen) for _ in range(N)]
        if number % 5 == 2:
            for one in rows[N : 2 * N]:
                one["reward_model"] = {"style": "rule", "ground_truth": "proof"}
        prompts = [ids_of(tokenizer, one) for one in rows]
        sampled = generate(
            model,
            prompts,
            Sampling(max_new_tokens=LIMIT),
            eos_token_ids=[tokenizer.eos_token_id],
            generator=generator,
        )
        made.append(Recorded(rows, prompts, [one.token_ids for one in sampled]))
    return tuple(made)


def ids_of(tokenizer: Any, one: dict[str, Any]) -> list[int]:
    text = tokenizer.apply_chat_template(one["prompt"], add_generation_prompt=True, tokenize=False)
    return list(tokenizer.encode(text, add_special_tokens=False))


def trainer_of(recipe: str, folder: Path, rollouts: Callable[..., Any] | None = None, **more: Any) -> Any:
    """A trainer of the testbed's policy; ``rollouts`` answers in the policy's place."""
    torch.set_num_threads(1)
    own = {"per_device_train_batch_size": PROMPTS * N, "save_strategy": "no", **more.pop("own", {})}
    overrides = [f"data.train_batch_size={PROMPTS}", f"actor_rollout_ref.rollout.n={N}"]
    overrides += [FREE, f"actor_rollout_ref.actor.ppo_mini_batch_size={PROMPTS}", *more.pop("overrides", ())]
    args = config(recipe, overrides, profile="cpu", steps=more.pop("steps", 2), output_dir=str(folder / "own"), **own)
    return LeanthinkGRPOTrainer(
        more.pop("model", str(policy_path())),
        args=args,
        recipe=recipe,
        overrides=overrides,
        profile="cpu",
        train_dataset=more.pop("data", None)
        or dataset([row(one, "train", 0) for one in questions("train", 24, seed=1)]),
        rollout_func=rollouts,
        **more,
    )


class Playback:
    """Answers with what was recorded, in TRL's place for sampling."""

    def __init__(self) -> None:
        self.now: Recorded | None = None

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        assert self.now is not None and len(prompts) == len(self.now.token_ids)
        return {"prompt_ids": self.now.prompt_ids, "completion_ids": self.now.token_ids, "logprobs": None}


def played(trainer: Any, playback: Playback, batches: Sequence[Recorded]) -> list[dict[str, Any]]:
    """What TRL makes of each batch: its own output, and what was scored."""
    trainer.model.train()
    made = []
    for batch in batches:
        playback.now = batch
        output = trainer._generate_and_score_completions([dict(one) for one in batch.rows])
        made.append({**output, "made": trainer._leanthink_made})
    return made
