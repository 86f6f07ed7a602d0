"""One process of a training run under TRL; `leanthink train --trainer trl` and ``accelerate launch`` start it.

``python -m leanthink.trl.main RECIPE --model M --train-file T --val-file V --run FOLDER [key=value ...]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanthink.recipe.definition import load_recipe
from leanthink.runs.folder import Run
from leanthink.trl.arguments import keys_of
from leanthink.trl.start import last_checkpoint, split


def main(given: Sequence[str] | None = None) -> int:
    """Evaluate, train, and evaluate again; a folder with a checkpoint is gone on with."""
    args = parser().parse_args(given)
    rest, options, own = split(args.overrides)
    if args.profile == "cpu":
        import torch

        torch.set_num_threads(1)  # a policy so small gains nothing from more
    from leanthink.trl import LeanthinkGRPOTrainer, config, dataset

    recipe = load_recipe(args.recipe, rest, args.profile)
    keys = keys_of(recipe, rest, args.profile)
    run = Run(folder=args.run)
    seed = {} if args.seed is None else {"seed": args.seed}
    named: dict[str, Any] = {"output_dir": str(run.checkpoints), **seed, **own}
    trainer = LeanthinkGRPOTrainer(
        args.model,
        args=config(recipe, rest, profile=args.profile, steps=args.steps, **named),
        recipe=recipe,
        overrides=rest,
        profile=args.profile,
        options=options,
        run=run.folder,
        keep_rollouts=args.keep_rollouts,
        train_dataset=dataset(args.train_file, keys.get("data.train_max_samples")),
        eval_dataset=dataset(args.val_file, keys.get("data.val_max_samples")),
    )
    last = last_checkpoint(run.checkpoints)
    if last is None and not run.evaluated_steps():
        trainer.evaluate()
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    trainer.evaluate()
    return 0


def parser() -> argparse.ArgumentParser:
    """The arguments; those of `leanthink train`, and the run's folder."""
    made = argparse.ArgumentParser(prog="python -m leanthink.trl.main", description=__doc__.partition("\n")[0])
    add = made.add_argument
    add("recipe", metavar="RECIPE", help="a recipe's name, or a path ending in .yaml")
    add("overrides", nargs="*", metavar="key=value", help="the recipe's tree, verl's keys, leanthink.*, or trl.*")
    add("--profile", choices=("cpu", "gpu"), default="gpu")
    add("--model", required=True, help="a folder or Hub name")
    add("--train-file", action="append", required=True, metavar="PARQUET", help="from `leanthink prepare`; repeatable")
    add("--val-file", action="append", required=True, metavar="PARQUET", help="from `leanthink prepare`; repeatable")
    add("--steps", type=int, help="training steps, one generation each (default: what the epochs hold)")
    add("--seed", type=int, help="seed of data order, rollouts and training")
    add("--run", type=Path, required=True, metavar="FOLDER", help="keeps metrics, evaluations and checkpoints")
    add("--keep-rollouts", action="store_true", help="keep every training response, for watch, score")
    return made


if __name__ == "__main__":
    sys.exit(main())
