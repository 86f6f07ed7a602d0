from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev, stdev
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leanthink.algorithms import AdaptiveTopK
from leanthink.cli import main
from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import BatchError, ConfigError, DataError, MissingColumnError
from leanthink.core.reward import Reward, RewardN, State, StatefulReward
from leanthink.data.records import files_of, read_records
from leanthink.data.rollouts import Rollouts, agreement, read_rollouts, unknown_rows
from leanthink.recipe.definition import Recipe
from leanthink.replay.score import Replay, load_recipes, replay
from leanthink.rewards import Correct, Format, Repetition, Sum

Row = dict[str, Any]

# Two prompts, interleaved: "a" right, right, wrong; "b" right, wrong.
ROWS: list[Row] = [
    {"group": "a", "length": 100, "correct": 1},
    {"group": "b", "length": 50, "correct": False},
    {"group": "a", "length": 300, "correct": True},
    {"group": "b", "length": 250, "correct": 1.0},
    {"group": "a", "length": 900, "correct": 0, "truncated": None},
]


def write(path: Path, rows: Sequence[Row]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, rows: Sequence[Row], **options: Any) -> Rollouts:
    return read_rollouts(read_records(write(path, rows)), **options)


def score(name: str, rollouts: Rollouts, *overrides: str) -> Replay:
    return replay(load_recipes([name], overrides=overrides)[name], rollouts)


