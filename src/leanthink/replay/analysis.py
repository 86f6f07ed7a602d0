"""What recipes would reward and push on stored rollouts, added up piece by piece, so that files may exceed memory."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

import torch
from torch import Tensor

from leanthink.core.errors import BatchError, ConfigError, DataError
from leanthink.core.groups import group_centred, group_max, group_mean
from leanthink.core.reward import Reward, RewardN, State
from leanthink.data.fields import USUAL
from leanthink.data.records import Record
from leanthink.data.rollouts import Rollouts
from leanthink.recipe.definition import Recipe, recipe_from
from leanthink.recipe.overrides import apply_overrides
from leanthink.recipe.registry import name_of
from leanthink.recipe.scoring import is_batch_wide
from leanthink.replay.score import Replay, replay

PIECE: Final = 20_000  # responses held at once, give or take a step
TELLING: Final = 10
SHOWN: Final = 160  # characters of a response
BINS_AN_OCTAVE: Final = 2
TENTHS: Final = 10  # bins, of a prompt's mean length of right responses
BATCH: Final = "the batch, not its group"
LONGER: Final = "longer than its prompt's right responses"


@dataclass(kw_only=True)
class Bin:
    """Responses of one verdict and of similar length, or of similar length beside their prompt's right ones.

    The sums of their lengths, rewards and advantages, and of the shares by which they are longer than their prompt's
    right responses on average.
    """

    count: int = 0
    length: float = 0.0
    reward: float = 0.0
    advantage: float = 0.0
    excess: float = 0.0


@dataclass(kw_only=True)
class Tally:
    """One recipe's sums over all pieces so far.

    Attributes:
        bins: by (right, bin of length).
        beside: by (right, tenth of the prompt's mean length of right responses, by which a response is longer); of
            prompts that have a right one.
        right: right responses with an advantage; ``positive``, ``negative`` and ``zero`` ones among them.
        causes: of the right ones pushed down, the part of the reward that is most below its prompt's mean.
        longer: of them, those longer than the mean of their prompt's right responses.
        groups: prompt groups; ``silent`` of them give no signal.
    """

    bins: dict[tuple[bool, int], Bin] = field(default_factory=lambda: defaultdict(Bin))
    beside: dict[tuple[bool, int], Bin] = field(default_factory=lambda: defaultdict(Bin))
    right: int = 0
    positive: int = 0
    negative: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    longer: int = 0
    groups: int = 0
    silent: int = 0
    length_square: float = 0.0
    advantage_square: float = 0.0
    product: float = 0.0

    def right_of(self, right: bool) -> int:
        """How many responses are right, or wrong."""
        return sum(one.count for (verdict, _), one in self.bins.items() if verdict == right)

    @property
    def slope(self) -> float:
        """What 100 more tokens do to the advantage of a right response within its group; NaN without a pair."""
        return 100 * self.product / self.length_square if self.length_square else math.nan

    @property
    def correlation(self) -> float:
        """Of length and advantage among a group's right responses; NaN where either is constant."""
        spread = math.sqrt(self.length_square * self.advantage_square)
        return self.product / spread if spread else math.nan

    def add(self, one: Replay) -> None:
        """Take in a piece."""
        batch, reward_M, advantage_M = one.batch, one.reward[one.known], one.advantage[one.known]
        right_M = batch.correct == 1
        octave_M = (BINS_AN_OCTAVE * batch.length.clamp(min=1).log2()).floor().long()
        for right in (True, False):
            for place in sorted(set(octave_M[right_M == right].tolist())):
                own_M = (octave_M == place) & (right_M == right)
                into = self.bins[right, place]
                into.count += int(own_M.sum())
                into.length += float(batch.length[own_M].sum())
                into.reward += float(reward_M[own_M].sum())
        self.groups += batch.num_groups
        self._add_beside(one)
        if not len(batch) or bool(advantage_M.isnan().any()):
            return
        self.right += int(right_M.sum())
        self.positive += int((advantage_M[right_M] > 0).sum())
        down_M = right_M & (advantage_M < 0)
        self.negative += int(down_M.sum())
        mean_G = group_mean(batch.length, batch.group, right_M)
        self.longer += int((batch.length > mean_G[batch.group])[down_M].sum())
        self.causes.update(_causes(one, reward_M, down_M))
        signal_M = advantage_M
        if is_batch_wide(one.recipe):
            signal_M = group_centred(advantage_M, batch.group)
        self.silent += int((group_max(signal_M.abs(), batch.group) == 0).sum())
        if bool(right_M.any()):
            correct = batch.select(right_M)
            length_R = group_centred(correct.length, correct.group)
            advantage_R = group_centred(advantage_M[right_M], correct.group)
            self.length_square += float(length_R.square().sum())
            self.advantage_square += float(advantage_R.square().sum())
            self.product += float((length_R * advantage_R).sum())

    def _add_beside(self, one: Replay) -> None:
        """Take in rewards and advantages by how much longer a response is than its prompt's right ones."""
        batch, reward_M, advantage_M = one.batch, one.reward[one.known], one.advantage[one.known]
        right_M = batch.correct == 1
        if not bool(right_M.any()) or bool(advantage_M.isnan().any()):
            return
        mean_M = group_mean(batch.length, batch.group, right_M)[batch.group]
        counts_M = group_mean(batch.correct, batch.group)[batch.group] > 0
        excess_M = batch.length / mean_M.clamp(min=1) - 1
        place_M = (TENTHS * excess_M).round().clamp(-TENTHS, 2 * TENTHS).long()
        for right in (True, False):
            for place in sorted(set(place_M[counts_M & (right_M == right)].tolist())):
                own_M = counts_M & (place_M == place) & (right_M == right)
                into = self.beside[right, place]
                into.count += int(own_M.sum())
                into.length += float(batch.length[own_M].sum())
                into.excess += float(excess_M[own_M].sum())
                into.reward += float(reward_M[own_M].sum())
                into.advantage += float(advantage_M[own_M].sum())


def _causes(one: Replay, reward_M: RewardN, down_M: Tensor) -> Iterator[str]:
    """Why each right response that is pushed down is: the part most below its group's mean."""
    if not bool(down_M.any()):
        return
    group = one.batch.group
    names = [name for name in one.parts if "/" not in name]
    below = [group_centred(one.parts[name][one.known].nan_to_num(), group)[down_M] for name in names]
    low_D = group_centred(reward_M, group)[down_M] < 0
    least = torch.stack(below).argmin(dim=0).tolist() if below else [-1] * int(down_M.sum())
    for is_low, place in zip(low_D.tolist(), least, strict=True):
        yield BATCH if not is_low else names[place] if place >= 0 else "the reward as a whole"


@dataclass(frozen=True, kw_only=True, order=True)
class Telling:
    """A response on which two recipes disagree: ``gap`` between their advantages, in units of their usual size."""

    gap: float
    place: str
    group: str
    right: bool
    length: float
    text: str
    advantages: tuple[tuple[str, float], ...]


@dataclass(kw_only=True)
class Analysis:
    """All recipes over all pieces; feed it with :meth:`add`.

    Attributes:
        recipes: by name.
        tallies: their sums.
        responses: with a verdict.
        opposed: by pair of recipes, how many responses one pushes up and the other down.
        telling: the responses that recipes disagree on most, as a heap.
        notices: what the reader should know.
    """

    recipes: Mapping[str, Recipe]
    tallies: dict[str, Tally] = field(default_factory=dict)
    responses: int = 0
    unknown: int = 0
    opposed: Counter[tuple[str, str]] = field(default_factory=Counter)
    telling: list[Telling] = field(default_factory=list)
    notices: dict[str, None] = field(default_factory=dict)
    states: dict[str, tuple[State | None, State | None]] = field(default_factory=dict)

    def add(self, rollouts: Rollouts) -> dict[str, Replay]:
        """Score a piece by every recipe, states carried on from the piece before."""
        replays = {}
        for name, recipe in self.recipes.items():
            one = replay(recipe, rollouts, *self.states.get(name, (None, None)))
            self.states[name] = (one.state, one.advantage_state)
            replays[name] = one
        self.add_scored(rollouts, replays)
        return replays

    def add_scored(self, rollouts: Rollouts, replays: Mapping[str, Replay]) -> None:
        """Take in what recipes made of a piece."""
        known = next(iter(replays.values())).known
        self.responses += int(known.sum())
        self.unknown += int((~known).sum())
        self.notices |= dict.fromkeys([*rollouts.notices, *(text for one in replays.values() for text in one.notices)])
        for name, one in replays.items():
            self.tallies.setdefault(name, Tally()).add(one)
        shown = {name: one.advantage for name, one in replays.items() if not one.advantage[known].isnan().any()}
        scaled = {name: _scaled(advantage_N) for name, advantage_N in shown.items()}
        for pair in combinations(scaled, 2):
            first, second = (scaled[name] for name in pair)
            self.opposed[pair] += int((first * second < 0).sum())
            gap = (first - second).abs().nan_to_num(nan=-1.0)
            for row in gap.topk(min(TELLING, len(gap))).indices.tolist():
                self._offer(rollouts, replays, float(gap[row]), row)

    def most_telling(self) -> list[Telling]:
        """The responses that recipes disagree on most, the widest gap first."""
        return sorted(self.telling, reverse=True)

    def _offer(self, rollouts: Rollouts, replays: Mapping[str, Replay], gap: float, row: int) -> None:
        place = rollouts.records[row].place
        if gap <= 0 or any(one.place == place and one.gap >= gap for one in self.telling):
            return
        self.telling = [one for one in self.telling if one.place != place]
        heapq.heapify(self.telling)
        text = rollouts.texts[row] if rollouts.texts else ""
        one = Telling(
            gap=gap,
            place=place,
            group=str(rollouts.group[row])[:SHOWN],
            right=bool(rollouts.judgements[row].correct),
            length=rollouts.length[row],
            text=text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} … {text[-SHOWN // 2 :]}",
            advantages=tuple((name, float(each.advantage[row])) for name, each in replays.items()),
        )
        heapq.heappush(self.telling, one)
        if len(self.telling) > TELLING:
            heapq.heappop(self.telling)


def _scaled(advantage_N: RewardN) -> RewardN:
    """Advantages over their root mean square, so that recipes compare; 0 where all are."""
    known_N = advantage_N[~advantage_N.isnan()]
    size = float(known_N.square().mean().sqrt()) if len(known_N) else 0.0
    return advantage_N / size if size else advantage_N * 0


def pieces(records: Iterable[Record], size: int = PIECE) -> Iterator[list[Record]]:
    """Rows in pieces of about ``size``, cut where a step ends, or in files without steps where a prompt group ends.

    Raises:
        DataError: a prompt group, or a step, does not lie together, so that a piece would tear it.
    """
    piece: list[Record] = []
    seen: set[Hashable] = set()
    last: Hashable = None
    for record in records:
        key = _key(record)
        if key != last:
            if key in seen:
                what = "step" if record.has("step") else "prompt group"
                raise DataError(
                    f"{record.place}: {what} {key} goes on after others came between; sort the file by {what}, "
                    "or score it without --stream"
                )
            seen.add(key)
            if len(piece) >= size:
                yield piece
                piece = []
            last = key
        piece.append(record)
    if piece:
        yield piece


def _key(record: Record) -> Hashable:
    name = "step" if record.has("step") else next((name for name in USUAL["group"] if record.has(name)), None)
    value = record.get(name) if name else None
    return str(value).partition("_")[0] if name == "uid" else str(value)


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What changing one number of a recipe does; ``moved`` is the root mean square change of advantages, as a share.

    NaN throughout where the recipe refuses the value.
    """

    key: str
    value: float
    changed_to: float
    slope: float
    pushed_down: float
    moved: float


def sensitivities(recipe: Recipe, rollouts: Rollouts, share: float = 0.1) -> list[Sensitivity]:
    """Each number of the reward and the advantage moved down and up by ``share`` of itself (0 by ``share``).

    Raises:
        ConfigError: ``share`` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ConfigError(f"--sensitivity is {share}; give a share in (0, 1], as 0.1 for 10 % down and up")
    base = replay(recipe, rollouts)
    size = float(base.advantage[base.known].square().mean().sqrt())
    rows = []
    for key, value in numbers_of(recipe):
        step = abs(value) * share or share
        if isinstance(value, int):
            step = max(1, round(step))
        for changed in (value - step, value + step):
            rows.append(_moved(recipe, rollouts, base, size, (key, value, changed)))
    return rows


def _moved(
    recipe: Recipe, rollouts: Rollouts, base: Replay, size: float, change: tuple[str, float, float]
) -> Sensitivity:
    key, value, changed = change
    slope = pushed = moved = math.nan
    try:
        node = apply_overrides(recipe.to_node(), [f"{key}={changed!r}"], recipe.name)
        other = replay(recipe_from(node, recipe.name), rollouts)
    except (ConfigError, BatchError):  # the value is not allowed, or leaves nothing to score
        pass
    else:
        slope = other.metrics["advantage_per_100_tokens"]
        pushed = other.metrics.get("correct_pushed_down_share", math.nan)
        difference = (other.advantage - base.advantage)[base.known]
        moved = float(difference.square().mean().sqrt()) / size if size else math.nan
    return Sensitivity(key=key, value=value, changed_to=changed, slope=slope, pushed_down=pushed, moved=moved)


def numbers_of(recipe: Recipe) -> list[tuple[str, float]]:
    """The numbers in a recipe's reward and advantage by the key that changes them; those in schedules are left out.

    >>> from leanthink.recipe.definition import load_recipe
    >>> numbers_of(load_recipe("trle"))[0]
    ('reward.sigmoid_length.alpha', 0.1)
    """
    return [*_numbers(recipe.reward, "reward"), *_numbers(recipe.advantage, "advantage")]


def _numbers(part: Any, path: str) -> Iterator[tuple[str, float]]:
    here = f"{path}.{name_of(type(part))}"
    if "." in name_of(type(part)):  # the class's own dots would read as steps of the path
        return
    if dataclasses.is_dataclass(part):
        for one in dataclasses.fields(part):
            value = getattr(part, one.name)
            if isinstance(value, int | float) and not isinstance(value, bool) and one.init:
                yield f"{here}.{one.name}", value
    if isinstance(part, Reward):
        for name, child in part.children().items():
            yield from _numbers(child, f"{here}.{name}")
