"""Rewards that read probes: short answers the policy gives when its thinking is cut off and closed.

Which settings they share, and what is to be asked about one response. Who asks is not decided here: in training it is
an agent loop with the rollout engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from leanthink.core.errors import ConfigError
from leanthink.core.reward import PlacedReward, Reward
from leanthink.rewards.segmentation import MARKERS, cut_points, find_thinking, thinned, token_at, token_pieces

CUT_TOKENS: Final = "cut_tokens"
"""The column of token indices: where each probed step of a response begins and, last, where its thinking ends."""
PROBE_ACCURACIES: Final = "probe_accuracies"
"""The column of accuracies of the answers asked for at each of these tokens; None or NaN where not known."""


class Prefix(NamedTuple):
    """What a probe continues: token ids of the response, the last ``closing`` of which close (or open) the thinking."""

    token_ids: list[int]
    closing: int


@dataclass(frozen=True, kw_only=True)
class ProbePlan:
    """Where a response is cut: K steps give K + 1 ``cut_tokens`` and prefixes; None is not asked. Both may be empty."""

    cut_tokens: list[int]
    prefixes: list[Prefix | None]


@dataclass(frozen=True, kw_only=True)
class ProbedReward(PlacedReward):
    r"""A reward by step of thinking, which the policy's answers from the cuts decide. Write :meth:`place`.

    Args:
        markers: step openers, matched in any place of a word, case-sensitive.
        whole_word: match them as whole words only (an addition to VSRM's code).
        skip_chars: characters at the start of the thinking in which no marker counts.
        min_gap_chars: characters between a marker and the cut before it.
        sentence_ends: signs right after which a cut may be moved; none: a cut stands at its marker.
        max_cuts: cuts of one response, spread evenly over those found; None for all.
        open_tag: what opens the thinking; a prompt may end in it.
        close_tag: what closes it, the verifier's ``thinking_end``; it is put after each prefix, and nothing else.
        probes: answers asked for from each prefix.
        max_probes: answers asked for about one response; fewer cuts are made where they would be more.
        probe_tokens: limit of one answer, in tokens.
        probe_temperature: None for the rollout's; so is ``probe_top_p``.
        probe_empty: ask from the empty thinking, too, and pay the first step.
        truncated_last_prefix: what is asked at the end of a thinking that was never closed: "close" closes it,
            "skip" asks nothing and leaves out the last step, "code" asks from the opening tag alone, as VSRM's code
            does by mistake.
    """

    markers: tuple[str, ...] = MARKERS
    whole_word: bool = False
    skip_chars: int = 1000
    min_gap_chars: int = 400
    sentence_ends: str = ".!?\n"
    max_cuts: int | None = None
    open_tag: str = "<think>"
    close_tag: str = "</think>"
    probes: int = 5
    max_probes: int | None = None
    probe_tokens: int = 768
    probe_temperature: float | None = None
    probe_top_p: float | None = None
    probe_empty: bool = False
    truncated_last_prefix: Literal["close", "skip", "code"] = "close"

    def __post_init__(self) -> None:
        object.__setattr__(self, "markers", tuple(self.markers))  # a list, too, must compare and hash
        least_probes = self.probes * (2 + self.probe_empty)  # one cut, the end of the thinking, and its start
        temperature, top_p, most_probes = self.probe_temperature, self.probe_top_p, self.max_probes
        for name, fine, allowed in (
            ("markers", self.markers and all(self.markers), "at least one, and none of them empty"),
            ("open_tag", self.open_tag, "the model's own, as <think>"),
            ("close_tag", self.close_tag, "the model's own, as </think>"),
            ("skip_chars", self.skip_chars >= 0, "0 or more"),
            ("min_gap_chars", self.min_gap_chars >= 0, "0 or more"),
            ("max_cuts", self.max_cuts is None or self.max_cuts >= 1, "1 or more, or none for all"),
            ("probes", self.probes >= 1, "1 or more"),
            ("max_probes", most_probes is None or most_probes >= least_probes, f"{least_probes} or more: one cut's"),
            ("probe_tokens", self.probe_tokens >= 1, "1 or more"),
            ("probe_temperature", temperature is None or temperature >= 0, "0 or more, or none for the rollout's"),
            ("probe_top_p", top_p is None or 0 < top_p <= 1, "above 0 and up to 1, or none for the rollout's"),
        ):
            if not fine:
                raise ConfigError(f"{type(self).__name__}: {name} is {getattr(self, name)!r}; give {allowed}")

    @property
    def requires(self) -> frozenset[str]:
        """The two columns of probes."""
        return frozenset({CUT_TOKENS, PROBE_ACCURACIES})

    @property
    def cut_limit(self) -> int | None:
        """The cuts of one response that ``max_cuts`` and ``max_probes`` allow; None for any number."""
        limits = [] if self.max_cuts is None else [self.max_cuts]
        if self.max_probes is not None:
            limits.append(self.max_probes // self.probes - 1 - self.probe_empty)
        return min(limits, default=None)

    def plan(
        self,
        token_ids: Sequence[int],
        decode: Callable[[Sequence[int]], str],
        close_ids: Sequence[int],
        opened_by_prompt: bool = False,
    ) -> ProbePlan:
        """What to ask about one response, found in the tokens that were sampled, without tokenising anything again.

        Args:
            token_ids: the response, without end tokens.
            decode: from ids to text, special tokens kept.
            close_ids: the ids of ``close_tag``.
            opened_by_prompt: whether the prompt ends in ``open_tag``.
        """
        ids = list(token_ids)
        pieces = token_pieces(ids, decode)
        text = "".join(pieces)
        thinking = find_thinking(text, self.open_tag, self.close_tag, opened_by_prompt)
        if thinking is None:
            return ProbePlan(cut_tokens=[], prefixes=[])
        found = cut_points(
            text,
            thinking.begin,
            thinking.end,
            self.markers,
            whole_word=self.whole_word,
            skip_chars=self.skip_chars,
            min_gap_chars=self.min_gap_chars,
            sentence_ends=self.sentence_ends,
        )
        cuts = [*([thinking.begin] if self.probe_empty else []), *thinned(found, self.cut_limit)]
        if not cuts:
            return ProbePlan(cut_tokens=[], prefixes=[])
        tokens = list(dict.fromkeys(token_at(pieces, cuts)))  # two cuts may fall into one token
        prefixes: list[Prefix | None] = [Prefix([*ids[:token], *close_ids], len(close_ids)) for token in tokens]
        end, last = self._last_prefix(ids, pieces, thinking.begin, thinking.end, thinking.closed, list(close_ids))
        return ProbePlan(cut_tokens=[*tokens, end], prefixes=[*prefixes, last])

    def _last_prefix(
        self, ids: list[int], pieces: list[str], begin: int, end: int, closed: int | None, close_ids: list[int]
    ) -> tuple[int, Prefix | None]:
        """The token at which the thinking ends, and what is asked after the whole of it."""
        if closed is not None:
            first, last = token_at(pieces, [end, closed - 1])
            return first, Prefix(ids[: last + 1], last + 1 - first)
        if self.truncated_last_prefix == "close":
            return len(ids), Prefix([*ids, *close_ids], len(close_ids))
        if self.truncated_last_prefix == "skip":
            return len(ids), None
        opening = 0 if begin == 0 else token_at(pieces, [begin - 1])[0] + 1
        return len(ids), Prefix(ids[:opening], opening)


def probed_part(reward: Reward) -> ProbedReward | None:
    """The part of a reward tree that reads probes; None without one.

    Raises:
        ConfigError: two parts want different probes, and a response is probed once.
    """
    parts = list(dict.fromkeys(part for part in reward.walk() if isinstance(part, ProbedReward)))
    if len(parts) > 1:
        raise ConfigError(
            f"the reward has {len(parts)} different parts that read probes, and a response is probed only once; "
            "keep one, or give them the same arguments"
        )
    return parts[0] if parts else None