def json_rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[Row]:
    assert main(["score", *arguments, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_copy_of_the_prompt_is_no_answer(tmp_path: Path) -> None:
    rows = [
        {"group": "a", "gold": r"\frac{3}{4}", "response": r"\boxed{0.75}", "prompt": f"Of ${share}$?"}
        for share in (0.75, 1)
    ]
    assert [one.code for one in read(tmp_path / "r.jsonl", rows).judgements] == ["wrong/echo", "correct/equal"]


def test_grpo_trle_and_kimi_by_hand(tmp_path: Path) -> None:
    rollouts = read(tmp_path / "r.jsonl", ROWS, step=20)
    a, b = [0, 2, 4], [1, 3]
    grpo = score("grpo", rollouts)
    assert grpo.reward.tolist() == [1, 0, 1, 1, 0]
    for rows in (a, b):
        rewards = [grpo.reward[row].item() for row in rows]
        for row in rows:
            hand = (grpo.reward[row].item() - mean(rewards)) / (stdev(rewards) + 1e-6)
            assert grpo.advantage[row].item() == pytest.approx(hand)
    trle = score("trle", rollouts)
    lengths = [100, 300]
    for row in (0, 2):  # the right responses of "a"
        z = (rollouts.length[row] - mean(lengths)) / (pstdev(lengths) + 1e-7)
        assert trle.reward[row].item() == pytest.approx(1 - 0.1 / (1 + math.exp(-z)))
    assert trle.reward[3].item() == pytest.approx(1 - 0.1 / 2)  # the only right one of "b"
    assert [trle.reward[row].item() for row in (1, 4)] == [0, 0]
    rewards_a = [trle.reward[row].item() for row in a]
    assert trle.advantage[0].item() == pytest.approx(rewards_a[0] - mean(rewards_a[1:]))  # leave-one-out
    kimi = score("kimi", rollouts)
    low, high = 100, 900
    for row in a:
        value = 0.5 - (rollouts.length[row] - low) / (high - low)
        term = 0.5 * (value if row != 4 else min(0.0, value))
        assert kimi.parts["length"][row].item() == pytest.approx(term)
        assert kimi.reward[row].item() == pytest.approx(term + (row != 4))
    assert set(kimi.parts) == {"correct", "length"}


def test_a_loss_that_makes_its_own_advantage_shows_it_and_says_so(tmp_path: Path) -> None:
    rollouts = read(tmp_path / "r.jsonl", ROWS)
    drpo = score("drpo", rollouts, "loss.drpo.limit=1000")
    share = 1 / (1 + math.exp(-(300 - 100) / 1000 / 0.1))  # of 100 tokens against 300
    assert drpo.advantage.tolist() == pytest.approx([share, -1, 1 - share, 1, -1])
    assert drpo.reward.tolist() == [1, 0, 1, 1, 0]
    assert drpo.metrics["correct_pushed_down_share"] == 0 and drpo.metrics["advantage_per_100_tokens"] < 0
    (notice,) = drpo.notices
    assert notice.startswith("drpo: advantage is the loss's own") and "the reward is shown only" in notice
    for unread in ("gae", "reinforce_pp", "batch_norm"):
        same = score("drpo", rollouts, "loss.drpo.limit=1000", f"advantage={unread}")
        assert same.metrics == drpo.metrics and same.notices == [notice]
    disco = score("disco", rollouts)
    assert disco.advantage.tolist() == [0.5, -1, 0.5, 1, -1]
    ranked = score("drpo", rollouts, "loss.drpo.preference=reward", "reward={sigmoid_length: {alpha: 0.2}}")
    assert ranked.advantage[0] > ranked.advantage[2] > 0 and "shown only" not in ranked.notices[0]


def test_metrics_are_those_of_training_over_all_responses(tmp_path: Path) -> None:
    one = score("grpo", read(tmp_path / "r.jsonl", ROWS))
    assert one.metrics["accuracy"] == pytest.approx(3 / 5)
    assert one.metrics["length/correct"] == pytest.approx((100 + 300 + 250) / 3)
    assert one.metrics["correct_pushed_down_share"] == 0
    assert one.metrics["advantage_per_100_tokens"] == 0
    trle = score("trle", read(tmp_path / "r.jsonl", ROWS))
    hand = (trle.advantage[2] - trle.advantage[0]).item() / 2  # 100 tokens of the 200 between them
    assert trle.metrics["advantage_per_100_tokens"] == pytest.approx(hand)
    assert hand < 0


def test_a_limit_does_not_shorten_what_is_written(tmp_path: Path) -> None:
    one = score("dler", read(tmp_path / "r.jsonl", ROWS), "reward.truncation={limit: 250}")
    assert one.reward.tolist() == [1, 0, 0, 1, 0]
    assert any("its limit stops responses while they are written" in notice for notice in one.notices)
    assert not any("its limit" in notice for notice in score("grpo", read(tmp_path / "r.jsonl", ROWS)).notices)


def test_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    generator = random.Random(0)
    rows = [
        {"prompt_id": generator.randrange(5), "length": generator.randrange(900), "correct": generator.randrange(2)}
        | {"step": generator.randrange(3), "key": key}
        for key in range(60)
    ]
    shuffled = generator.sample(rows, len(rows))
    for name in ("grpo", "trle", "kimi"):
        straight = score(name, read(tmp_path / "a.jsonl", rows))
        other = score(name, read(tmp_path / "b.jsonl", shuffled))
        for place, row in enumerate(shuffled):
            assert other.reward[place].item() == pytest.approx(straight.reward[row["key"]].item())
            assert other.advantage[place].item() == pytest.approx(straight.advantage[row["key"]].item(), abs=1e-12)


def test_parquet_and_jsonl_give_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"correct": int(row["correct"]), "response_ids": list(range(row["length"]))} for row in ROWS]
    for row in rows:
        del row["length"]
    arguments = ["--recipe", "trle", "--recipe", "grpo"]
    lines = json_rows(capsys, str(write(tmp_path / "r.jsonl", rows)), *arguments)
    assert lines == json_rows(capsys, str(write(tmp_path / "r.parquet", rows)), *arguments)
    assert [line["length"] for line in lines] == [100, 50, 300, 250, 900]


