"""Every shipped recipe as a Python object, written from its paper: what the YAML files have to build."""

from __future__ import annotations

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
)
from leanthink.core.limits import FromReward, Limit, PerStep
from leanthink.core.reward import Reward
from leanthink.core.schedules import Decay, Interleaved, Linear, Stairs
from leanthink.rewards import (
    AdaptiveStepLength,
    Clip,
    Conciseness,
    ConcisenessScore,
    Correct,
    CosineLength,
    DifficultyTruncation,
    DynamicLength,
    EarlyExit,
    ExactBudget,
    Format,
    Gate,
    HarmonizingLength,
    HistoryLength,
    KimiLength,
    LambdaSwitch,
    LevelLength,
    LongestCorrectLength,
    MaxBudget,
    ModeSwitchReward,
    PassRateLength,
    QuantileBudget,
    Readable,
    Repetition,
    Scale,
    ShortestCorrectLength,
    SigmoidLength,
    SoftOverlong,
    StepLength,
    StepwiseGain,
    Sum,
    SurrogateLength,
    TagPair,
    ThinkingCompression,
    ThinkOutcome,
    TokenRepetition,
    TriangleLength,
    Truncation,
    WordRepetition,
)

VSRM = Sum(
    outcome=ThinkOutcome(right=1.0, wrong=0.0, no_box=-9.5, no_block=-10.0),
    steps=StepwiseGain(
        skip_chars=1000,
        min_gap_chars=400,
        probes=5,
        probe_tokens=768,
        tolerance=1e-5,
        window=4,
        decay=0.7,
        placement="step_start",
    ),
)

ANSWER = ("<answer>", "</answer>")
WELL_FORMED = ThinkOutcome(right=2.0, wrong=1.0, no_box=0.0, no_block=0.0)


def laser(length: Reward) -> tuple[Reward, Advantage, Loss]:
    """The three of the family differ in the bonus only."""
    base = ThinkOutcome(right=1.0, wrong=-0.5, no_box=-1.0, no_block=-1.0)
    return Sum(base=base, length=length), Grpo(scale="std"), PpoClip(low=0.2, high=0.28)


def laser_adaptive(explore: bool) -> AdaptiveStepLength:
    return AdaptiveStepLength(
        lower_bound=4096,
        upper_bound=16384,
        interval=1024,
        alpha=0.5,
        monitor_freq=20,
        explore=explore,
        valid=WELL_FORMED,
    )


COSINE = CosineLength(
    limit=14336,
    correct_at_0=2.0,
    correct_at_limit=1.0,
    wrong_at_0=-10.0,
    wrong_at_limit=0.0,
    exceed=-10.0,
    margin=0.0,
)

