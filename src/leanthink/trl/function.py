"""A recipe as a plain reward function, for whoever can name nothing else: axolotl's YAML, ms-swift's plug-in.

TRL computes the advantage of such a reward itself, so only recipes are carried whose advantage TRL has, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from leanthink.algorithms import Grpo, PpoClip, Rloo
from leanthink.core.errors import ConfigError, DependencyError, StateError
from leanthink.files.models import tokenizer_of
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.recipe.keys import Profile
from leanthink.recipe.registry import name_of
from leanthink.training.responses import end_ids
from leanthink.training.settings import Settings
from leanthink.training.state import States
from leanthink.training.template import end_of_prompt
from leanthink.trl.arguments import keys_of, told
from leanthink.trl.fit import fit_of
from leanthink.trl.mixin import gathered
from leanthink.trl.scorer import Row, Scorer, evaluation_metrics

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise DependencyError("TRL is not installed; install it with `pip install 'leanthink[trl]'`") from error

logger = logging.getLogger(__name__)

SCALES: Final[Mapping[str, str]] = {"none": "none", "std": "group"}
"""``grpo``'s scale -> TRL's ``scale_rewards`` that does the same."""


def reward(
    recipe: str | Path | Recipe,
    model: str,
    overrides: Iterable[str] = (),
    *,
    profile: Profile = "gpu",
    n: int | None = None,
    gold: str | None = None,
    options: Mapping[str, Any] | None = None,
    trust_remote_code: bool = False,
) -> RecipeReward:
    """A reward function by a recipe: ``reward_funcs=[trle]``, and ``callbacks=[trle.callback]``.

    Args:
        recipe: a name, a path, or a recipe.
        model: a folder or Hub name, of whose tokenizer and generation settings the end of a response is known.
        overrides: ``key=value``, as for `leanthink.trl.config`.
        profile: ``cpu`` for the recipe as it is scaled to the testbed.
        n: responses to a prompt; only needed where the callback cannot be given, and then for training only.
        gold: the column of the gold answer, where it has none of the usual names.
        options: as `leanthink.training.Settings` has them.
        trust_remote_code: whether the model's own Python files may be run, as TRL's argument of this name.

    Raises:
        ConfigError: what a reward function cannot carry of the recipe: its advantage, its loss, its limit; or the model
            has no tokenizer that can be read.
    """
    changes = list(overrides)
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, changes, profile)
    keys = keys_of(recipe, changes, profile)
    fit_of(recipe, keys).check()
    settings = Settings.of(recipe, **(options or {}))
    if lost := lost_by_a_function(recipe, settings):
        raise ConfigError(
            f"recipe {recipe.name} as a reward function would lose {'; and '.join(lost)}. Use LeanthinkGRPOTrainer, or "
            "LeanthinkMixin before your trainer's class, which carry all of it"
        )
    for line in told(recipe, keys):
        logger.warning("%s", line)
    return RecipeReward(recipe, settings, model, n, gold, trust_remote_code)


def lost_by_a_function(recipe: Recipe, settings: Settings) -> list[str]:
    """What of a recipe a reward function cannot carry, though the trainer can."""
    lost = []
    advantage = recipe.advantage
    if not recipe.loss.reads_advantage or not isinstance(recipe.loss, PpoClip):
        lost.append(f"the advantage that its loss makes, {name_of(type(recipe.loss))}")
    elif not isinstance(advantage, Rloo) and not (isinstance(advantage, Grpo) and _is_trls(advantage)):
        lost.append(f"its advantage, {name_of(type(advantage))}, which TRL does not compute")
    if recipe.limit is not None:
        lost.append("its limit, which a reward function cannot set")
    if settings.truncated != "keep":
        lost.append(f"options truncated={settings.truncated}, because a reward function masks no loss")
    return lost


def _is_trls(advantage: Grpo) -> bool:
    return advantage.scale == "none" or advantage.ddof == 1


class RecipeReward:
    """A recipe as TRL calls a reward function; made by :func:`reward`.

    It gathers the rows of all processes, scores them on each, and returns the process's own. What the recipe remembers
    goes on in training only, and is saved and read by ``callback``, a ``TrainerCallback``.

    Attributes:
        callback: to be given to the trainer: it tells training from evaluation, and keeps the state.
    """

    def __init__(
        self,
        recipe: Recipe,
        settings: Settings,
        model: str,
        n: int | None,
        gold: str | None,
        trust_remote_code: bool = False,
    ) -> None:
        """See :func:`reward`."""
        self.__name__ = recipe.name
        self.recipe = recipe
        tokenizer = tokenizer_of(model, f"model {model}", trust_remote_code=trust_remote_code)
        prompt = end_of_prompt(tokenizer)
        self.scorer = Scorer(settings, tokenizer, end_ids(model, tokenizer.eos_token_id), prompt=prompt, gold=gold)
        self.callback = StateCallback(self)
        self._n = n

    def __call__(
        self,
        completions: Sequence[Any],
        prompts: Sequence[Any] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Any = None,
        log_metric: Any = None,
        log_extra: Any = None,
        environments: Any = None,
        **columns: Sequence[Any],
    ) -> list[float | None]:
        """The shaped reward of each response, as TRL asks for it, or ms-swift; None where its verdict is unknown.

        Outside training it is the raw verdict.

        Raises:
            ConfigError: the callback is not given to the trainer, and the recipe, or the grouping, needs it.
        """
        if prompts is None and "messages" in columns:  # ms-swift's, with the response at their end
            prompts = [list(messages)[:-1] for messages in columns["messages"]]
        if completion_ids is None and "response_token_ids" in columns:  # ms-swift's, by turn
            completion_ids = [[one for turn in turns for one in turn] for turns in columns["response_token_ids"]]
        if prompts is None or completion_ids is None:
            raise ConfigError(
                f"{self.__name__} needs prompts and completion_ids, as TRL gives them to reward functions"
            )
        callback, ends = self.callback, self.scorer.ends
        train = callback.training if callback.attached else True
        rows = [
            Row(
                data={"prompt": prompt, **{name: values[place] for name, values in columns.items()}},
                token_ids=list(ids),
                truncated=not len(ids) or ids[-1] not in ends,
                prompt_ids=[] if isinstance(prompt, str) else self.scorer.prompt_ids,
            )
            for place, (prompt, ids) in enumerate(zip(prompts, completion_ids, strict=True))
        ]
        found = gathered(self.scorer.find(rows))
        values: list[float | None]
        if train:
            if not callback.attached:
                self.scorer.done = self._step_without_callback(trainer_state)
            made = self.scorer.train(found, callback.n or self._n or 0)
            callback.scored()
            metrics = made.shaped.metrics
            values = [None if value != value else value for value in made.reward_N.tolist()]
        else:
            facts = [one.fact for one in found]
            metrics = evaluation_metrics(facts)
            values = [None if fact["unknown"] else float(fact["acc"]) for fact in facts]
        if log_metric is not None:
            for name, value in metrics.items():
                log_metric(f"leanthink/{name}", value)
        own = _rank() * len(prompts)
        return values[own : own + len(prompts)]

    def _step_without_callback(self, trainer_state: Any) -> int:
        """The step before this one, by TRL's count; only where nothing is remembered, and the groups are known."""
        cure = f"give the trainer callbacks=[{self.__name__}.callback]"
        if States.start(self.recipe) != States():
            raise StateError(f"{self.__name__} remembers what was before, and nothing would save it; {cure}")
        if self._n is None:
            raise ConfigError(
                f"{self.__name__}: how many responses a prompt has is not known; {cure}, or reward(..., n=8)"
            )
        return int(trainer_state.global_step) if trainer_state is not None else self.scorer.done