def test_json_has_one_object_a_response_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"unknown": place == 2, "step": 7} for place, row in enumerate(ROWS)]
    path = write(tmp_path / "r.jsonl", rows)
    assert main(["score", str(path), "--recipe", "kimi", "--recipe", "trle", "--json"]) == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["index"] for line in lines] == list(range(5))
    assert [line["group"] for line in lines] == ["a", "b", "a", "b", "a"]
    assert lines[2] == {
        "index": 2,
        "group": "a",
        "step": 7,
        "verdict": "unknown",
        "extracted": None,
        "correct": None,
        "length": 300,
        "truncated": False,
        "recipes": {
            "kimi": {"reward": None, "advantage": None, "parts": {"correct": None, "length": None}},
            "trle": {"reward": None, "advantage": None, "parts": {}},
        },
    }
    assert lines[0]["recipes"]["trle"]["reward"] == pytest.approx(0.95)  # alone among the right ones of its group
    assert "1 verdicts unknown, left out: no reason in the file, first in" in err
    assert "reward.length.by is 0 at step 7 (warm-up) and 0.5 at step 20" in err


def test_answers_are_verified_and_unknown_is_masked(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": 0, "gold": 18, "response": r"so \boxed{18}", "grader_correct": True},
        {"prompt_id": 0, "gold": "18", "response": r"so \boxed{17}", "grader_correct": True},
        {"prompt_id": 1, "gold": "$", "response": r"at \boxed{4:30}", "grader_correct": False},
        {"prompt_id": 0, "gold": "18", "response": r"so \boxed{1", "truncated": True, "grader_correct": False},
    ]
    for row in rows:
        row.setdefault("truncated", False)
    rollouts = read(tmp_path / "r.jsonl", rows, workers=1)
    assert [str(judgement.verdict) for judgement in rollouts.judgements] == ["correct", "wrong", "unknown", "wrong"]
    assert [judgement.extracted for judgement in rollouts.judgements[:2]] == ["18", "17"]
    one = score("grpo", rollouts)
    assert one.known.tolist() == [True, True, False, True]
    assert math.isnan(one.reward[2]) and math.isnan(one.advantage[2])
    assert one.metrics["accuracy"] == pytest.approx(1 / 3)
    assert [record.line for record in unknown_rows(rollouts)["gold_unparsable"]] == [3]
    graded = agreement(rollouts)
    assert graded is not None
    assert (graded.agree, [record.line for record in graded.differ], graded.unknown) == (2, [2], 1)


def test_a_file_of_unknown_verdicts_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.jsonl", [{"group": 0, "length": 3, "acc": 0, "unknown": 1}])
    assert json_rows(capsys, str(path))[0]["recipes"] == {"grpo": {"reward": None, "advantage": None, "parts": {}}}
    assert main(["score", str(path)]) == 0


UID = "009833c5-963e-402d-9375-cbb258307f91"


def dump_row(session: int, step: int, **facts: Any) -> Row:
    """One line as verl writes it, with the facts of our reward manager."""
    row = {"input": "1 + 1 =", "output": r"\boxed{ 2 }", "gts": "2", "score": 1.0, "step": step, "reward": 1.0}
    row |= {"acc": 1.0, "unknown": 0.0, "truncated": 0.0, "length": 92.0, "verify_seconds": 0.0, "pred": "2"}
    return {**row, "reason": "correct/equal", "difficulty": "2", "uid": f"{UID}_{session}_0", **facts}


