"""Train Long, Think Short (2508.08940), SIRI (2509.25176), VL-Cogito (2507.22607), surrogate (2505.19439), TLDR."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import oracles_adaptive as oracles
from leanthink.algorithms import DifficultyWeight, Grpo
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError
from leanthink.core.reward import Reward
from leanthink.core.schedules import Decay, Interleaved
from leanthink.recipe.definition import load_recipe
from leanthink.recipe.scoring import batch_advantage, measured_rewards
from leanthink.rewards import (
    DynamicLength,
    LevelLength,
    Readable,
    SurrogateLength,
    TriangleLength,
)
from leanthink.verify import Verifier


def group_of(length: list[float], correct: list[int], **columns: Any) -> RolloutBatch:
    return RolloutBatch.of(group=[0] * len(length), length=length, correct=correct, **columns)


def measured(reward: Reward, batch: RolloutBatch, texts: list[str]) -> RolloutBatch:
    """The batch with what the reward's parts measure on the responses' texts."""
    columns = {part.column: [part.value_of(text, text.split()) for text in texts] for part in measured_rewards(reward)}
    return batch.replace(**columns)


@pytest.mark.parametrize(
    ("step", "stairs", "cosine", "stair_cosine"),
    [
        (0, 8192, 16384, 16384),
        (80, 8192, 15184.309376, 16384),
        (120, 8192, 13855.471339, 15184.309376),
        (160, 8192, 12288, 12288),
        (200, 8192, 10720.528661, 9391.690624),
        (240, 8192, 9391.690624, 8192),
        (320, 16384, 8192, 8192),
        (400, 16384, 9391.690624, 8192),
        (440, 16384, 10720.528661, 9391.690624),
        (480, 16384, 12288, 12288),
        (520, 16384, 13855.471339, 15184.309376),
        (560, 16384, 15184.309376, 16384),
        (640, 8192, 16384, 16384),
    ],
)
def test_worked_example_siri(step: int, stairs: float, cosine: float, stair_cosine: float) -> None:
    shapes: Any = {"stairs": stairs, "cosine": cosine, "stair_cosine": stair_cosine}
    for shape, expected in shapes.items():
        given = Interleaved(high=16384, low=8192, period=640, shape=shape)(step)
        assert given == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", ["cosine", "stairs", "stair_cosine"])
@pytest.mark.parametrize("period", [1, 2, 7, 24, 640])
def test_siri_agrees_with_the_phase_formula(shape: Any, period: int) -> None:
    wave = Interleaved(high=96, low=40, period=period, shape=shape)
    for step in range(1000):
        assert wave(step) == pytest.approx(oracles.siri(step, period, 96, 40, shape), abs=1e-9)


def test_siris_limit_follows_the_step_and_what_is_cut_earns_nothing_unless_answered() -> None:
    recipe = load_recipe("siri_low")
    assert recipe.limit is not None and recipe.limit.tokens(["p"], 80, {}) == pytest.approx([15184.309376])
    assert load_recipe("siri_low", profile="cpu").limit.tokens(["p"], 14, {}) == [40]  # type: ignore[union-attr]
    (cut,) = recipe.limit.tokens(["p"], 320, {})
    assert cut == 8192
    box = [r"\boxed{", "56", "}"]
    texts = []
    for tokens, answered, said in ((6000, 5000, box), (8192, 8192, box), (9000, 8900, box), (9000, 8193, box),
                                   (9000, 7000, box), (3000, 3000, [r"\boxed{", "57", "}"])):  # fmt: skip
        words = ["</think>", *["so"] * (answered - 4), *said, *["so"] * (tokens - answered)]
        assert len(words) == tokens
        texts.append((" ".join(words[: round(cut)]), tokens > cut))
    with Verifier(workers=1) as verifier:
        correct = [verifier.check("56", text, truncated=truncated).correct for text, truncated in texts]
    reward_N = recipe.reward(group_of([min(len(text.split()), cut) for text, _ in texts], correct))[0]
    assert reward_N.tolist() == [1, 1, 0, 0, 1, 0]  # the fourth is cut inside its box


def test_worked_example_decay() -> None:
    headline = Decay(start=256, factor=0.7, interval=150)
    values = [256, 256, 179.2, 125.44, 87.808, 61.4656]
    assert [headline(step) for step in (0, 149, 150, 300, 599, 600)] == pytest.approx(values, abs=1e-6)
    by_drops = {
        1: [256, 87],
        3: [256, 178.648645, 124.669291, 87],
        7: [256, 219.421846, 188.070103, 161.198004, 138.165483, 118.423926, 101.503111, 87],
    }
    for drops, expected in by_drops.items():
        schedule = Decay(start=256, stop=87, drops=drops, steps=600)
        given = [schedule(600 * k // (drops + 1)) for k in range(drops + 1)]
        assert given == pytest.approx(expected, abs=1e-6) and schedule(10_000) == 87
    linear = Decay(start=256, stop=87, drops=3, steps=600, shape="linear")
    assert [linear(step) for step in (0, 150, 300, 450)] == pytest.approx([256, 199.666667, 143.333333, 87], abs=1e-6)


@pytest.mark.parametrize("interval", [1, 7, 150])
@pytest.mark.parametrize("factor", [0.7, 1.0])
def test_decay_by_factor_agrees_with_the_loop(factor: float, interval: int) -> None:
    schedule = Decay(start=256, stop=87, factor=factor, interval=interval)
    expected = oracles.decay_by_factor(256, 87, factor, interval, 700)
    assert [schedule(step) for step in range(700)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", ["exponential", "linear"])
@pytest.mark.parametrize(("drops", "steps"), [(1, 2), (3, 600), (6, 100), (7, 9)])
def test_decay_by_drops_agrees_with_the_loop(shape: Any, drops: int, steps: int) -> None:
    schedule = Decay(start=256, stop=87, drops=drops, steps=steps, shape=shape)
    expected = oracles.decay_by_drops(256, 87, drops, steps, shape == "linear", 2 * steps)
    assert [schedule(step) for step in range(2 * steps)] == pytest.approx(expected, rel=1e-9)


def test_schedules_of_the_cpu_profile_fit_into_its_70_steps() -> None:
    curriculum: Any = load_recipe("curriculum", profile="cpu").reward.children()["length"].children()["of"]
    budgets = [curriculum.budget(step) for step in range(70)]
    assert sorted(set(budgets), reverse=True) == [48, 36, 27, 20.25]  # three falls, as in the paper
    limit: Any = load_recipe("siri_high", profile="cpu").limit
    waves = [limit.at_most(step) for step in range(70)]
    assert [step for step in range(70) if waves[step] == 96] == [0, 23, 46, 69]  # ends with the third expansion


CURRICULUM = [  # correct, think, answer, tokens, triangle, band, reward, advantage
    (0, 1, 1, 0, 0.000000, 1.000000, 0.100000, -1.577057),
    (1, 1, 1, 60, 0.478316, 1.000000, 0.843495, 0.797388),
    (1, 1, 1, 125, 0.996492, 1.000000, 0.998948, 1.293846),
    (1, 0, 1, 126, 0.995536, 0.995536, 0.948661, 1.133249),
    (0, 1, 1, 125, 0.996492, 1.000000, 0.398948, -0.622329),
    (1, 1, 0, 251, 0.000000, 0.000000, 0.650000, 0.179438),
    (1, 0, 0, 300, 0.000000, 0.000000, 0.600000, 0.019756),
    (0, 0, 0, 88, 0.701531, 1.000000, 0.210459, -1.224291),
]


def test_worked_example_curriculum() -> None:
    columns = [list(column) for column in zip(*CURRICULUM, strict=True)]
    correct, think, answer, tokens, triangle, band, reward, advantage = columns
    batch = group_of(tokens, correct)  # type: ignore[arg-type]
    triangle_N = TriangleLength(budget=125.44)(batch)[0]
    assert triangle_N.tolist() == pytest.approx(triangle, abs=1e-6)
    assert TriangleLength(budget=125.44, shape="band")(batch)[0].tolist() == pytest.approx(band, abs=1e-6)
    recipe = load_recipe("curriculum")
    texts = [
        ("<think> 2+2 </think>" if thinks else "2+2") + (" <answer> 4 </answer>" if answers else " 4")
        for thinks, answers in zip(think, answer, strict=True)
    ]
    reward_N = recipe.reward(measured(recipe.reward, batch.replace(step=300), texts))[0]  # 256 times 0.7 twice: 125.44
    assert reward_N.tolist() == pytest.approx(reward, abs=1e-6)
    assert isinstance(recipe.advantage, Grpo)
    assert recipe.advantage(reward_N, batch.group).tolist() == pytest.approx(advantage, abs=1e-6)


@pytest.mark.parametrize(("name", "share"), [("curriculum", 0.1), ("vl_cogito", 0.5)])
def test_on_the_cpu_profile_an_answer_has_no_tags(name: str, share: float) -> None:
    recipe = load_recipe(name, profile="cpu")
    texts = [r"<think> 30 + 12 = 42 </think> \boxed{ 42 }", "<think> 30 + 12"]
    part = recipe.reward.breakdown(measured(recipe.reward, group_of([9, 4], [1, 0]), texts)).parts["format"]
    assert part.tolist() == pytest.approx([share, 0.0])


@pytest.mark.parametrize("band", [False, True])
def test_the_triangle_agrees_with_the_loop(merged: RolloutBatch, band: bool) -> None:
    given_N = TriangleLength(budget=4321.5, shape="band" if band else "triangle")(merged)[0]
    assert given_N.tolist() == pytest.approx(oracles.triangle(merged.length.tolist(), 4321.5, band), abs=1e-12)
    gated_N = TriangleLength(budget=4321.5, gate_on_correct=True)(merged)[0]
    assert bool((gated_N[merged.correct == 0] == 0).all())


def cogito(length: list[float], correct: list[int]) -> tuple[list[float], list[float]]:
    recipe = load_recipe("vl_cogito")
    batch = measured(
        recipe.reward, group_of(length, correct), ["<think> 2+2 </think> <answer> 4 </answer>"] * len(length)
    )
    reward_N = recipe.reward(batch)[0]
    assert isinstance(recipe.advantage, DifficultyWeight)
    return reward_N.tolist(), batch_advantage(recipe.advantage, reward_N, batch).tolist()


def test_worked_example_vl_cogito() -> None:
    reward, advantage = cogito([400, 100, 400, 600, 799, 800, 1200, 2000], [1, 0, 0, 0, 0, 0, 0, 0])
    assert reward == pytest.approx([1.5, 0.073223, 0.5, 0.25, 0.000008, 0, 0, 0], abs=1e-6)
    expected = [2.325905, -0.417612, 0.403028, -0.077692, -0.558396, -0.558411, -0.558411, -0.558411]
    assert advantage == pytest.approx(expected, abs=1e-6)
    reward, advantage = cogito([1, 374, 375, 749, 750, 751, 4095, 4096], [0] * 8)
    assert reward == pytest.approx([0.250001, 0.374476, 0.375, 0.499999, 0.5, 0.5, 0.5, 0.25], abs=1e-6)
    expected = [-0.352328, -0.071529, -0.070348, 0.211632, 0.211634, 0.211634, 0.211634, -0.352330]
    assert advantage == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("hard", [0.25, 1, 1, 1, 1, 0.923880, 0.707107, 0.382683, 0]),
        ("medium", [0, 0.382683, 0.707107, 0.923880, 1, 0.923880, 0.707107, 0.382683, 0]),
        ("easy", [0, 0.382683, 0.707107, 0.923880, 1, 1, 1, 1, 1]),
        ("binary_hard", [0, 1, 1, 1, 1, 0, 0, 0, 0]),
        ("binary_medium", [0, 0, 1, 1, 1, 1, 1, 0, 0]),
        ("binary_easy", [0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ],
)
def test_worked_example_weights(stage: Any, expected: list[float]) -> None:
    advantage = DifficultyWeight(stage=stage)
    for right, weight in enumerate(expected):
        correct_N = torch.arange(8) < right
        lifted_N = advantage.lifted(torch.ones(8).double(), correct_N, torch.zeros(8, dtype=torch.int64))
        assert lifted_N.tolist() == pytest.approx([weight] * 8, abs=1e-6)


def test_dynamic_length_agrees_with_the_loop(batches: list[RolloutBatch], merged: RolloutBatch) -> None:
    expected: list[float] = []
    for batch in batches:
        right = (batch.correct == 1).tolist()
        expected += oracles.dylr(batch.length.tolist(), right, batch.group.tolist(), 9000, 750)
    assert DynamicLength(limit=9000)(merged)[0].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("stage", ["easy", "medium", "hard"])
def test_weights_agree_with_the_loop(merged: RolloutBatch, stage: Any) -> None:
    lifted_N = DifficultyWeight(stage=stage).lifted(torch.ones(len(merged)).double(), merged.correct == 1, merged.group)
    of_group: dict[int, list[bool]] = {}
    for code, right in zip(merged.group.tolist(), (merged.correct == 1).tolist(), strict=True):
        of_group.setdefault(code, []).append(right)
    expected = [oracles.odsw(of_group[code], stage) for code in merged.group.tolist()]
    assert lifted_N.tolist() == pytest.approx(expected, abs=1e-9)


def test_worked_example_surrogate() -> None:
    tokens = [256.0, 768, 1536, 2304, 2623, 3072, 1536, 2800]
    texts = [
        *(r"So it is \boxed{5}.", r"\boxed{\frac{1}{2}} is the answer", "<answer> x = 5 </answer>"),
        *(r"<think> 5? </think> \boxed{5}", r"\boxed{1} or \boxed{2}", r"\[ \boxed{5} \]"),
        *(r"So it is \boxed{}.", r"<think> \boxed{5} </think> So it is 5."),
    ]
    recipe = load_recipe("surrogate")
    batch = measured(recipe.reward, group_of(tokens, [0] * 8), texts)
    given = recipe.reward(batch)[0].tolist()
    assert given == pytest.approx([0.805556, 1.25, 1.5, 1.0, 0.498372, -0.5, 0.0, -0.354384], abs=1e-6)
    plain = SurrogateLength(limit=3072)(batch)[0].tolist()
    assert plain == pytest.approx([0.305556, 0.75, 1.0, 0.5, -0.001628, -1.0, 1.0, -0.354384], abs=1e-6)


def test_surrogate_agrees_with_the_loop(merged: RolloutBatch) -> None:
    readable = [row % 3 > 0 for row in range(len(merged))]
    batch = merged.replace(**{Readable().column: [float(one) for one in readable]})
    given_N = SurrogateLength(limit=12_000, turning_point=0.3, format=Readable())(batch)[0]
    assert given_N.tolist() == pytest.approx(oracles.surrogate(merged.length.tolist(), readable, 12_000, 0.3), abs=1e-9)


@pytest.mark.parametrize(
    ("level", "rewards", "advantages"),
    [
        (2, [0.9875, 0.9625, 0.925, 0, 0, 0.95], [0.708190, 0.657605, 0.581728, -1.289918, -1.289918, 0.632313]),
        (1, [0.9625, 0.8875, 0.775, 0, 0, 0.85], [0.846812, 0.681131, 0.432610, -1.279422, -1.279422, 0.598291]),
        (0, [0.925, 0.775, 0.55, 0, 0, 0.7], [1.084461, 0.709071, 0.145985, -1.230446, -1.230446, 0.521375]),
    ],
)
def test_worked_example_tldr(level: int, rewards: list[float], advantages: list[float]) -> None:
    batch = group_of([1000, 3000, 6000, 2000, 8000, 4000], [1, 1, 1, 0, 0, 1], length_level=[level] * 6)
    reward_N = load_recipe("tldr").reward(batch)[0]
    assert reward_N.tolist() == pytest.approx(rewards, abs=1e-6)
    assert Grpo()(reward_N, batch.group).tolist() == pytest.approx(advantages, abs=1e-6)
    priced = LevelLength(limit=8000, penalise_incorrect=True)(batch.replace(length_level=[0] * 6))[0].tolist()
    assert priced[3:5] == pytest.approx([-0.15, -0.6], abs=1e-6)


@pytest.mark.parametrize("penalise", [False, True])
def test_levels_agree_with_the_loop(merged: RolloutBatch, penalise: bool) -> None:
    level_N = merged.group % 3
    given_N = LevelLength(limit=9000, penalise_incorrect=penalise)(merged.replace(length_level=level_N))[0]
    for level, price in enumerate((0.6, 0.3, 0.1)):
        rows = merged.select(level_N == level)
        cut = rows.truncated.tolist()
        right = [bool(ok) and not was_cut for ok, was_cut in zip(rows.correct.tolist(), cut, strict=True)]
        lengths = [9000.0 if was_cut else one for one, was_cut in zip(rows.length.tolist(), cut, strict=True)]
        expected = oracles.tldr(lengths, right, price, 9000, penalise)
        assert given_N[level_N == level].tolist() == pytest.approx(expected, abs=1e-9)


def test_a_group_has_one_level_and_a_known_one() -> None:
    with pytest.raises(BatchError, match="'length_level', row 0: 0, but its group has 1, too; give each prompt one"):
        LevelLength(limit=9)(group_of([1, 1], [1, 1], length_level=[0, 1]))
    with pytest.raises(BatchError, match="row 1: 3 is not allowed; give a level, a whole number from 0 to 2"):
        LevelLength(limit=9)(group_of([1, 1], [1, 1], length_level=[0, 3]))


def test_an_answer_before_a_cut_earns_nothing_and_is_as_long_as_the_limit() -> None:
    cut = group_of([4000, 100, 50], [1, 0, 1], truncated=[0, 1, 1], length_level=[0] * 3)
    assert LevelLength(limit=8000)(cut)[0].tolist() == [0.7, 0.0, 0.0]
    assert LevelLength(limit=8000, penalise_incorrect=True)(cut)[0].tolist() == [0.7, -0.6, -0.6]


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: Interleaved(high=1, low=2, period=3), "low is 2"),
        (lambda: Interleaved(high=2, low=1, period=0), "period is 0"),
        (lambda: Interleaved(high=2, low=1, period=3, shape="saw"), "shape is 'saw'"),  # type: ignore[arg-type]
        (lambda: Decay(start=256), "give factor and interval, or drops and steps"),
        (lambda: Decay(start=256, factor=0.7), "interval None"),
        (lambda: Decay(start=256, factor=0.7, interval=3, drops=3), "drops 3"),
        (lambda: Decay(start=256, factor=0.7, interval=3, steps=9), "steps 9"),
        (lambda: Decay(start=256, stop=9, drops=3, steps=9, interval=3), "interval 3"),
        (lambda: Decay(start=256, factor=1.7, interval=3), r"factor is 1\.7"),
        (lambda: Decay(start=256, stop=300, drops=3, steps=9), "stop 300"),
        (lambda: Decay(start=256, factor=0.7, interval=3, shape="linear"), "shape is 'linear'"),
        (lambda: Decay(start=256, stop=8, drops=9, steps=9), "9 drops in 9 steps"),
        (lambda: TriangleLength(budget=0), "budget is 0"),
        (lambda: TriangleLength(budget=9, peak=0), "peak is 0"),
        (lambda: DynamicLength(limit=100), r"unsolved_target is 750\.0"),
        (lambda: DynamicLength(limit=1000, unsolved_weight=-1), "unsolved_weight is -1"),
        (lambda: DifficultyWeight(stage="late"), "stage is 'late'"),  # type: ignore[arg-type]
        (lambda: DifficultyWeight(all_wrong=2), "all_wrong is 2"),
        (lambda: SurrogateLength(limit=0), "limit is 0"),
        (lambda: SurrogateLength(limit=9, turning_point=1), "turning_point 1"),
        (lambda: SurrogateLength(limit=9, format_weight=-1), "format_weight is -1"),
        (lambda: LevelLength(limit=0), "limit is 0"),
        (lambda: LevelLength(limit=9, prices=(0.1, 0.3)), "prices are"),
    ],
)
def test_wrong_settings_are_refused(make: Any, fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        make()
