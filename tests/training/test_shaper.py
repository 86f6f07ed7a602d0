"""The shaper: facts of whole groups in; rewards, masks, advantages and metrics out."""

import pytest
import torch

from leanthink import RolloutBatch
from leanthink.algorithms import BatchNorm, Gae, Grpo, ReinforcePp
from leanthink.core.errors import BatchError, ConfigError, MissingColumnError
from leanthink.recipe.definition import Recipe, load_recipe
from leanthink.recipe.scoring import batch_advantage, score_step
from leanthink.rewards import Correct, StepwiseGain, Sum
from leanthink.training import Mark, Settings, Shaper
from leanthink.training.shaper import group_order
from made_facts import fact

STEPS = Recipe(name="steps", reward=Sum(correct=Correct(), steps=StepwiseGain()))


def test_shaping_is_scoring_of_the_same_batch():
    recipe = load_recipe("trle")
    facts = [fact(length=n) for n in (8, 12, 20)] + [fact(acc=0.0, length=9), fact(length=30, truncated=1.0)]
    uids = ["a", "b", "a", "b", "a"]
    reward_N, takes_part_N, metrics, *_ = Shaper(Settings.of(recipe)).shape(facts, uids, step=1)
    batch = RolloutBatch.of(
        group=uids, length=[8, 12, 20, 9, 30], correct=[1, 1, 1, 0, 1], truncated=[0, 0, 0, 0, 1], step=0
    )
    torch.testing.assert_close(reward_N, score_step(recipe, batch).reward)
    assert takes_part_N.all()
    assert metrics["accuracy"] == pytest.approx(0.8)
    assert metrics["truncated_share"] == pytest.approx(0.2)


def test_prompts_that_were_cut_are_counted_and_told_once(caplog):
    shaper = Shaper(Settings.of(load_recipe("grpo")))
    facts = [fact(prompt_cut=3.0), fact(prompt_cut=6.0), fact(prompt_cut=0.0), fact()]
    for step in (1, 2):
        metrics = shaper.shape(facts, ["a", "b", "c", "c"], step).metrics
        assert (metrics["prompt_cut_share"], metrics["prompt_cut_tokens"]) == (0.5, 4.5)
    assert caplog.text.count("50% of the responses are to prompts that were too long") == 1
    metrics = Shaper(Settings.of(load_recipe("grpo"))).shape([fact()], ["a"], step=1).metrics
    assert metrics["prompt_cut_share"] == 0.0 and "prompt_cut_tokens" not in metrics


def test_where_a_reward_falls_is_counted_in_rows_of_the_whole_batch():
    probes = {"cut_tokens": [2, 5], "probe_accuracies": [0.0, 1.0]}
    none = {"cut_tokens": [], "probe_accuracies": []}
    facts = [fact(0.0, unknown=1.0, **none), fact(**none), fact(**probes)]
    shaped = Shaper(Settings.of(STEPS)).shape(facts, ["a", "a", "b"], step=1)
    assert shaped.reward_N.tolist() == [0.0, 1.0, 2.0]
    assert (shaped.placement.row.tolist(), shaped.placement.token.tolist()) == ([2], [2])
    assert Shaper(Settings.of(load_recipe("grpo"))).shape([fact()], ["a"], step=1).placement is None


def test_an_unknown_verdict_leaves_its_groups_statistics_alone():
    recipe = load_recipe("trle")
    facts = [fact(length=8), fact(length=20), fact(acc=0.0, unknown=1.0, length=500)]
    with_unknown, takes_part_N, metrics, *_ = Shaper(Settings.of(recipe)).shape(facts, ["a"] * 3, step=1)
    without, *_ = Shaper(Settings.of(recipe)).shape(facts[:2], ["a"] * 2, step=1)
    torch.testing.assert_close(with_unknown[:2], without)
    assert takes_part_N.tolist() == [True, True, False]
    assert metrics["unknown_share"] == metrics["unknown/timeout"] == pytest.approx(1 / 3)
    assert metrics["accuracy"] == 1.0