def test_verls_dumps_are_read_as_training_saw_them(tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    for step in (20, 21, 3):
        rows = [dump_row(0, step), dump_row(1, step, length=40.0, unknown=1.0, reason="unknown/timeout", acc=0.0)]
        write(folder / f"{step}.jsonl", [*rows, dump_row(2, step, length=50.0)])
    files = files_of(folder)
    assert [file.stem for file in files] == ["3", "20", "21"]
    rollouts = read_rollouts([record for file in files for record in read_records(file)])
    assert set(rollouts.group) == {UID}
    assert rollouts.clock == [2] * 3 + [19] * 3 + [20] * 3
    assert list(unknown_rows(rollouts)) == ["timeout"]
    assert rollouts.judgements[0].extracted == "2"
    lengths = score("kimi", rollouts).parts["length"]
    assert lengths[:6].nan_to_num().tolist() == [0] * 6  # warm-up: verl's steps 1 to 20
    assert lengths[6].item() == pytest.approx(-0.25) and lengths[8].item() == pytest.approx(0.25)


def test_other_trainers_ids_are_left_whole(tmp_path: Path) -> None:
    rows = [{"uid": f"algebra_1_{place}", "length": 3, "correct": 1} for place in (0, 1)]
    assert read(tmp_path / "r.jsonl", rows).group == ["algebra_1_0", "algebra_1_1"]


@dataclass(frozen=True, kw_only=True)
class Counting(StatefulReward):
    """The number of responses seen before this step."""

    def init(self) -> State:
        return {"seen": 0}

    def update(self, batch: RolloutBatch, state: State) -> tuple[RewardN, State]:
        return batch.length * 0 + state["seen"], {"seen": state["seen"] + len(batch)}


def test_steps_run_in_order_and_carry_state(tmp_path: Path) -> None:
    steps = [9, 2, 9, 2, 5]
    rollouts = read(tmp_path / "r.jsonl", [row | {"step": step} for row, step in zip(ROWS, steps, strict=True)])
    one = replay(Recipe(name="counting", reward=Counting()), rollouts)
    assert one.reward.tolist() == [3, 0, 3, 0, 2]
    assert one.batch.num_groups == 3  # "a" at 9, "b" at 2, "a" at 5


def test_what_an_advantage_remembers_goes_from_step_to_step(tmp_path: Path) -> None:
    """Two groups a step; from the second step on, a group's share of right ones is compared with those before."""
    recipe = Recipe(name="mine", reward=Correct(), advantage=AdaptiveTopK(k=(3, 2), ready_after=3))
    rows = [
        {"group": f"{step}{name}", "step": step, "length": 10 * place + 9, "correct": int(place < right)}
        for step in (1, 2)
        for name, right in (("a", 1), ("b", 2))
        for place in range(3)
    ]
    whole = replay(recipe, read(tmp_path / "whole.jsonl", rows))
    first = replay(recipe, read(tmp_path / "first.jsonl", rows[:6]))
    second = read(tmp_path / "second.jsonl", rows[6:])
    after = replay(recipe, second, advantage_state=first.advantage_state)
    assert whole.advantage_state == after.advantage_state
    assert whole.advantage[6:].tolist() == after.advantage.tolist() != replay(recipe, second).advantage.tolist()


def test_a_prompt_is_known_again_in_later_steps(tmp_path: Path) -> None:
    rows = [
        {"group": prompt, "step": step, "length": length, "correct": 1}
        for step, length in ((0, 100), (1, 50))
        for prompt in ("a", "b")
    ]
    own = [row | {"prompt_key": f"{row['group']}{row['step']}"} for row in rows]
    dump = [dump_row(0, step, length=length, input=text) for step, length in ((1, 100), (2, 50)) for text in "ab"]
    ids = [row | {"group": place} for place, row in enumerate(rows)]
    met_again = [0, 0, pytest.approx(0.5**0.5), pytest.approx(0.5**0.5)]
    for number, (given, expected) in enumerate(((rows, met_again), (own, [0] * 4), (dump, met_again), (ids, [0] * 4))):
        one = score("hapo", read(tmp_path / f"{number}.jsonl", given))
        assert one.parts["length"].tolist() == expected


def test_stored_probes_give_totals_and_the_mean_of_an_advantage_by_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probes: list[Row] = [
        {"cut_tokens": [10, 40, 80], "probe_accuracies": [0.0, 0.0, 1.0]},
        {"cut_tokens": [], "probe_accuracies": []},
        {"cut_tokens": [10, 40, 80], "probe_accuracies": [0.5, None, 1.0]},
        {"cut_tokens": [20, 60], "probe_accuracies": [0.2, 0.8]},
        {"cut_tokens": [5, 700], "probe_accuracies": [0.4, 0.2]},
    ]
    path = write(tmp_path / "r.jsonl", [row | probe for row, probe in zip(ROWS, probes, strict=True)])
    reward = "{sum: {correct: correct, steps: stepwise_gain}}"
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"reward: {reward}\nadvantage: reinforce_pp\n", encoding="utf-8")
    shown = [row["recipes"]["mine"] for row in json_rows(capsys, str(path), "--recipe", str(recipe))]
    assert [row["reward"] for row in shown] == pytest.approx([2.7, 0.0, 1.0, 1.6, -0.2])
    assert [row["parts"]["steps"] for row in shown] == pytest.approx([1.7, 0.0, 0.0, 0.6, -0.2])
    assert shown[0]["advantage"] > shown[2]["advantage"] > shown[1]["advantage"]
    assert main(["score", str(path), "--recipe", str(recipe)]) == 0
    assert "the advantage is by token; shown is its mean over each response" in capsys.readouterr().out

    recipe.write_text(f"reward: {reward}\nadvantage: gae\n", encoding="utf-8")
    assert {row["recipes"]["mine"]["advantage"] for row in json_rows(capsys, str(path), "--recipe", str(recipe))} == {
        None
    }
    assert main(["score", str(path), "--recipe", str(recipe)]) == 0
    assert "the advantage reads a critic's values" in capsys.readouterr().out

    assert main(["score", str(path), "--reward", reward]) == 0  # with grpo, as any reward without a recipe
    assert "so only the sum over a response counts" in capsys.readouterr().err


