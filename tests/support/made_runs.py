"""Runs as `leanthink train` leaves them, made up: two recipes, seeds, several samples a question."""

from __future__ import annotations

import json
import random

import yaml

SCRIPT = "<script>document.title='owned'</script>"


def row(question, seed, step, quality, length, generator):
    right = generator.random() < quality
    return {
        "input": f"{question} + 1 =",
        "output": f"{SCRIPT} \\boxed{{ {question + 1 if right else 0} }}",
        "gts": str(question + 1),
        "score": float(right) - 0.01 * length,
        "step": step,
        "acc": float(right),
        "unknown": 0.0,
        "truncated": float(length > 55),
        "length": float(length),
        "pred": str(question + 1 if right else 0),
        "difficulty": str(2 + question % 3),
        "uid": f"{seed}",
    }


def write_run(folder, recipe, seed, *, quality, tokens, samples=2, questions=12, alpha=0.1, stopped=None, steps=12):
    generator = random.Random(seed)
    for name in ("attempts", "validation"):
        (folder / name).mkdir(parents=True)
    node = {"reward": {recipe: {"alpha": alpha}}, "advantage": "grpo", "loss": "ppo_clip"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(node))
    (folder / "command.txt").write_text(f"python -m verl \\\n  data.seed={seed} \\\n  trainer.save_freq=20 \\\n")
    with (folder / "attempts" / "000.jsonl").open("w") as file:
        for step in range(1, steps + 1):
            data = {
                "leanthink/accuracy": 0.5 + 0.01 * step,
                "leanthink/length/correct": 40 - step,
                "leanthink/length/wrong": 50 - step,
                "leanthink/truncated_share": 0.1,
                "leanthink/correct_pushed_down_share": 0.2,
                "leanthink/reward/all": 0.3,
                "leanthink/part/length": -0.1,
                "timing_s/gen": 1.0,
                "timing_s/step": 2.0,
            }
            file.write(json.dumps({"step": step, "data": data}) + "\n")
    for step, share, length in ((0, 0.5, 40), (steps, quality, tokens)):
        with (folder / "validation" / f"{step}.jsonl").open("w") as file:
            for question in range(questions):
                for _ in range(samples):
                    one = row(question, seed, step, share, length + generator.randint(-5, 20), generator)
                    file.write(json.dumps(one) + "\n")
    figures = {"questions": questions, "accuracy": quality, "mean_tokens": tokens, "by_difficulty": {}}
    summary = {
        "recipe": recipe,
        "steps": steps,
        "before": figures,
        "after": figures,
        "seconds": {"per_step": {"gen": 1.0, "step": 2.0}},
        **({"stopped": stopped} if stopped else {}),
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def write_sweep(folder):
    """Two recipes, two seeds each; one run stopped early."""
    for seed in (1, 2):
        write_run(folder / f"short-{seed}", "short", seed, quality=0.9, tokens=20)
        write_run(folder / f"long-{seed}", "long", seed, quality=0.6, tokens=45)
    write_run(folder / "gone", "gone", 1, quality=0.1, tokens=8, stopped={"reason": "accuracy below 0.2"})
    return folder
