"""A guard for length penalties: lets go while accuracy is down, takes hold again when it is back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

from leanthink.core.batch import RolloutBatch
from leanthink.core.control import StatefulComposite, wrong_count
from leanthink.core.errors import ConfigError
from leanthink.core.reward import Part, Reward, RewardN, Scope, State


@final
@dataclass(frozen=True, kw_only=True)
class CollapseGuard(StatefulComposite):
    """``w`` times another reward, ``of``, and ``1 - w`` times ``relaxed``; ``w`` falls while accuracy is down.

    Our own method, from no paper. With the accuracy ``a`` (share of correct responses) of the step's training batch:

    - smoothed ``s <- s + (a - s) / min(n, window)`` at the n-th batch, a plain mean at first;
    - reference ``r <- max(s, r - forget)``, the best smoothed accuracy, behind the ``window``-th batch;
    - relaxing begins where ``s < r - drop`` and ends where ``s >= r - release``: hysteresis, as ``release < drop``;
    - while relaxing ``w <- max(floor, w - relax)``, else ``w <- min(1, w + tighten)``.

    It falls by steps to 0, not by factors: an advantage that divides by the deviation makes a small penalty as strong
    as a large one wherever nothing else differs.

    The batch is scored by the new ``w``: its accuracy is known before it is trained on. Each beginning and each end is
    an intervention: it is counted, shown among the metrics and written to the log. Validation is never read. An empty
    batch changes nothing. Up to the ``window``-th batch the reference is the mean so far. Where
    ``algorithm.filter_groups`` is on, the batch is of the groups kept, and so is its accuracy: without the all-wrong
    groups, it hides a collapse.

    Args:
        of: the penalty, or a whole reward with a penalty in it.
        relaxed: what takes its place, a term for a term; none is 0, for a penalty that is a term to be added. Give the
            plain reward (``correct``) where ``of`` is a whole reward.
        drop: how far accuracy may fall below the reference, in (0, 1).
        release: how near it must be again; below ``drop``.
        window: batches over which accuracy is smoothed. Choose ``drop`` above twice the noise of that mean: 16 prompts
            over 5 batches have 0.04.
        relax: taken off ``w`` by step while relaxing, in (0, 1].
        tighten: added by step afterwards, in (0, 1].
        floor: the least ``w``.
        forget: by how much the reference falls a step; above 0 lets a lasting change of the data pass.

    >>> from leanthink.rewards import KimiLength
    >>> guard = CollapseGuard(of=KimiLength(), window=1, relax=0.5)
    >>> good = RolloutBatch.of(group=[0] * 4, length=[10, 20, 30, 40], correct=[1, 1, 1, 1])
    >>> _, state = guard(good)
    >>> guard(good.replace(correct=[1, 1, 0, 0], step=1), state)[1]["own"]["weight"]
    0.5
    """

    of: Reward
    relaxed: Reward | None = None
    drop: float = 0.05
    release: float = 0.02
    window: int = 10
    relax: float = 0.5
    tighten: float = 0.05
    floor: float = 0.0
    forget: float = 0.0
    scope = Scope.BATCH

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.drop < 1 or not 0 <= self.release < self.drop:
            raise ConfigError(
                f"collapse_guard: drop is {self.drop} and release {self.release}; give a drop in accuracy between 0 "
                "and 1, and a release from 0 on below it"
            )
        if self.window < 1 or self.window % 1 or not 0 <= self.forget < 1:
            raise ConfigError(
                f"collapse_guard: window is {self.window} and forget {self.forget}; give a window of whole batches, 1 "
                "or more, and a forget from 0 on, below 1"
            )
        if not 0 < self.relax <= 1 or not 0 < self.tighten <= 1 or not 0 <= self.floor < 1:
            raise ConfigError(
                f"collapse_guard: relax is {self.relax}, tighten {self.tighten} and floor {self.floor}; give relax and "
                "tighten above 0, up to 1, and a floor from 0 on, below 1"
            )
        if self.relaxed is None and not self.of.is_term:
            raise ConfigError(
                f"collapse_guard: {type(self.of).__name__} is a whole reward, and relaxed it would vanish; give "
                "`relaxed`, the reward without the penalty, such as correct"
            )
        if self.relaxed is not None and self.relaxed.is_term != self.of.is_term:
            kinds = {True: "a term to be added", False: "a whole reward"}
            raise ConfigError(
                f"collapse_guard: of is {kinds[self.of.is_term]} ({type(self.of).__name__}), and relaxed, which takes "
                f"its place, {kinds[self.relaxed.is_term]} ({type(self.relaxed).__name__}); give two of a kind, or, "
                "where of is a term, no relaxed"
            )

    @property
    def is_term(self) -> bool:
        """As what it guards."""
        return self.of.is_term

    def start(self) -> State:
        """Hold, without a reference."""
        return {"weight": 1.0, "accuracy": 0.0, "reference": 0.0, "batches": 0, "relaxing": 0, "interventions": 0}

    def steer(self, batch: RolloutBatch, own: State) -> State:
        """Accuracy, reference and weight after the batch."""
        if not len(batch):
            return own
        batches = own["batches"] + 1
        accuracy = own["accuracy"] + (float(batch.correct.mean()) - own["accuracy"]) / min(batches, self.window)
        reference = max(accuracy, own["reference"] - self.forget) if batches > self.window else accuracy
        relaxing = int(accuracy < reference - (self.release if own["relaxing"] else self.drop))
        weight = max(self.floor, own["weight"] - self.relax) if relaxing else min(1.0, own["weight"] + self.tighten)
        return {
            "weight": weight,
            "accuracy": accuracy,
            "reference": reference,
            "batches": batches,
            "relaxing": relaxing,
            "interventions": own["interventions"] + int(relaxing != own["relaxing"]),
        }

    def update(self, batch: RolloutBatch, part: Part, own: State) -> tuple[RewardN, State]:
        """The parts by the weight that this batch makes, and that weight."""
        own = self.steer(batch, own)
        reward_N = own["weight"] * part("of", batch)
        if self.relaxed is not None:
            reward_N = reward_N + (1 - own["weight"]) * part("relaxed", batch)
        return reward_N, own

    def shown(self, step: int, state: State) -> Mapping[str, float]:
        """The weight in force, and why."""
        return {name: float(state[name]) for name in ("weight", "accuracy", "reference", "relaxing", "interventions")}

    def events(self, before: State, after: State) -> Iterable[str]:
        """A beginning or an end of relaxing."""
        if before["relaxing"] == after["relaxing"]:
            return ()
        what = (
            "collapse guard relaxes the penalty" if after["relaxing"] else "collapse guard tightens the penalty again"
        )
        return (f"{what}: accuracy {after['accuracy']:.3f}, reference {after['reference']:.3f}",)

    def wrong_state(self, state: State) -> str | None:
        """A weight, an accuracy, or a count that is none."""
        for name, least in (("weight", self.floor), ("accuracy", 0.0), ("reference", 0.0)):
            if not least <= state[name] <= 1:
                return f"{name} is {state[name]}; give a number from {least:g} to 1"
        if state["relaxing"] not in (0, 1):
            return f"relaxing is {state['relaxing']}; give 0 or 1"
        return wrong_count({name: state[name] for name in ("batches", "interventions")})

    def taken_over(self, before: CollapseGuard, saved: State) -> State:
        """The weight, from the present floor on."""
        return {**saved, "weight": max(saved["weight"], self.floor)}