def test_words_are_counted_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"group": 0, "response": r"So \boxed{42}.", "correct": 1}, {"group": 0, "response": "", "correct": 0}]
    path = write(tmp_path / "r.jsonl", rows)
    assert [row["length"] for row in json_rows(capsys, str(path))] == [7, 0]
    assert main(["score", str(path)]) == 0
    assert "counted in words and signs, not tokens; give --tokenizer" in capsys.readouterr().out


def test_tokenizer_counts_tokens(tmp_path: Path) -> None:
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path / "tokenizer")
    rows = [{"group": 0, "response": "a, b? c", "correct": 1}]
    rollouts = read(tmp_path / "r.jsonl", rows, tokenizer=str(tmp_path / "tokenizer"))
    assert rollouts.length == [3] and rollouts.tokens == [[0, 0, 0]]
    with pytest.raises(ConfigError, match=r"--tokenizer .*nowhere: no tokenizer there"):
        read(tmp_path / "r.jsonl", rows, tokenizer=str(tmp_path / "nowhere"))
    assert any(
        "not used: the file gives 'length'" in note for note in read(tmp_path / "r.jsonl", ROWS, tokenizer="x").notices
    )


def test_text_rewards_are_measured_unless_the_file_has_them(tmp_path: Path) -> None:
    reward: Reward = Sum(correct=Correct(), format=Format())
    recipe = Recipe(name="mine", reward=reward)
    rows = [{"group": 0, "length": 3, "correct": 1, "response": text} for text in ("<think> a </think> b", "b")]
    assert replay(recipe, read(tmp_path / "r.jsonl", rows)).parts["format"].tolist() == [1, 0]
    stored = [row | {Format().column: 0.5} for row in rows]
    assert replay(recipe, read(tmp_path / "r.jsonl", stored)).parts["format"].tolist() == [0.5, 0.5]
    with pytest.raises(MissingColumnError, match=r"needs 'measured/format', measured on the text; give 'response'"):
        replay(recipe, read(tmp_path / "r.jsonl", ROWS))


def test_token_rewards_are_measured_on_ids_or_on_words(tmp_path: Path) -> None:
    recipe = Recipe(name="mine", reward=Sum(correct=Correct(), again=Repetition(size=2, penalty=-1)))
    rows = [{"group": 0, "correct": 1, "response": text} for text in ("a b a b", "a b")]
    words = replay(recipe, read(tmp_path / "r.jsonl", rows))
    assert words.parts["again"].tolist() == [-2, 0]
    assert any(
        "measured/repetition(size=2, penalty=-1) is measured on words and signs" in note for note in words.notices
    )
    ids = [row | {"length": 9, "response_ids": [5, 5, 5]} for row in rows]
    of_ids = replay(recipe, read(tmp_path / "r.jsonl", ids))
    assert of_ids.parts["again"].tolist() == [-2, -2] and not of_ids.notices
    with pytest.raises(
        MissingColumnError, match=r"needs 'measured/rep.*', measured on tokens; give 'response_ids' or 'response'"
    ):
        replay(recipe, read(tmp_path / "r.jsonl", ROWS))
    with pytest.raises(DataError, match=r"line 1: 'response_ids' is 'x'; give a list of token ids"):
        read(tmp_path / "r.jsonl", [row | {"response_ids": "x"} for row in ids])