RECIPES: dict[str, tuple[Reward, Advantage, Loss]] = {
    "adaptive_deep": (
        ModeSwitchReward(threshold=0.75, base=1.0, bonus=0.5, wrong=0.0, warm_up=Linear(start=0.0, stop=1.0, steps=50)),
        Grpo(scale="std"),
        ModeSwitch(weight=0.1, margin=1.0, form="margin", of=PpoClip(low=0.2, high=0.2)),
    ),
    "alp": (
        Sum(correct=Correct(), length=PassRateLength(beta=1e-7, length_norm=1.0)),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "cosine": (
        Sum(
            cosine=COSINE,
            repetition=Clip(low=-5.0, of=Repetition(size=40, penalty=-0.05)),
        ),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "cosine_ppo": (
        Sum(
            cosine=COSINE,
            repetition=TokenRepetition(size=40, penalty=-0.05, discount=0.99),
        ),
        Gae(gamma=1.0, lam=1.0),
        PpoClip(low=0.2, high=0.2),
    ),
    "crf": (
        Conciseness(
            scores=ConcisenessScore(scorer="leanthink.verl.rollout.reward_model:conciseness", low=0.1, high=1.0),
            alpha=0.5,
            annealing=Linear(start=1.0, stop=0.0, steps=200),
            difficulty="pass_rate",
            of=Truncation(kappa=0.0, of=Correct(), rule="multiply"),
        ),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "da_dler": (
        DifficultyTruncation(thresholds=(0.5,), lengths=(4000.0, 2000.0), kappa=0.0, equality="easy"),
        BatchNorm(level="token", ddof=1, eps=1e-8, floor="add", singleton="zero", boost=0.0),
        PpoClip(low=0.2, high=0.28, dual=10.0),
    ),
    "dapo_overlong": (
        Sum(
            correct=Correct(right=1.0, wrong=-1.0),
            overlong=SoftOverlong(limit=20480, buffer=4096, factor=1.0, clamp=True),
        ),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.28, dual=10.0, aggregation="token-mean"),
    ),
    "disco": (
        Correct(),
        Grpo(),
        Drpo(length_temperature=None, tau=10.0, delta=1e-4, beta=1000.0, kl_type="kl", score="logL"),
    ),
    "dler": (
        Truncation(kappa=0.0, of=Correct(), rule="multiply"),
        BatchNorm(level="token", ddof=1, eps=1e-8, floor="add", singleton="zero", boost=0.0),
        PpoClip(low=0.2, high=0.28, dual=10.0),
    ),
    "drpo": (
        Correct(),
        Grpo(),
        Drpo(length_temperature=0.1, limit=8192.0, preference="linear", tau=10.0, delta=1e-4, beta=1000.0),
    ),
    "gfpo": (
        Correct(right=1.0, wrong=-1.0),
        FilterTopK(k=8, metric="shortest"),
        PpoClip(low=0.2, high=0.2, aggregation="token-mean"),
    ),
    "gfpo_adaptive": (
        Correct(right=1.0, wrong=-1.0),
        AdaptiveTopK(k=(8, 8, 6, 4), metric="shortest", ready_after=256, remembered=100_000),
        PpoClip(low=0.2, high=0.2, aggregation="token-mean"),
    ),
    "grpo": (
        Correct(),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2, aggregation="seq-mean-token-mean"),
    ),
    "grpo_lambda": (
        LambdaSwitch(
            mode="top_fraction",
            top_fraction=0.2,
            rounding="floor",
            ties="first",
            min_groups=0,
            shaped=SigmoidLength(alpha=0.2),
            plain=Correct(),
        ),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "hapo": (
        Sum(correct=Correct(), length=Scale(by=1.0, of=HistoryLength(floor=-0.7, mode="min", shape="cosine"))),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2, aggregation="seq-mean-token-mean"),
    ),
    "kimi": (
        Sum(
            correct=Correct(),
            length=Scale(by=Stairs(values=(0.0, 0.5), boundaries=(20,)), of=KimiLength()),
        ),
        Grpo(scale="none"),
        PpoClip(low=0.2, high=0.2),
    ),
    "lc_r1": (
        Sum(
            correct=Correct(),
            format=Format(),
            length=LongestCorrectLength(pay_wrong=False),
            compress=ThinkingCompression(gamma=1.0),
        ),
        OutcomeAndSteps(scale="none"),
        PpoClip(low=0.2, high=0.2, aggregation="token-mean"),
    ),
    "lcpo_exact": (
        Sum(correct=Correct(), budget=ExactBudget(alpha=0.0003, counts="response")),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "lcpo_max": (
        Sum(
            exact=Gate(
                column="at_most",
                negate=True,
                of=Sum(correct=Correct(), budget=ExactBudget(alpha=0.0003, counts="response")),
            ),
            max=Gate(column="at_most", of=MaxBudget(alpha=0.005, delta=0.5, counts="response")),
        ),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "long_short": (
        Sum(
            correct=Correct(),
            format=Format(),
            length=Scale(by=Linear(start=0.0, stop=1.0, steps=100), of=KimiLength()),
        ),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "o1_pruner": (
        HarmonizingLength(accuracy_weight=2.0, reference="stored", clip=None, standardize="none"),
        NoBaseline(),
        PpoClip(low=0.2, high=0.2),
    ),
    "s_grpo": (
        EarlyExit(
            decay=2.0,
            inducer="Time is limited, stop thinking and start answering.\n</think>\n\n",
            include_full_path=True,
        ),
        Grpo(scale="none"),
        PpoClip(low=0.2, high=0.2, aggregation="seq-mean-token-mean"),
    ),
    "shorter_better": (
        Sum(correct=Correct(right=2.0), length=ShortestCorrectLength(beta=0.001, max_distance=None)),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "siri_high": (Correct(), Grpo(scale="std"), PpoClip(low=0.2, high=0.28)),
    "siri_low": (Correct(), Grpo(scale="std"), PpoClip(low=0.2, high=0.28)),
    "surrogate": (
        SurrogateLength(limit=3072.0, turning_point=0.5, format_weight=0.5, format=Readable()),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "tldr": (LevelLength(limit=8000.0, prices=(0.6, 0.3, 0.1)), Grpo(scale="std"), PpoClip(low=0.2, high=0.2)),
    "thinkprune": (
        Correct(),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "trle": (
        SigmoidLength(alpha=0.1, eps=1e-7, ddof=0, check_eos=True),
        Rloo(),
        PpoClip(low=0.2, high=0.2),
    ),
    "ulorl": (
        Truncation(kappa=0.0, of=Correct()),
        Grpo(scale="std"),
        MasteredTokenMask(of=PpoClip(low=0.2, high=0.2), probability=0.99, target_entropy=0.2),
    ),
    "vsrm_ppo": (VSRM, Gae(gamma=1.0, lam=1.0), PpoClip(low=0.2, high=0.2, dual=3.0)),
    "vsrm_rpp": (VSRM, ReinforcePp(gamma=1.0), PpoClip(low=0.2, high=0.2, dual=3.0)),
    "curriculum": (
        Sum(
            correct=Scale(by=0.6, of=Correct()),
            length=Scale(by=0.3, of=TriangleLength(budget=Decay(start=256.0, factor=0.7, interval=150, stop=87.0))),
            format=Scale(
                by=0.1,
                of=Sum(
                    think=Scale(by=0.5, of=TagPair(open_tag="<think>", close_tag="</think>", apart_from=ANSWER)),
                    answer=Scale(
                        by=0.5,
                        of=TagPair(open_tag="<answer>", close_tag="</answer>", apart_from=("<think>", "</think>")),
                    ),
                ),
            ),
        ),
        Grpo(scale="std", ddof=0, eps=0.0),
        PpoClip(low=0.2, high=0.2),
    ),
    "laser": laser(StepLength(target=8192.0, alpha=0.5, valid=WELL_FORMED)),
    "laser_d": laser(laser_adaptive(explore=False)),
    "laser_de": laser(laser_adaptive(explore=True)),
    "palu": (
        QuantileBudget(longest=16384.0, threshold=0.8, tau=0.5),
        Grpo(scale="std"),
        PpoClip(low=0.2, high=0.2),
    ),
    "vl_cogito": (
        Sum(
            correct=Correct(),
            format=Scale(by=0.5, of=Format(answer_tags=ANSWER)),
            length=DynamicLength(limit=4096.0, unsolved_target=750.0, unsolved_weight=0.5),
            repetition=Gate(column="correct", negate=True, of=WordRepetition(max_penalty=-0.5, size=20)),
        ),
        DifficultyWeight(stage="hard", of=Grpo(scale="std"), all_wrong=0.25),
        PpoClip(low=0.2, high=0.2),
    ),
}

SIRI = PerStep(at_most=Interleaved(high=16384.0, low=8192.0, period=640, shape="cosine"))

LIMITS: dict[str, Limit] = {  # of the recipes that limit their rollouts
    "da_dler": PerStep(at_most=4000.0),
    "dler": PerStep(at_most=4000.0),
    "palu": FromReward(),
    "siri_high": SIRI,
    "siri_low": SIRI,
    "thinkprune": PerStep(at_most=Stairs(values=(4000.0, 3000.0, 2000.0), boundaries=(180, 360))),
}