class StateCallback(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """What a :class:`RecipeReward` must be told, and what it must save."""

    def __init__(self, reward: RecipeReward) -> None:
        """Belongs to one reward function."""
        self._reward = reward
        self.attached, self.training = False, False
        self.n: int | None = None
        self._passes, self._left = 0, 0  # passes of the loss over the last generation that are still to come

    def on_init_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The trainer's arguments must be those under which its advantage is the recipe's."""
        self.attached = True
        self._take(args)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A run that goes on reads what was saved with its checkpoint."""
        self._take(args)
        if state.global_step:
            named = args.resume_from_checkpoint
            place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._reward.scorer.resume(Path(named) if isinstance(named, str) and not place.is_dir() else place)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What is sampled from here on is trained on."""
        self.training = True

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One pass of the loss is done."""
        self._left -= 1

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What is sampled from here on is an evaluation's."""
        self.training = False
        self._left -= 1

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save what the recipe's parts remember with the checkpoint."""
        if state.is_world_process_zero:
            self._reward.scorer.save(Path(args.output_dir) / f"checkpoint-{state.global_step}", whole=self._left <= 0)

    def scored(self) -> None:
        """A generation was scored; the loss goes over it so many times."""
        self._left = self._passes

    def _take(self, args: Any) -> None:
        advantage = self._reward.recipe.advantage
        wanted = SCALES[advantage.scale] if isinstance(advantage, Grpo) else "none"
        if args.scale_rewards != wanted:
            raise ConfigError(
                f"scale_rewards is {args.scale_rewards!r}, but the advantage of recipe {self._reward.recipe.name} is "
                f"{name_of(type(advantage))}; set scale_rewards={wanted!r}"
            )
        if args.mask_truncated_completions:
            raise ConfigError("mask_truncated_completions masks by TRL's own rule of what was cut; set it to False")
        self.n = int(args.num_generations)
        self._passes = int(args.steps_per_generation * args.num_iterations)


def _rank() -> int:
    from accelerate import PartialState

    return int(PartialState().process_index)