@pytest.mark.parametrize("value", [[1], {"a": 1}, "1", None, True, 1.5])
def test_token_ids_are_whole_numbers(tmp_path: Path, value: object) -> None:
    rows = [
        {"group": 0, "correct": 1, "response_ids": [1, 2.0]},
        {"group": 0, "correct": 1, "response_ids": [1, value]},
    ]
    assert read(tmp_path / "r.jsonl", rows[:1]).tokens == [[1, 2]]
    shown = re.escape(repr(value))
    with pytest.raises(DataError, match=rf"line 2, token ids 'response_ids': {shown} is no whole number; give one"):
        read(tmp_path / "r.jsonl", rows)


GATE = "{gate: {column: budget, of: correct}}"


def test_extra_columns_reach_the_reward_and_missing_ones_are_named(tmp_path: Path) -> None:
    recipe = load_recipes([], GATE)["reward"]
    rows = [row | {"budget": place % 2} for place, row in enumerate(ROWS)]
    assert replay(recipe, read(tmp_path / "r.jsonl", rows)).reward.tolist() == [0, 0, 0, 1, 0]
    rows[3]["budget"] = None
    with pytest.raises(MissingColumnError, match=r"r.jsonl, line 4: no 'budget', which recipe reward needs"):
        replay(recipe, read(tmp_path / "r.jsonl", rows))
    with pytest.raises(MissingColumnError, match=r"line 1: no 'budget'.*it has: group"):
        replay(recipe, read(tmp_path / "r.jsonl", ROWS))
    rows[3]["budget"] = "much"
    with pytest.raises(
        BatchError, match=r"r.jsonl, step 0, recipe reward: column 'budget', row 3: 'much' is no number"
    ):
        replay(recipe, read(tmp_path / "r.jsonl", rows))


