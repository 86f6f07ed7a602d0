"""What a training run goes by: the recipe's parts as nodes, and the run's options; it travels with the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Self, get_args

from leanthink.core.errors import ConfigError, did_you_mean
from leanthink.recipe.definition import Recipe
from leanthink.recipe.keys import PARTS
from leanthink.recipe.nodes import build
from leanthink.recipe.scoring import Truncated
from leanthink.verify.golds import Lists

NAME: Final = "leanthink"
"""Before the options' names, in a trainer's configuration and in errors."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The recipe's parts and the run's options, as every process of a trainer reads them.

    Attributes:
        recipe: the recipe's name.
        reward: its reward, as a node that ``leanthink.recipe.nodes.build`` takes; so are ``advantage``, ``loss``,
            and ``limit`` and ``stop``, which may be None.
        verify: arguments of ``leanthink.verify.Verifier``.
        unknown: what becomes of a response whose verdict is unknown: ``mask`` leaves it out of statistics and loss,
            ``wrong`` counts it as wrong.
        truncated: what becomes of a response that its limit cut off: ``keep`` trains on it, ``mask`` leaves it out of
            the loss, and ``exclude`` out of its group's statistics, too.
        gold_lists: how a list of gold answers is meant: ``any`` of them is right, or ``all`` are asked for.
        max_unknown: training stops when a larger share of a batch's verdicts, or of its probes, is unknown.
        changed_recipe: what becomes of a resume whose reward, limit or advantage is not the checkpoint's: ``refuse``
            it, or ``migrate``, so that each part goes on with the state saved under its name.
        check_template: whether a reward is refused that takes the chat template to open the thinking where it does not,
            or the other way round.

    Raises:
        ConfigError: an option out of range.
    """

    recipe: str
    reward: Any
    advantage: Any
    loss: Any
    limit: Any = None
    stop: Any = None
    verify: Mapping[str, Any] = field(default_factory=dict)
    unknown: Literal["mask", "wrong"] = "mask"
    truncated: Truncated = "keep"
    gold_lists: Lists = "any"
    max_unknown: float = 0.5
    changed_recipe: Literal["refuse", "migrate"] = "refuse"
    check_template: bool = True

    earlier_checkpoint: ClassVar[str] = "resume from an earlier one"
    """How this trainer resumes from another checkpoint than its last, for errors."""

    def __post_init__(self) -> None:
        if self.unknown not in ("mask", "wrong"):
            raise ConfigError(f"leanthink.unknown is {self.unknown!r}; give mask or wrong")
        if self.truncated not in get_args(Truncated):
            raise ConfigError(f"leanthink.truncated is {self.truncated!r}; give keep, mask or exclude")
        if self.gold_lists not in get_args(Lists):
            raise ConfigError(f"leanthink.gold_lists is {self.gold_lists!r}; give any or all")
        if self.changed_recipe not in ("refuse", "migrate"):
            raise ConfigError(f"leanthink.changed_recipe is {self.changed_recipe!r}; give refuse or migrate")
        if not isinstance(self.max_unknown, int | float) or not 0 <= self.max_unknown <= 1:
            raise ConfigError(f"leanthink.max_unknown is {self.max_unknown!r}; give a share between 0 and 1")

    @classmethod
    def of(cls, recipe: Recipe, **options: Any) -> Self:
        """The settings of a run of ``recipe``.

        Raises:
            ConfigError: an option that is none.
        """
        allowed = set(cls.__dataclass_fields__) - {"recipe", *PARTS}
        for name in options:
            if name not in allowed:
                raise ConfigError(f"{NAME}.{name}: no such option; {did_you_mean(name, allowed)}")
        return cls(recipe=recipe.name, **recipe.parts(), **options)

    @classmethod
    def from_node(cls, node: Mapping[str, Any]) -> Self:
        """The settings that :meth:`node` has written.

        Raises:
            ConfigError: a key that is none.
        """
        known = cls.__dataclass_fields__
        for key in node:
            if key not in known:
                raise ConfigError(f"{NAME}.{key}: no such setting; {did_you_mean(key, known)}")
        return cls(**node)

    def node(self) -> dict[str, Any]:
        """The settings as a configuration holds them; those at their default are left out."""
        fields = self.__dataclass_fields__.items()
        return {key: getattr(self, key) for key, field_ in fields if getattr(self, key) != _default(field_)}

    def parts(self) -> dict[str, Any]:
        """The nodes of the recipe's parts."""
        return {part: getattr(self, part) for part in PARTS if getattr(self, part) is not None}

    def build(self) -> Recipe:
        """The recipe that every process evaluates."""
        place = f"recipe {self.recipe}"
        parts = {part: build(node, part, f"{place}, {part}") for part, node in self.parts().items()}  # type: ignore[arg-type]
        return Recipe(name=self.recipe, **parts)


def _default(field_: Any) -> Any:
    return field_.default_factory() if callable(field_.default_factory) else field_.default
