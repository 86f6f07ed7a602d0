"""A run under TRL on one process or several, whose answers depend on prompt, place and step alone.

``python trl_ranks.py FOLDER RECIPE``, or by ``torch.distributed.run``.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from leanthink.testbed import policy_path, questions, sample_trace
from leanthink.testbed.rows import row
from leanthink.trl import LeanthinkGRPOTrainer, config, dataset

N, ROWS = 4, 12  # three groups a step: on two processes, the second lies on both


def main(folder: Path, recipe: str) -> None:
    torch.set_num_threads(1)
    asked = {one.text: one for one in questions("train", 6, seed=7)}  # the last step meets three again
    held_out = {one.text: one for one in questions("test", 5, seed=7)}
    world = PartialState(cpu=True).num_processes

    def answered(prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        tokenizer, first = trainer.processing_class, trainer.accelerator.process_index * len(prompts)
        prompt_ids, token_ids = [], []
        for place, prompt in enumerate(prompts):
            text = prompt[0]["content"]
            draw = random.Random(f"{text} {(first + place) % N} {trainer.scorer.done}")
            words = sample_trace(draw, {**asked, **held_out}[text]).text
            cut = draw.random() < 0.2
            ids = tokenizer.encode(words, add_special_tokens=False)
            token_ids.append(ids[: len(ids) // 2] if cut else [*ids, tokenizer.eos_token_id])
            shown = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
            prompt_ids.append(tokenizer.encode(shown, add_special_tokens=False))
        return {"prompt_ids": prompt_ids, "completion_ids": token_ids, "logprobs": None}

    overrides = ["data.train_batch_size=3", "actor_rollout_ref.actor.ppo_mini_batch_size=3"]
    overrides += [f"actor_rollout_ref.rollout.n={N}"]
    own = {"per_device_train_batch_size": ROWS // world, "per_device_eval_batch_size": 8 // world, "seed": 5}
    own["num_generations_eval"] = N
    args = config(recipe, overrides, profile="cpu", steps=3, output_dir=str(folder / "own"), **own)
    trainer = LeanthinkGRPOTrainer(
        str(policy_path()),
        args=args,
        recipe=recipe,
        overrides=overrides,
        profile="cpu",
        options={"truncated": "mask"},
        run=folder,
        keep_rollouts=True,
        train_dataset=dataset([row(one, "train", 0) for one in asked.values()]),
        eval_dataset=dataset([row(one, "test", 0) for one in held_out.values()]),
        rollout_func=answered,
    )
    trainer.train()
    told = trainer.evaluate()
    rank = trainer.accelerator.process_index
    states = trainer.scorer.states
    content = {"reward": states.reward, "advantage": states.advantage, "accuracy": told["eval_leanthink/accuracy"]}
    (folder / f"state-{rank}.json").write_text(json.dumps(content))
    weights = torch.cat([one.detach().flatten() for one in trainer.model.parameters()])
    torch.save(weights, folder / f"weights-{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