def test_recipes_rewards_and_overrides(tmp_path: Path) -> None:
    assert list(load_recipes()) == ["grpo"]
    file = tmp_path / "tree.yaml"
    file.write_text("sigmoid_length: {alpha: 0.3}\n")
    for tree in (str(file), "{sigmoid_length: {alpha: 0.3}}"):
        assert (
            load_recipes([], tree)["reward"].reward
            == load_recipes(["trle"], None, ["reward.sigmoid_length.alpha=0.3"])["trle"].reward
        )
    both = load_recipes(["grpo", "trle"], "correct", ["advantage=rloo", "trle:reward.sigmoid_length.alpha=0.4"])
    assert [type(recipe.advantage).__name__ for recipe in both.values()] == ["Rloo"] * 3
    assert getattr(both["trle"].reward, "alpha") == 0.4  # noqa: B009
    whole = tmp_path / "whole.yaml"
    whole.write_text("reward: correct\n")
    assert list(load_recipes([str(whole)])) == ["whole"]
    for arguments, message in (
        ((["nope"],), "no recipe 'nope'"),
        ((["grpo", "grpo"],), "two recipes are named 'grpo'"),
        (([], str(whole)), "--reward is a whole recipe"),
        (([], "{reward: correct}"), "--reward is a whole recipe"),
        (([], "nope"), "no reward 'nope'"),
        ((["grpo"], None, ["trle:reward=correct"]), "no recipe 'trle' is scored"),
        ((["grpo"], None, ["data.train_batch_size=8"]), "nothing to set"),
        ((["grpo"], None, ["reward"]), "is no override"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_recipes(*arguments)


def test_tables_and_grader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.jsonl", [row | {"grader_correct": place < 4} for place, row in enumerate(ROWS)])
    assert main(["score", str(path), "--recipe", "grpo", "--recipe", "kimi", "--reward", "correct"]) == 0
    out = capsys.readouterr().out
    for text in (
        "5 responses in 2 prompt groups",
        "kimi: mean ± standard deviation",
        "right (3)",
        "Side by side",
        "grader_correct agrees with 4 of 5 verdicts; 0 unknown",
        "they differ in line 2",
        "no 'truncated' in the file",
        "see it at work with --step 20",
    ):
        assert text in out


def counts_words(prompt: str, response: str) -> float:
    return 0.5 if prompt == "Why?" else len(response.split()) / 10


def test_a_scorer_is_asked_about_right_responses_with_their_prompts(tmp_path: Path) -> None:
    rows = [{**row, "response": "one two", "prompt": "Why?" if row["group"] == "a" else "How?"} for row in ROWS]
    scorer = f"reward.conciseness.scores.conciseness_score.scorer={__name__}:counts_words"
    recipe = load_recipes(["crf"], overrides=[scorer])
    given = replay(recipe["crf"], read(tmp_path / "r.jsonl", rows, step=200))
    assert given.parts["scores"].tolist() == [0.5, 0.1, 0.5, 0.2, 0.1]  # the least where nothing was asked
    assert given.parts["scores/unscored"].sum() == 0
    cut = replay(recipe["crf"], read(tmp_path / "r.jsonl", [{**row, "truncated": row["correct"]} for row in rows]))
    assert cut.parts["scores"].tolist() == [0.1] * 5 and cut.parts["scores/unscored"].sum() == cut.reward.sum() == 0


def test_thinking_turns_and_levels_are_shown_where_the_file_counts_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"group": "q", "thinking_length": 6, "failed_calls": 0, "context_tokens": 50}
    one = {"correct": 1, "length": 20, "assistant_turns": 3, "tool_calls": 2, "tool_tokens": 6, "effort": 0}
    other = {"correct": 0, "length": 10, "assistant_turns": 1, "tool_calls": 0, "tool_tokens": 0, "effort": 1}
    rows = [{**known, **one, "effort_name": "low"}, {**known, **other, "effort_name": "high"}]
    path = write(tmp_path / "r.jsonl", rows)
    assert main(["score", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for told in (
        *("mean thinking │ 6.0", "mean answer │ 9.0", "turns a response │ 2.00", "written a turn │ 7.5"),
        *("thinking a turn │ 3.0", "read from tools │ 3.0", "tool calls a response │ 1.00"),
        *("effort low: right %, mean length │ 100.0, 20.0", "effort high: right %, mean length │ 0.0, 10.0"),
    ):
        assert told in out, told


def test_older_files_show_thinking_by_their_text_and_nothing_of_turns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"group": "q", "correct": 1, "length": 20, "response": "a b c </think> d"},
        {"group": "q", "correct": 0, "length": 10, "response": "a b"},
    ]
    path = write(tmp_path / "r.jsonl", rows)
    assert main(["score", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    # "</think>" is four words and signs: seven of eight, rounded, and all of what never ends.
    assert "mean thinking, by share of words │ 14.0" in out and "turns" not in out and "effort" not in out
    bare = write(tmp_path / "r.jsonl", [{"group": "q", "correct": 1, "length": 20}])
    assert main(["score", str(bare)]) == 0
    assert "thinking" not in capsys.readouterr().out


def test_the_mean_answer_is_over_all_responses_those_that_never_end_their_thinking_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"group": "q", "correct": 1, "length": 20, "response": "a b c </think> d"}]
    rows += [{"group": "q", "correct": 0, "length": 10, "response": "a b"}] * 3
    assert main(["score", str(write(tmp_path / "r.jsonl", rows))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "mean thinking, by share of words │ 12.0" in out and "mean answer, by share of words │ 0.5" in out