def test_what_a_policy_tries_is_counted_and_much_of_it_told(caplog):
    tried = ["wrong/unevaluated", "wrong/echo", "wrong/unreasonable", "wrong/not_equal"]
    facts = [fact(), *(fact(acc=0.0, reason=reason) for reason in tried)]
    metrics = Shaper(Settings.of(load_recipe("grpo"))).shape(facts, ["a"] * 5, step=1).metrics
    assert {name: metrics[name] for name in tried} == dict.fromkeys(tried, 0.2)
    assert metrics["unknown_share"] == metrics["gold_unmatchable_share"] == 0
    assert "20% of the answers are too large to calculate (wrong/unreasonable)" in caplog.text


def test_prompts_whose_gold_no_response_can_match_are_counted_as_prompts():
    bad = {"acc": 0.0, "unknown": 1.0, "reason": "unknown/gold_unparsable"}
    facts = [
        fact(**{"response_key": f"p{row // 2}-{row}", **(bad if row < 2 else {})})
        | ({"reason": bad["reason"]} if row < 2 else {})
        for row in range(8)
    ]
    metrics = Shaper(Settings.of(load_recipe("grpo"))).shape(facts, [str(row // 2) for row in range(8)], step=1).metrics
    assert metrics["gold_unmatchable_share"] == metrics["unknown/gold_unparsable"] == metrics["unknown_share"] == 0.25
    only = facts[1:]
    metrics = (
        Shaper(Settings.of(load_recipe("grpo"))).shape(only, [str(row // 2) for row in range(1, 8)], step=1).metrics
    )
    assert metrics["gold_unmatchable_share"] == 0.25 and metrics["unknown_share"] == pytest.approx(1 / 7)


def test_the_order_in_which_responses_end_decides_nothing():
    recipe = load_recipe("grpo_lambda")
    facts = [fact(length=9 + number // 2) for number in range(20)]
    uids = [f"{number * 7 % 10}" for number in range(10) for _ in range(2)]
    order = [*range(19, -1, -2), *range(0, 20, 2)]
    reward_N, _, metrics, *_ = Shaper(Settings.of(recipe)).shape(facts, uids, step=1)
    other_N, *_ = Shaper(Settings.of(recipe)).shape([facts[row] for row in order], [uids[row] for row in order], step=1)
    torch.testing.assert_close(other_N, reward_N[order])
    assert metrics["part/select"] == pytest.approx(0.2)
    assert {uid for uid, reward in zip(uids, reward_N.tolist(), strict=True) if reward < 1} == {"0", "1"}


def test_groups_have_another_order_in_each_step_and_the_same_when_it_is_done_again():
    facts = [fact(response_key=f"p{number}-x") for number in range(20)]

    def order(step, shift=0):
        """Prompts as they would be scored; ids are new in each run, and responses end in any order."""
        turned = facts[shift:] + facts[:shift]
        keys = group_order(turned, [f"{shift}{number}" for number in range(20)], step)
        return [turned[row]["response_key"] for row in sorted(range(20), key=keys.__getitem__)]

    assert order(1) == order(1, shift=7)
    assert order(1) != order(2) and sorted(order(1)) == sorted(order(2))


def test_unknown_counts_as_wrong_if_asked():
    settings = Settings.of(load_recipe("grpo"), unknown="wrong")
    reward_N, takes_part_N, *_ = Shaper(settings).shape([fact(), fact(0.0, unknown=1.0)], ["a", "a"], step=1)
    assert reward_N.tolist() == [1.0, 0.0]
    assert takes_part_N.all()


def test_too_many_unknown_verdicts_stop_the_run_with_their_reasons():
    facts = [fact(0.0, unknown=1.0), fact(0.0, unknown=1.0), fact()]
    with pytest.raises(BatchError, match=r"67% of the verdicts are unknown.*2 x unknown/timeout.*max_unknown"):
        Shaper(Settings.of(load_recipe("grpo"))).shape(facts, ["a"] * 3, step=1)


def test_a_column_the_data_lack_is_named():
    recipe = Recipe(name="mine", reward=load_recipe("grpo", ["reward={gate: {column: budget, of: correct}}"]).reward)
    with pytest.raises(MissingColumnError, match="needs the column 'budget'"):
        Shaper(Settings.of(recipe)).shape([fact()], ["a"], step=1)


@pytest.mark.parametrize(
    ("truncated", "trained", "counted"),
    [
        ("keep", [True, True, True], [False, False, False]),
        ("mask", [True, True, False], [False, False, True]),
        ("exclude", [True, True, False], [False, False, False]),
    ],
)
def test_truncated_responses_leave_the_loss_as_asked(truncated, trained, counted):
    one = Shaper(Settings.of(load_recipe("grpo"), truncated=truncated))
    facts = [fact(), fact(0.0), fact(0.0, truncated=1.0)]
    shaped = one.shape(facts, ["a"] * 3, step=1)
    reward_N, trained_N, metrics, *_ = shaped
    assert reward_N.tolist() == [1, 0, 0]
    assert trained_N.tolist() == trained
    assert one.marks(facts, shaped) == [Mark(counted=each) for each in counted]
    assert metrics["truncated_share"] == pytest.approx(1 / 3)
    assert metrics.get("filtered_share", 0.0) == pytest.approx(sum(not one for one in trained) / 3)


def test_an_unknown_verdict_is_never_counted():
    one = Shaper(Settings.of(load_recipe("grpo"), truncated="mask"))
    facts = [fact(), fact(0.0), fact(0.0, unknown=1.0, truncated=1.0)]
    shaped = one.shape(facts, ["a"] * 3, step=1)
    assert shaped.takes_part_N.tolist() == [True, True, False]
    assert one.marks(facts, shaped) == [Mark()] * 3


def test_nothing_left_to_train_on_is_an_error():
    one = Shaper(Settings.of(load_recipe("grpo"), truncated="mask"))
    with pytest.raises(BatchError, match=r"step 4: no response is left.*leanthink.truncated=keep"):
        one.resume(1)
        one.shape([fact(truncated=1.0)] * 2, ["a", "a"], step=4)


def test_a_boost_marks_correct_responses():
    boosted = Recipe(name="mine", reward=Correct(), advantage=BatchNorm(boost=0.1))
    one, facts = Shaper(Settings.of(boosted)), [fact(), fact(0.0)]
    assert one.marks(facts, one.shape(facts, ["a", "b"], step=1)) == [Mark(correct=True), Mark()]


def test_a_group_is_told_apart_by_its_reward():
    one = Shaper(Settings.of(load_recipe("da_dler")))
    assert one.tells_apart([fact(length=900), fact(length=2500)], step=1)
    assert not one.tells_apart([fact(length=900), fact(length=1500)], step=1)
    assert not one.tells_apart([fact(length=900), fact(length=2500, unknown=1.0)], step=1)
    assert not Shaper(Settings.of(load_recipe("dler"))).tells_apart([fact(), fact(length=2500)], step=1)


def padded(facts):
    """The mask (N, T) of responses as long as their facts say."""
    length_N = torch.tensor([int(one["length"]) for one in facts])
    return (torch.arange(int(length_N.max())) < length_N[:, None]).long()


FACTS = [
    fact(length=4.0),
    fact(length=6.0),
    fact(acc=0.0, length=3.0),
    fact(length=5.0, truncated=1.0),
    fact(acc=0.0, unknown=1.0, length=2.0),
    fact(length=3.0),
    fact(acc=0.0, length=7.0),
]
UIDS = ["a", "a", "a", "a", "b", "b", "b"]


@pytest.mark.parametrize("truncated", ["keep", "mask", "exclude"])
@pytest.mark.parametrize("name", ["trle", "grpo", "kimi", "dler", "gfpo"])
def test_advantages_are_those_that_scoring_shows(name, truncated):
    recipe = load_recipe(name)
    one = Shaper(Settings.of(recipe, truncated=truncated))
    shaped = one.shape(FACTS, UIDS, step=30)
    advantage_NT = one.advantages(FACTS, UIDS, shaped, padded(FACTS))
    assert advantage_NT.shape == (7, 7) and not advantage_NT[padded(FACTS) == 0].any()
    assert not advantage_NT[~shaped.takes_part_N].any()
    expected_N = torch.zeros(7, dtype=torch.float64)
    expected_N[shaped.rows] = shaped.scored.advantage
    length_N = padded(FACTS).sum(-1)
    torch.testing.assert_close(advantage_NT.sum(-1) / length_N, expected_N, rtol=0, atol=1e-12)


def test_an_advantage_by_token_sees_where_a_reward_falls():
    probes = [{"cut_tokens": [1, 3], "probe_accuracies": [0.0, 1.0]}, {"cut_tokens": [], "probe_accuracies": []}]
    facts = [fact(length=4.0, **probes[0]), fact(acc=0.0, length=3.0, **probes[1])]
    settings = Settings.of(Recipe(name="steps", reward=STEPS.reward, advantage=ReinforcePp()))
    one = Shaper(settings)
    shaped = one.shape(facts, ["a", "b"], step=1)
    reward_NT = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    mask_NT = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    expected_NT = ReinforcePp()(reward_NT, mask_NT.bool(), torch.tensor([0, 1]))
    torch.testing.assert_close(one.advantages(facts, ["a", "b"], shaped, mask_NT), expected_NT)


def test_the_losses_own_advantage_comes_first():
    recipe = load_recipe("drpo")
    one = Shaper(Settings.of(recipe))
    shaped = one.shape(FACTS, UIDS, step=1)
    advantage_NT = one.advantages(FACTS, UIDS, shaped, padded(FACTS))
    length_N = padded(FACTS).sum(-1) * shaped.takes_part_N
    correct_N = torch.tensor([one["acc"] for one in FACTS]).double()
    group_N = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    own_N = recipe.loss.advantage(shaped.reward_N, group_N, correct_N, length_N.double())
    torch.testing.assert_close(advantage_NT[:, 0], own_N * (length_N > 0))


def test_a_counted_response_stays_in_its_groups_statistics():
    one = Shaper(Settings.of(load_recipe("grpo", ["advantage={grpo: {scale: none}}"]), truncated="mask"))
    facts = [fact(length=2.0), fact(acc=0.0, length=2.0, truncated=1.0)]
    shaped = one.shape(facts, ["a", "a"], step=1)
    assert one.advantages(facts, ["a", "a"], shaped, padded(facts)).tolist() == [[0.5, 0.5], [0.0, 0.0]]
    batch = RolloutBatch.of(group=[0, 0], length=[2, 2], correct=[1, 0], truncated=[0, 1])
    shown_N = batch_advantage(Grpo(scale="none"), shaped.reward_N, batch, "mask")
    assert shown_N.tolist() == [0.5, 0.0]


def test_an_estimator_that_needs_more_than_rewards_is_refused():
    one = Shaper(Settings.of(Recipe(name="mine", reward=Correct(), advantage=Gae())))
    facts = [fact(length=2.0)]
    with pytest.raises(ConfigError, match=r"advantage gae is an estimator of verl's own.*such as grpo"):
        one.advantages(facts, ["a"], one.shape(facts, ["a"], step=1), padded(facts))


@pytest.mark.parametrize("step", [1, 2, 5])
def test_a_schedule_is_asked_for_the_steps_before(step):
    """0 before the first step, and a tenth more after each: at step 5, four are done."""
    by = {"linear": {"start": 0.0, "stop": 1.0, "steps": 10}}
    one = Shaper(Settings.of(load_recipe("grpo", [f"reward={{scale: {{by: {by}, of: correct}}}}"])))
    assert one.shape([fact(), fact()], ["a", "a"], step=step)[0].tolist() == pytest.approx([(step - 1) / 10] * 2)


def test_the_filtered_share_is_of_all_rows_and_leaves_unknown_ones_out():
    one = Shaper(Settings.of(load_recipe("grpo"), truncated="mask", max_unknown=0.9))
    facts = [fact(), fact(acc=0.0), fact(acc=0.0, truncated=1.0), fact(0.0, unknown=1.0), fact(0.0, unknown=1.0)]
    assert one.shape(facts, ["a"] * 5, step=1)[2]["filtered_share"] == pytest.approx(1 / 5)
