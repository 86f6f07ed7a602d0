"""The mixin that makes a subclass of TRL's ``GRPOTrainer`` train by a recipe; ``LeanthinkGRPOTrainer`` is TRL's own.

It overrides names of TRL that are not public; `leanthink.trl.names` says which, and they are checked at the start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from leanthink.core.errors import ConfigError
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.recipe.keys import Profile
from leanthink.runs.folder import Run
from leanthink.training.settings import Settings
from leanthink.training.template import end_of_prompt
from leanthink.training.told import stating
from leanthink.trl.arguments import keys_of, told
from leanthink.trl.fit import fit_of
from leanthink.trl.keeping import Keeper
from leanthink.trl.names import check_names
from leanthink.trl.scorer import Generation, Row, Scorer, evaluation_metrics

if TYPE_CHECKING:
    from trl import GRPOTrainer as _Base
else:
    _Base = object

logger = logging.getLogger(__name__)


class LeanthinkMixin(_Base):  # type: ignore[misc]  # trl is untyped
    """Stands before ``GRPOTrainer``, or a subclass of it: ``class Mine(LeanthinkMixin, AxolotlGRPOTrainer)``.

    ``reward_funcs`` are the recipe's; everything else is TRL's, and goes on to it. Where the constructor is called by
    somebody else's code, a subclass names the recipe as ``recipe = "trle"``, and what else is to be said alike.

    Attributes:
        scorer: the recipe at work, with its state; ``scorer.done`` counts generations.
    """

    recipe: ClassVar[str | Path | Recipe | None] = None
    overrides: ClassVar[Sequence[str]] = ()
    profile: ClassVar[Profile] = "gpu"
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        *more: Any,
        recipe: str | Path | Recipe | None = None,
        overrides: Iterable[str] | None = None,
        profile: Profile | None = None,
        options: Mapping[str, Any] | None = None,
        gold: str | None = None,
        run: str | Path | None = None,
        keep_rollouts: bool = False,
        **named: Any,
    ) -> None:
        """Takes TRL's arguments, and these.

        Args:
            model: as TRL takes it.
            reward_funcs: none; the recipe is the reward.
            args: TRL's ``GRPOConfig``; None for `leanthink.trl.config` of the recipe.
            more: TRL's further arguments by position.
            recipe: a name, a path ending in .yaml, or a recipe.
            overrides: ``key=value``: changes to the recipe's tree, or to verl's keys, as ``config`` took them.
            profile: ``cpu`` for the recipe as it is scaled to the testbed.
            options: as `leanthink.training.Settings` has them: ``verify``, ``unknown``, ``truncated``, ``max_unknown``.
            gold: the column of the gold answer, where it has none of the usual names.
            run: a folder that keeps metrics and evaluations as `leanthink train` does, for ``report`` and ``watch``.
            keep_rollouts: whether it keeps every training response, too, for ``leanthink score``.
            named: TRL's further arguments.

        Raises:
            ConfigError: what TRL cannot do of the recipe, or an argument that would change it.
            DependencyError: a TRL whose inner names are others.
        """
        cls = type(self)
        check_names(_behind(cls))
        given, profile = recipe if recipe is not None else cls.recipe, profile or cls.profile
        if given is None:
            raise ConfigError(f"{cls.__name__} has no recipe; give recipe=, as in recipe='trle'")
        changes = list(cls.overrides if overrides is None else overrides)
        if not isinstance(given, Recipe):
            given = load_recipe(given, changes, profile)
        keys = keys_of(given, changes, profile)
        fit_of(given, keys).check()
        if args is None:
            from leanthink.trl.arguments import config

            args = config(given, changes, profile=profile)
        _check_arguments(given, reward_funcs, args, named)
        settings = Settings.of(given, **{**cls.options, **(options or {})})
        super().__init__(model, [_reward_of(given)], args, *more, **named)
        tokenizer: Any = getattr(self.processing_class, "tokenizer", self.processing_class)
        first = _first_row(self.train_dataset)
        chat = first is None or not isinstance(first.get("prompt"), str)
        prompt = end_of_prompt(tokenizer, None, self.args.chat_template_kwargs or {}) if chat else ""
        self.scorer = Scorer(settings, tokenizer, ends_of(self.model, tokenizer, self.args), prompt=prompt, gold=gold)
        if first is not None:
            self.scorer.check_row(first)
        self._leanthink_rows: list[dict[str, Any]] = []
        self._leanthink_told: Any = None  # the prompts' tokens, between generating and scoring
        self._leanthink_limit: int | None = None
        self._leanthink_made: Generation | None = None
        self._leanthink_judged: list[Any] = []
        self._leanthink_expected: int | None = None
        self._leanthink_seconds = 0.0
        self._leanthink_sampler: Any = None
        self.keeper = None if run is None else Keeper(Run(folder=Path(run)), given, keep_rollouts, profile)
        if self.accelerator.is_main_process:
            for line in told(given, keys):
                logger.warning("%s", line)
            if self.keeper is not None:
                self.keeper.open()

    # What TRL calls, in the order of a step.

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's, under the recipe's limit, with the recipe's advantages and masks."""
        train, started = self.model.training, time.perf_counter()
        self._leanthink_made, self._leanthink_told = None, None
        with self._limited(inputs, train) as stated:
            output: dict[str, Any] = super()._generate_and_score_completions(stated)
        made: Generation | None = self._leanthink_made
        if made is None:  # an evaluation
            return output
        seconds = time.perf_counter() - started
        self._metrics["train"]["timing_s/gen"].append(seconds - self._leanthink_seconds)
        self._metrics["train"]["timing_s/reward"].append(self._leanthink_seconds)
        at = self.accelerator.process_index * len(inputs)
        own = slice(at, at + len(inputs))
        output["advantages"] = fitted(made.advantage[own], output["completion_ids"])
        trained_N = made.trained_N
        if not bool(trained_N.all()):
            mask = output["completion_mask"]
            output["completion_mask"] = mask * trained_N[own].to(mask)[:, None]
            if "num_items_in_batch" in output:
                length_N = torch.tensor([fact["length"] for fact in made.facts])
                left = (length_N * trained_N).sum()
                output["num_items_in_batch"] = left.to(output["num_items_in_batch"])
        _replace_last(self._logs["advantages"], made.advantage)
        return output

    def _generate(self, prompts: list[Any]) -> Any:
        """TRL's; the prompts' tokens are remembered, because a prompt may open the thinking."""
        made = super()._generate(prompts)
        self._leanthink_told = made[0]
        return made

    def _calculate_rewards(
        self, inputs: Sequence[Mapping[str, Any]], prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Tensor:
        """The shaped rewards of all processes (N, 1); in evaluation the raw verdicts, and no state changes."""
        started, train = time.perf_counter(), bool(self.model.training)
        told = self._leanthink_told or [self.scorer.prompt_ids] * len(inputs)
        ends = self.scorer.ends
        rows = [
            Row(
                data=self._leanthink_rows[place],
                token_ids=list(ids),
                truncated=not len(ids) or ids[-1] not in ends,
                prompt_ids=list(prompt_ids),
                limit=self._leanthink_limit,
            )
            for place, (ids, prompt_ids) in enumerate(zip(completion_ids_list, told, strict=True))
        ]
        keeps = self.keeper is not None and (self.keeper.keeps_rollouts or not train)
        found = gathered(self.scorer.find(rows, keeps))
        n = int(self.num_generations if train else self.num_generations_eval)
        if train:
            made = self.scorer.train(found, n)
            self._leanthink_made, reward_N = made, made.reward_N
            for name, value in made.shaped.metrics.items():
                self._metrics["train"][f"leanthink/{name}"].append(value)
            if self.keeper is not None and self.accelerator.is_main_process:
                self.keeper.rollouts(made)
        else:
            self._leanthink_judged += found
            known = [torch.nan if one.fact["unknown"] else float(one.fact["acc"]) for one in found]
            reward_N = torch.tensor(known, dtype=torch.float64)
        self._leanthink_seconds = time.perf_counter() - started
        return reward_N.float().unsqueeze(1).to(self.accelerator.device)

    # What is kept, and what is logged.

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's, and beside it what the recipe's parts remember."""
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            passes = self.args.steps_per_generation * self.num_iterations
            self.scorer.save(folder, whole=self._step % passes == 0)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """TRL's, and what the recipe's parts remembered at that checkpoint; prompts keep their order."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.scorer.resume(Path(checkpoint))
            for _ in range(int(self.state.epoch or 0) if self._leanthink_sampler is not None else 0):
                next(iter(self._leanthink_sampler), None)  # TRL's draws an order for each epoch, and would begin anew

    def _get_train_sampler(self, *given: Any, **named: Any) -> Any:
        """TRL's; it is remembered, because a resume must draw the orders of the epochs that are over."""
        self._leanthink_sampler = super()._get_train_sampler(*given, **named)
        return self._leanthink_sampler

    def evaluate(self, eval_dataset: Any = None, *more: Any, **named: Any) -> dict[str, float]:
        """TRL's, with raw accuracy, lengths and truncation of the held-out responses."""
        self._leanthink_judged = []
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(data, str):
            data = self.eval_dataset[data]
        sized = hasattr(data, "__len__") and not isinstance(data, Mapping)  # of several data sets, each comes by itself
        self._leanthink_expected = len(data) * int(self.num_generations_eval) if sized else None
        return dict(super().evaluate(eval_dataset, *more, **named))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's; what it logs is kept in the run's folder, too."""
        if not self.model.training and self._leanthink_judged:
            # The last batch of several processes begins the data anew, so as to be full.
            judged, self._leanthink_judged = self._leanthink_judged[: self._leanthink_expected], []
            for name, value in evaluation_metrics([one.fact for one in judged]).items():
                self._metrics["eval"][f"leanthink/{name}"] = [value]
            if self.keeper is not None and self.accelerator.is_main_process:
                self.keeper.evaluation(judged, self.scorer.done)
        super().log(logs, start_time)
        if self.keeper is not None and self.accelerator.is_main_process:
            self.keeper.log(logs, self.scorer.done)

    @contextmanager
    def _limited(self, inputs: list[dict[str, Any]], train: bool) -> Iterator[list[dict[str, Any]]]:
        """Have TRL generate under the recipe's limit in training; the rows, with the limit where they state it."""
        self._leanthink_rows = inputs
        longest = int(self.args.max_completion_length)
        limits = [longest] * len(inputs)
        self._leanthink_limit = None
        if train and self.scorer.shaper.recipe.limit is not None:
            limits = self.scorer.limits(inputs, longest)
            self._leanthink_limit = limits[0]
        holders = _holders(self) if self._leanthink_limit is not None else []
        before = [getattr(holder, name) for holder, name in holders]
        for holder, name in holders:
            setattr(holder, name, self._leanthink_limit)
        try:
            yield [_stated(row, limit) for row, limit in zip(inputs, limits, strict=True)]
        finally:
            for (holder, name), value in zip(holders, before, strict=True):
                setattr(holder, name, value)


def gathered(own: list[Any]) -> list[Any]:
    """The objects of all processes, by rank; every process has the same."""
    from accelerate.utils import gather_object

    return list(gather_object(own))


def ends_of(model: Any, tokenizer: Any, args: Any = None) -> frozenset[int]:
    """The tokens that end a response: the tokenizer's, those of the model's generation settings, those asked for."""
    settings = getattr(getattr(model, "module", model), "generation_config", None)
    asked = dict(getattr(args, "generation_kwargs", None) or {})
    ends = {tokenizer.eos_token_id}
    for more in (getattr(settings, "eos_token_id", None), asked.get("eos_token_id"), asked.get("stop_token_ids")):
        ends |= set() if more is None else {more} if isinstance(more, int) else set(more)
    return frozenset(ends - {None})


def fitted(advantage: Tensor, completion_ids: Tensor) -> Tensor:
    """A process's advantages as TRL's loss takes them: (B,), or (B, T) cut or filled up to its tokens."""
    advantage = advantage.to(completion_ids.device, torch.float32)
    if advantage.dim() == 1:
        return advantage
    wide = torch.zeros(completion_ids.shape, dtype=torch.float32, device=completion_ids.device)
    width = min(wide.shape[1], advantage.shape[1])
    wide[:, :width] = advantage[:, :width]
    return wide


def _holders(trainer: Any) -> list[tuple[Any, str]]:
    """Where TRL keeps the limit that it generates under: transformers' settings, and vLLM's."""
    found = [(getattr(trainer, "generation_config", None), "max_new_tokens")]
    found.append((getattr(trainer, "vllm_generation", None), "max_completion_length"))
    return [(holder, name) for holder, name in found if holder is not None]


def _stated(row: dict[str, Any], limit: int) -> dict[str, Any]:
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return {**row, "prompt": stating([{"content": prompt}], limit)[0]["content"]}
    stated = stating(prompt, limit)
    return row if stated == list(prompt) else {**row, "prompt": stated}


def _replace_last(log: Any, advantage: Tensor) -> None:
    """Put the recipe's advantages in the place of those that TRL has logged of the same rows."""
    values = (advantage if advantage.dim() == 1 else advantage.mean(-1)).tolist()
    for _ in range(min(len(values), len(log))):
        log.pop()
    log.extend(values)


def _first_row(data: Any) -> Mapping[str, Any] | None:
    """The first row of a data set that can be looked into."""
    return data[0] if hasattr(data, "__getitem__") and len(data) else None


def _behind(cls: type) -> type:
    """The class that the mixin stands before."""
    order = cls.__mro__
    return order[order.index(LeanthinkMixin) + 1]


def _reward_of(recipe: Recipe) -> Any:
    """What TRL takes for its reward function: named after the recipe, and never called."""

    def reward(completions: Sequence[Any], **_: Any) -> list[float]:
        raise ConfigError("TRL called a reward function, so the trainer's _calculate_rewards is not leanthink's")

    reward.__name__ = recipe.name
    return reward


def _check_arguments(recipe: Recipe, reward_funcs: Any, args: Any, named: Mapping[str, Any]) -> None:
    if reward_funcs:
        raise ConfigError(
            "reward_funcs are given, but the reward is the recipe's; add yours to it as a part, "
            'as in {"my_module:MyReward": {}}'
        )
    if args.mask_truncated_completions:
        raise ConfigError(
            "mask_truncated_completions is set, which leaves cut responses out of the loss by TRL's own rule; set "
            "options={'truncated': 'mask'} instead"
        )
    for name in ("tools", "environment_factory"):
        if named.get(name):
            raise ConfigError(f"{name}: leanthink counts the tokens of single-turn responses; train without {name}")
    if args.reward_weights:
        raise ConfigError(f"reward_weights: recipe {recipe.name} is one reward; weigh its parts in the recipe")
