"""Every registered reward and advantage, and every shipped recipe's reward, keeps the contract.

A new registry entry needs an example here, at settings that make it bite.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from leanthink.algorithms import (
    AdaptiveTopK,
    Advantage,
    BatchNorm,
    DifficultyWeight,
    Drpo,
    FilterTopK,
    Gae,
    Grpo,
    Loss,
    MasteredTokenMask,
    ModeSwitch,
    NoBaseline,
    OutcomeAndSteps,
    PpoClip,
    ReinforcePp,
    Rloo,
    TokenAdvantage,
    VerlAdvantage,
)
from leanthink.core.errors import ConfigError
from leanthink.core.limits import FromReward, Limit, PerPassRate, PerStep
from leanthink.core.reward import Composite, Reward
from leanthink.core.schedules import Cosine, Cyclic, Decay, Exponential, Interleaved, Linear, Schedule, Stairs
from leanthink.core.stopping import StopBias
from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.registry import REGISTRY, build, describe
from leanthink.rewards import (
    AdaptiveStepLength,
    Chain,
    Clip,
    CollapseGuard,
    Conciseness,
    ConcisenessScore,
    Correct,
    CosineLength,
    DifficultyTruncation,
    DynamicLength,
    EarlyExit,
    ExactBudget,
    Format,
    Freeze,
    Gate,
    GroupNormalize,
    HarmonizingLength,
    HistoryLength,
    KimiLength,
    LambdaSwitch,
    LevelLength,
    LongestCorrectLength,
    MaxBudget,
    ModeSwitchReward,
    PassRateAtLeast,
    PassRateLength,
    QuantileBudget,
    Readable,
    Repetition,
    Running,
    Scale,
    ShortestCorrectLength,
    SigmoidLength,
    SoftOverlong,
    StepLength,
    StepwiseGain,
    Sum,
    SurrogateLength,
    Switch,
    TagPair,
    ThinkingCompression,
    ThinkOutcome,
    TokenRepetition,
    TopPassRate,
    TriangleLength,
    Truncation,
    WordRepetition,
)
from leanthink.testing import Columns, check_advantage, check_reward, check_token_advantage

SCORE = ConcisenessScore(scorer="leanthink.testbed.scorer:few_rechecks")
OVERLONG = SoftOverlong(limit=12_000, buffer=4000)

FORM = ThinkOutcome(right=2.0, wrong=1.0, no_box=0.0, no_block=0.0)

REWARDS: dict[str, list[Reward]] = {
    "adaptive_step_length": [
        AdaptiveStepLength(lower_bound=1000, interval=1000, monitor_freq=2),
        AdaptiveStepLength(lower_bound=1000, interval=1000, monitor_freq=1, cap_to_batch_max=True),
        AdaptiveStepLength(lower_bound=500, target_length=4000, explore=True, valid=FORM, rounding="floor"),
    ],
    "chain": [Chain(base=Correct(right=2), overlong=Sum(so_far=Running(), late=OVERLONG), clip=Clip(low=0.0))],
    "clip": [Clip(low=-0.25, high=0.5), Clip(high=0.5, of=Correct())],
    "collapse_guard": [
        CollapseGuard(of=KimiLength(), window=1),
        CollapseGuard(of=SigmoidLength(alpha=0.4), relaxed=Correct(), window=3, forget=0.01),
    ],
    "conciseness": [
        Conciseness(scores=SCORE, alpha=0.5, annealing=Linear(start=1.0, stop=0.0, steps=30)),
        Conciseness(scores=SCORE, alpha=2.0, difficulty="column", of=Correct(wrong=-1.0)),
    ],
    "conciseness_score": [SCORE],
    "correct": [Correct(), Correct(right=0.1, wrong=-1.0)],
    "cosine_length": [CosineLength(limit=14_000, margin=16), CosineLength(limit=9000, wrong_at_0=-1, exceed=None)],
    "difficulty_truncation": [
        DifficultyTruncation(thresholds=(0.5,), lengths=(12_000, 4000)),
        DifficultyTruncation(
            thresholds=(0.25, 0.75),
            lengths=(12_000, 8000, 600),
            kappa=Linear(start=1.0, stop=0.0, steps=30),
            of=SigmoidLength(alpha=0.4),
            equality="hard",
        ),
    ],
    "dynamic_length": [DynamicLength(limit=12_000), DynamicLength(limit=4096, apply_to_correct=True)],
    "early_exit": [EarlyExit(), EarlyExit(decay=1.5, include_full_path=False, inducer=" </think> ", places="steps")],
    "exact_budget": [ExactBudget(), ExactBudget(alpha=0.002, counts="thinking")],
    "format": [
        Format(),
        Format(kept=0.0, broken=-1, opened_by_prompt=True),
        Format(answer_tags=("<answer>", "</answer>"), strict=True),
    ],
    "freeze": [Freeze(of=Sum(correct=Correct(), format=Scale(by=0.5, of=Format())))],
    "gate": [
        Gate(column="budget", of=OVERLONG),
        Gate(column="correct", negate=True),
        Gate(column="truncated", of=KimiLength()),
    ],
    "group_normalize": [
        GroupNormalize(),
        GroupNormalize(of=KimiLength(), ddof=0),
        GroupNormalize(of=OVERLONG, divide=False),
    ],
    "harmonizing_length": [
        HarmonizingLength(),
        HarmonizingLength(accuracy_weight=5.0, reference="current", clip=(-2.0, 4.0), standardize="group"),
        HarmonizingLength(standardize="batch"),
    ],
    "history_length": [HistoryLength(), HistoryLength(mode="mean", shape="linear", floor=-0.2)],
    "kimi_length": [KimiLength()],
    "lambda_switch": [
        LambdaSwitch(top_fraction=0.5, shaped=SigmoidLength(alpha=0.4), plain=Correct()),
        LambdaSwitch(
            top_fraction=Linear(start=0.0, stop=1.0, steps=30),
            ties="random",
            min_groups=1,
            shaped=Sum(correct=Correct(), late=Scale(by=0.5, of=OVERLONG)),
            plain=Correct(),
        ),
        LambdaSwitch(mode="threshold", threshold=0.5, shaped=SigmoidLength(alpha=0.4), plain=Correct()),
    ],
    "level_length": [LevelLength(limit=8000, prices=(0.6,))],  # of several levels each group has one
    "longest_correct_length": [LongestCorrectLength(), LongestCorrectLength(pay_wrong=True)],
    "max_budget": [MaxBudget(alpha=0.0003), MaxBudget(delta=1.0, counts="thinking")],
    "mode_switch_reward": [
        ModeSwitchReward(),
        ModeSwitchReward(margin=0.25),
        ModeSwitchReward(threshold=0.5, wrong=-1.0, warm_up=Linear(start=0.0, stop=1.0, steps=30)),
    ],
    "pass_rate_at_least": [
        PassRateAtLeast(threshold=0.5),
        PassRateAtLeast(threshold=Linear(start=0.0, stop=1.0, steps=30)),
    ],
    "pass_rate_length": [PassRateLength(), PassRateLength(beta=0.1, length_norm=16_000)],
    "quantile_budget": [
        QuantileBudget(longest=16_000, threshold=0.5),
        QuantileBudget(
            longest=12_000, floor=9, tau=1.0, lengths="all", strict=True, anchor="observed_max", remembered=2
        ),
    ],
    "readable": [Readable(), Readable(opened_by_prompt=True)],
    "repetition": [Repetition(size=1), Repetition(size=2, penalty=-1)],
    "running": [Running()],
    "scale": [Scale(by=Linear(start=1.0, stop=0.1, steps=30), of=Correct()), Scale(by=-2.0)],
    "shortest_correct_length": [ShortestCorrectLength(), ShortestCorrectLength(beta=0.01, max_distance=50)],
    "sigmoid_length": [SigmoidLength(alpha=0.4), SigmoidLength(alpha=0.9, ddof=1, eps=1.0, check_eos=False)],
    "soft_overlong": [OVERLONG, SoftOverlong(limit=4000, buffer=4000, factor=2.0, clamp=False)],
    "step_length": [StepLength(target=4000), StepLength(target=Linear(start=9000, stop=500, steps=30), valid=FORM)],
    "stepwise_gain": [StepwiseGain(), StepwiseGain(window=1, decay=1.0, placement="step_end", combine="overwrite")],
    "sum": [
        Sum(correct=Correct(), length=Scale(by=1.5, of=KimiLength())),
        Sum(
            correct=Correct(right=5.0), steps=Scale(by=0.5, of=Gate(column="correct", of=StepwiseGain())), late=OVERLONG
        ),
    ],
    "surrogate_length": [
        SurrogateLength(limit=12_000),
        SurrogateLength(limit=12_000, turning_point=0.25, format=Readable(), gate_on_correct=True),
    ],
    "switch": [Switch(select=PassRateAtLeast(threshold=0.6), shaped=SigmoidLength(alpha=0.4), plain=Correct())],
    "tag_pair": [TagPair(), TagPair(open_tag="<think>", close_tag="</think>", apart_from=("<answer>", "</answer>"))],
    "think_outcome": [ThinkOutcome(no_box=0.0, no_block=0.0)],  # with its penalties, form comes before correctness
    "thinking_compression": [
        ThinkingCompression(),
        ThinkingCompression(gamma=0.5, kept="nonempty", opened_by_prompt=True),
    ],
    "token_repetition": [TokenRepetition(size=1), TokenRepetition(size=2, penalty=-1, discount=1)],
    "top_pass_rate": [
        TopPassRate(top_fraction=0.5),
        TopPassRate(rounding="ceil", ties="all"),
        TopPassRate(top_fraction=0.5, ties="random", seed=3),
    ],
    "triangle_length": [
        TriangleLength(budget=Decay(start=9000, factor=0.7, interval=10)),
        TriangleLength(budget=4000, peak=0.5, shape="band", gate_on_correct=True),
    ],
    "truncation": [
        Truncation(),
        Truncation(kappa=0.1, of=SigmoidLength(alpha=0.4, check_eos=False), limit=8000),
        Truncation(kappa=0.5, of=Correct(right=1.0, wrong=-1.0), rule="add"),
        Truncation(of=KimiLength(), rule="add"),
    ],
    "word_repetition": [WordRepetition(max_penalty=-1, size=1)],
}

OTHERS: dict[str, list[Any]] = {
    "adaptive_top_k": [
        AdaptiveTopK(),
        AdaptiveTopK(k=(3, 2), metric="token_efficiency", of=Rloo(), shift_negative=True, ready_after=3, remembered=5),
    ],
    "batch_norm": [
        BatchNorm(),
        BatchNorm(level="response", ddof=0, floor="clamp", singleton="own"),
        BatchNorm(boost=0.1, eps=0.1),
    ],
    "filter_top_k": [
        FilterTopK(k=2),
        FilterTopK(k=3, metric="token_efficiency", of=Rloo(), shift_negative=True),
    ],
    "grpo": [Grpo(), Grpo(scale="none"), Grpo(ddof=0, eps=0.0)],
    "no_baseline": [NoBaseline()],
    "outcome_and_steps": [OutcomeAndSteps(), OutcomeAndSteps(scale="std")],
    "rloo": [Rloo()],
    "drpo": [
        Drpo(length_temperature=0.1, limit=8192.0),
        Drpo(length_temperature=None, tau=None, score="Lratio", form="advantage"),
        Drpo(length_temperature=0.5, preference="reward", kl_type="low_var_kl", keep_all_correct=True),
    ],
    "mastered_token_mask": [
        MasteredTokenMask(),
        MasteredTokenMask(of=PpoClip(high=0.28), probability=0.9, target_entropy=0.5),
    ],
    "mode_switch": [ModeSwitch(), ModeSwitch(weight=1.0, form="logistic", of=PpoClip(high=0.28))],
    "ppo_clip": [PpoClip(), PpoClip(high=0.28, aggregation="seq-mean-token-mean")],
    "cosine": [Cosine(start=1.0, stop=0.5, steps=7)],
    "cyclic": [Cyclic(high=8.0, low=4.0, period=10)],
    "decay": [
        Decay(start=256, factor=0.7, interval=150),
        Decay(start=256, stop=87, drops=3, steps=600, shape="linear"),
    ],
    "exponential": [Exponential(start=8.0, rate=0.5, limit=1.0)],
    "interleaved": [Interleaved(high=16384, low=8192, period=640, shape="stair_cosine")],
    "linear": [Linear(start=0.0, stop=1.0, steps=5, delay=2)],
    "stairs": [Stairs(values=(0.0, 1.0), boundaries=(3,))],
    "from_reward": [FromReward(), FromReward(factor=1.5)],
    "per_pass_rate": [PerPassRate(thresholds=(0.5,), lengths=(4000, 2000), equality="hard", remembered=9)],
    "per_step": [PerStep(at_most=4000), PerStep(at_most=Linear(start=4000, stop=2000, steps=90))],
    "stop_bias": [StopBias(bias=2.0), StopBias(bias=-1.0, marker="</thought>", at_least=32)],
    "gae": [Gae(), Gae(gamma=0.99, lam=0.95)],
    "reinforce_pp": [ReinforcePp(), ReinforcePp(gamma=0.9)],
    "difficulty_weight": [
        DifficultyWeight(),
        DifficultyWeight(stage="easy", of=Rloo()),
        DifficultyWeight(stage="binary_medium", of=BatchNorm(boost=0.1)),
    ],
}

SERVED = ConcisenessScore(scorer="leanthink.verl.rollout.reward_model:conciseness")  # no model is served to a test

COLUMNS: Columns = {  # how to draw each column that some reward reads
    SERVED.column: lambda generator, n: 0.1 + 0.9 * torch.rand(n, generator=generator),
    Readable().column: lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double(),
    "answer_kept": lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double(),
    "at_most": lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double(),
    "budget": lambda generator, n: torch.randint(0, 4, (n,), generator=generator) * 512.0,
    "cut_tokens": lambda generator, n: [
        torch.randint(0, 1200, (row % 5,), generator=generator).sort().values.tolist() for row in range(n)
    ],
    "exit_order": lambda generator, n: torch.randint(0, 6, (n,), generator=generator).double(),
    "kept_thinking_tokens": lambda generator, n: torch.randint(0, 40, (n,), generator=generator).double(),
    "mode": lambda generator, n: torch.randint(0, 2, (n,), generator=generator).double(),
    "probe_accuracies": lambda generator, n: [
        [None if share == 6 else share / 5 for share in torch.randint(0, 7, (row % 5,), generator=generator).tolist()]
        for row in range(n)
    ],
    "length_level": lambda generator, n: torch.zeros(n),
    "prompt_key": lambda generator, n: [f"p{key}" for key in torch.randint(0, 3, (n,), generator=generator).tolist()],
    "prompt_difficulty": lambda generator, n: torch.rand(n, generator=generator),
    "reference_accuracy": lambda generator, n: torch.rand(n, generator=generator),
    "reference_length": lambda generator, n: torch.randint(0, 16_000, (n,), generator=generator),
    "thinking_end_token": lambda generator, n: torch.randint(-1, 60, (n,), generator=generator).double(),
    "thinking_length": lambda generator, n: torch.randint(0, 9000, (n,), generator=generator).double(),
    "thinking_tokens": lambda generator, n: torch.randint(40, 80, (n,), generator=generator).double(),
}

WRONG_MAY_BEAT_CORRECT = (CosineLength, HarmonizingLength, SurrogateLength)  # by their papers' formula
NOT_CENTRED = (NoBaseline,)

EXAMPLES = [reward for examples in REWARDS.values() for reward in examples]
ADVANTAGES = [value for examples in OTHERS.values() for value in examples if isinstance(value, Advantage)]
TOKEN_ADVANTAGES = [value for examples in OTHERS.values() for value in examples if isinstance(value, TokenAdvantage)]
SETTINGS = [value for examples in OTHERS.values() for value in examples if isinstance(value, VerlAdvantage)]
SCHEDULES = [value for examples in OTHERS.values() for value in examples if isinstance(value, Schedule)]
LOSSES = [value for examples in OTHERS.values() for value in examples if isinstance(value, Loss)]
LIMITS = [value for examples in OTHERS.values() for value in examples if isinstance(value, Limit)]
STOPS = [value for examples in OTHERS.values() for value in examples if isinstance(value, StopBias)]


def test_every_registered_name_has_examples_of_its_class() -> None:
    registered = {name: cls for table in REGISTRY.values() for name, cls in table.items()}
    examples = {**REWARDS, **OTHERS}
    assert examples.keys() == registered.keys(), "add the new entry to REWARDS or OTHERS above"
    for name, values in examples.items():
        assert values and all(type(value) is registered[name] for value in values), name


def columns_of(reward: Reward) -> Columns:
    return {name: COLUMNS[name] for name in reward.requires if name in COLUMNS}


@pytest.mark.parametrize("reward", EXAMPLES, ids=lambda reward: repr(reward)[:80])
def test_every_reward_keeps_the_contract(reward: Reward) -> None:
    any_order = isinstance(reward, WRONG_MAY_BEAT_CORRECT)
    check_reward(reward, columns_of(reward), wrong_may_beat_correct=any_order, steps=(0, 15, 1000), rounds=10)


@pytest.mark.parametrize("advantage", ADVANTAGES, ids=repr)
def test_every_advantage_keeps_the_contract(advantage: Advantage) -> None:
    check_advantage(advantage, centred=not isinstance(advantage, NOT_CENTRED), rounds=30)


@pytest.mark.parametrize("advantage", TOKEN_ADVANTAGES, ids=repr)
def test_every_advantage_by_token_keeps_the_contract(advantage: TokenAdvantage) -> None:
    check_token_advantage(advantage, rounds=30)


@pytest.mark.parametrize("reward", [value for value in EXAMPLES if isinstance(value, Composite)], ids=repr)
def test_a_placed_part_is_carried_or_refused_when_built(reward: Composite) -> None:
    """A composite whose own ``__post_init__`` forgets ``super().__post_init__()`` fails here."""
    parts = vars(reward) if "parts" not in vars(reward) else dict(vars(reward)["parts"])
    for name in parts.keys() & reward.children().keys():
        placed = {**parts, name: StepwiseGain()}
        if name in reward.carries:
            assert type(reward)(**placed).is_placed
        else:
            with pytest.raises(ConfigError, match="pays single tokens"):
                type(reward)(**placed)


@pytest.mark.parametrize("value", [*LOSSES, *LIMITS, *STOPS, *SCHEDULES, *SETTINGS], ids=repr)
def test_every_other_part_and_setting_is_described_and_built_again(value: Any) -> None:
    kinds: dict[type, Any] = {
        **{Schedule: "schedule", Limit: "limit", StopBias: "stop", Loss: "loss", VerlAdvantage: "advantage"}
    }
    kind = next(kind for base, kind in kinds.items() if isinstance(value, base))
    assert build(describe(value), kind, kind) == value and hash(value) == hash(build(describe(value), kind, kind))


def steps_of(value: Any) -> set[int]:
    """The steps around which any schedule inside ``value`` changes."""
    found = {0, 1, 10_000}
    for part in value.walk():
        for setting in vars(part).values():
            if isinstance(setting, Stairs):
                found |= {step + around for step in setting.boundaries for around in (-1, 0)}
            elif isinstance(setting, Schedule):
                length = getattr(setting, "steps", 0) or getattr(setting, "period", 0)
                found |= {getattr(setting, "delay", 0) + length * share // 4 for share in range(5)}
    return found


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipes_reward_keeps_the_contract_at_every_stage(name: str) -> None:
    recipe = load_recipe(name)
    assert not recipe.reward.is_term, "a term is no reward by itself; add correctness"
    check_reward(
        recipe.reward,
        columns_of(recipe.reward),
        wrong_may_beat_correct=recipe.wrong_may_beat_correct,
        steps=sorted(steps_of(recipe.reward)),
        rounds=15,
    )
    if isinstance(recipe.advantage, Advantage):
        check_advantage(recipe.advantage, centred=not isinstance(recipe.advantage, NOT_CENTRED), rounds=10)
    elif isinstance(recipe.advantage, TokenAdvantage):
        check_token_advantage(recipe.advantage, rounds=10)
