"""Preference pairs as AdaR1 builds them, arXiv 2504.21659, Sec. 4 and its released script."""

from __future__ import annotations

import dataclasses
import json
import random
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from leanthink.cli import main
from leanthink.core.errors import ConfigError
from leanthink.data.pairs import (
    Candidate,
    PairSettings,
    group_candidates,
    instance_candidates,
    preferred_style,
    problem_pairs,
    released_gain,
)
from leanthink.data.records import read_records


def style(letter: str, correct: Sequence[int], length: Sequence[int]) -> list[Candidate]:
    rows = enumerate(zip(correct, length, strict=True))
    return [Candidate(text=f"{letter}{row}", correct=bool(right), length=tokens) for row, (right, tokens) in rows]


LONG, SHORT = style("L", [1, 1, 1, 0], [90, 80, 70, 160]), style("S", [0, 0, 1, 0], [10, 12, 14, 9])
PAPER, RELEASED = PairSettings(), PairSettings(released=True)
CORRECT = PairSettings(chosen_correct_only=True, rejected_wrong_first=True)

Response = tuple[bool, int]  # correct, tokens


def texts(pairs: list[tuple[Candidate, Candidate]]) -> list[tuple[str, str]]:
    return [(better.text, worse.text) for better, worse in pairs]


def test_worked_example() -> None:
    assert preferred_style(LONG, SHORT, PAPER) == preferred_style(LONG, SHORT, RELEASED) == "long"
    assert released_gain(LONG, SHORT) == pytest.approx(0.047535, abs=1e-6)
    assert group_candidates(LONG, SHORT, PAPER) == (LONG, SHORT)
    nine = LONG[:3], [SHORT[0], SHORT[1], SHORT[3]]
    assert group_candidates(LONG, SHORT, RELEASED) == group_candidates(LONG, SHORT, CORRECT) == nine
    assert texts(instance_candidates(LONG, PAPER)) == [("L2", "L3"), ("L2", "L0")]
    assert texts(instance_candidates(LONG, RELEASED)) == [("L2", "L0"), ("L2", "L1")]


def test_worked_example_of_equal_accuracy() -> None:
    long, short = style("L", [1, 1, 0, 0], [90, 80, 70, 60]), style("S", [1, 0, 1, 0], [10, 12, 14, 9])
    assert preferred_style(long, short, PAPER) == preferred_style(long, short, RELEASED) == "short"
    assert released_gain(long, short) == pytest.approx(-0.070833, abs=1e-6)
    assert texts(instance_candidates(short, PAPER)) == [("S0", "S2"), ("S0", "S1")]
    assert texts(instance_candidates(short, RELEASED)) == [("S0", "S2")]  # the pair with itself is dropped


@pytest.mark.parametrize("settings", [PAPER, RELEASED], ids=["paper", "released"])
def test_a_response_over_itself_or_its_like_is_no_pair(settings: PairSettings) -> None:
    long, short = style("L", [1, 0], [90, 95]), style("S", [0, 0], [10, 12])
    alike = [dataclasses.replace(one, text=long[0].text) for one in short]
    pairs = problem_pairs(long, alike, settings)
    assert all(pair.chosen != pair.rejected for pair in pairs)
    paper = {("L1", "L0", "group"), ("L0", "L1", "instance")}
    assert {(pair.chosen, pair.rejected, pair.kind) for pair in pairs} == (paper if settings is PAPER else set())


def test_the_margin_is_one_more_correct_sample_and_strict() -> None:
    long, short = style("L", [1, 1, 0, 0], [9] * 4), style("S", [1, 0, 0, 0], [3] * 4)
    assert preferred_style(long, short, PAPER) == "long"
    assert preferred_style(long, short, PairSettings(margin=0.25)) == "short"
    assert preferred_style(long, short, PairSettings(margin=0.2)) == "long"


@pytest.mark.parametrize(
    ("margin", "right", "of"),
    [(0.3, 3, 10), (0.6, 3, 5), (0.15, 3, 20), (0.29, 29, 100), (0.1, 1, 10), (1e-5, 1, 100_000)],
)
def test_a_margin_is_the_number_as_it_is_written(margin: float, right: int, of: int) -> None:
    long, short = (
        style(letter, [1] * count + [0] * (of - count), [9] * of) for letter, count in (("L", right), ("S", 0))
    )
    assert preferred_style(long, short, PairSettings(margin=margin)) == "short"  # equal is not above
    more = [*style("L", [1], [9]), *long[:-1]]
    assert preferred_style(more, short, PairSettings(margin=margin)) == "long"


def test_with_unknown_verdicts_the_larger_number_of_samples_gives_the_margin() -> None:
    long, short = style("L", [1, 0, 0], [9] * 3), style("S", [0], [3])
    assert preferred_style(long, short, PAPER) == preferred_style(long, short, RELEASED) == "long"  # 1/3 > 1/6
    long, short = style("L", [1], [9]), style("S", [1, 1, 1, 0], [3] * 4)
    assert preferred_style(long, short, PAPER) == preferred_style(long, short, RELEASED) == "long"  # 1/4 > 1/8, not 1/2


def test_the_released_script_prefers_a_style_that_solves_nothing_where_the_sign_turns() -> None:
    """Long responses that are shorter: the gain of a worse accuracy is above 0."""
    long, short = style("L", [0, 0, 0], [7, 5, 6]), style("S", [1, 1, 1], [20, 20, 20])
    assert preferred_style(long, short, RELEASED) == "long" and preferred_style(long, short, PAPER) == "short"
    assert texts(instance_candidates(long, RELEASED)) == [("L1", "L0"), ("L1", "L2")]
    assert instance_candidates(long, PAPER) == []


def test_a_problem_that_nothing_solves() -> None:
    long, short = style("L", [0, 0], [90, 80]), style("S", [0, 0], [10, 12])
    assert {pair.kind for pair in problem_pairs(long, short, PAPER)} == {"group"}
    assert problem_pairs(long, short, RELEASED) == []


def test_equally_long_styles_divide_by_nothing() -> None:
    assert released_gain(style("L", [1, 1], [5, 5]), style("S", [0, 0], [5, 5])) == 0.75


def slow_pairs(
    long: list[Candidate], short: list[Candidate]
) -> tuple[str, set[tuple[str, str]], list[tuple[str, str]]]:
    """Eq. 3 and the rule of instance preference, row by row: style, all group pairs, instance pairs."""
    k = len(long)
    better = sum(one.correct for one in long) - sum(one.correct for one in short)
    name = "long" if 2 * better > 1 else "short"  # C_L - C_S > 1 / (2 K)
    mine, other = (long, short) if name == "long" else (short, long)
    group = {(mine[i].text, other[j].text) for i in range(k) for j in range(k)}
    chosen = None
    for one in mine:
        if one.correct and (chosen is None or one.length < chosen.length):
            chosen = one
    if chosen is None:
        return name, group, []
    rest = [one for one in mine if one is not chosen]
    instance = []
    for _ in range(2):
        if rest:
            longest = rest[0]
            for one in rest:
                if one.length > longest.length:
                    longest = one
            rest.remove(longest)
            instance.append((chosen.text, longest.text))
    return name, group, instance


def test_agrees_with_the_loop() -> None:
    draw = random.Random(3)
    for number in range(1000):
        k = draw.randint(1, 6)
        long, short = (
            style(letter, [draw.randint(0, 1) for _ in range(k)], [draw.randint(1, 6) for _ in range(k)])
            for letter in "LS"
        )
        name, group, instance = slow_pairs(long, short)
        pairs = problem_pairs(long, short, PAPER, number)
        given = [(pair.chosen, pair.rejected) for pair in pairs if pair.kind == "group"]
        assert {pair.preferred for pair in pairs} <= {name}
        assert len(given) == len(set(given)) == min(4, k * k) and set(given) <= group
        assert [(pair.chosen, pair.rejected) for pair in pairs if pair.kind == "instance"] == instance


@pytest.mark.parametrize("settings", [PAPER, CORRECT, PairSettings(group_pairs=50, seed=7)])
def test_the_draw_is_one_of_all_pairs(settings: PairSettings) -> None:
    """Those that a list of all of them would give by the same seed, without that list."""
    draw = random.Random(5)
    for number in range(200):
        long, short = (style(letter, *zip(*_drawn(draw), strict=True)) for letter in "LS")
        pairs = problem_pairs(long, short, settings, number)
        preferred, other = (long, short) if preferred_style(long, short, settings) == "long" else (short, long)
        chosen, rejected = group_candidates(preferred, other, settings)
        every = [(better.text, worse.text) for better in chosen for worse in rejected]
        expected = random.Random(f"{settings.seed}/{number}").sample(every, min(settings.group_pairs, len(every)))
        assert [(pair.chosen, pair.rejected) for pair in pairs if pair.kind == "group"] == expected


def _drawn(draw: random.Random) -> list[Response]:
    return [(draw.random() < 0.5, draw.randint(1, 6)) for _ in range(draw.choice((1, 3, 8, 40)))]


def test_many_responses_of_a_problem_take_memory_as_they_are_many() -> None:
    count = 1500
    long, short = (style(letter, [1] * count, [9] * count) for letter in "LS")
    tracemalloc.start()
    try:
        assert len(problem_pairs(long, short, PAPER)) == 6
        assert tracemalloc.get_traced_memory()[1] < 5e6  # all pairs would take 160 MB
    finally:
        tracemalloc.stop()


def slow_released_pairs(
    long: Sequence[Response], short: Sequence[Response]
) -> tuple[str, set[tuple[int, int]], list[tuple[int, int]]] | None:
    """Style, candidates (own, other) of the group level, pairs (chosen, rejected) of the instance level, as indices.

    None where nothing is correct. Two instance pairs, less the degenerate ones.
    """
    right = {"long": 0, "short": 0}
    tokens = {"long": 0, "short": 0}
    for name, responses in (("long", long), ("short", short)):
        for correct, length in responses:
            right[name] += correct
            tokens[name] += length
    if right["long"] + right["short"] == 0:
        return None
    k = len(long) if len(long) > len(short) else len(short)
    g = Fraction(right["long"], len(long)) - Fraction(right["short"], len(short)) - Fraction(1, 2 * k)
    mean_long, mean_short = Fraction(tokens["long"], len(long)), Fraction(tokens["short"], len(short))
    ell = (mean_long - mean_short) / mean_short
    if ell == 0:
        gain = g
    elif g > 0:
        gain = g / ell
    else:
        gain = g * ell / 10
    style, own, other = ("long", long, short) if gain > 0 else ("short", short, long)
    chosen = [i for i in range(len(own)) if own[i][0]]
    if not chosen:
        chosen = list(range(len(own)))
    rejected = [i for i in range(len(other)) if not other[i][0]]
    if not rejected:
        rejected = list(range(len(other)))
    group = {(i, j) for i in chosen for j in rejected}
    best = chosen[0]
    for i in chosen:
        if own[i][1] < own[best][1]:
            best = i
    left, instance = list(chosen), []
    for _ in range(2):
        if left:
            longest = left[0]
            for i in left:
                if own[i][1] >= own[longest][1]:  # the last of equals
                    longest = i
            left.remove(longest)
            if longest != best:
                instance.append((best, longest))
    return style, group, instance


def test_as_released_agrees_with_the_loop() -> None:
    draw = random.Random(4)
    turned = 0
    for number in range(2000):
        long, short = (
            style(letter, [draw.randint(0, 1) for _ in range(k)], [draw.randint(1, 6) for _ in range(k)])
            for letter, k in (("L", draw.randint(1, 6)), ("S", draw.randint(1, 6)))
        )
        pairs = problem_pairs(long, short, RELEASED, number)
        facts = [[(one.correct, int(one.length)) for one in rows] for rows in (long, short)]
        expected = slow_released_pairs(*facts)
        if expected is None:
            assert pairs == []
            continue
        name, group, instance = expected
        mine, other = ("L", "S") if name == "long" else ("S", "L")
        turned += not any(one.correct for one in (long if name == "long" else short))
        given = [(pair.chosen, pair.rejected) for pair in pairs if pair.kind == "group"]
        assert {pair.preferred for pair in pairs} == {name}
        assert len(given) == len(set(given)) == min(4, len(group))
        assert set(given) <= {(f"{mine}{own}", f"{other}{its}") for own, its in group}
        written = [(f"{mine}{best}", f"{mine}{row}") for best, row in instance]
        assert [(pair.chosen, pair.rejected) for pair in pairs if pair.kind == "instance"] == written
    assert turned > 20


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"group_pairs": 0, "instance_pairs": 0}, "not 0 of both"),
        ({"margin": 0.0}, r"margin is 0.0"),
        ({"margin": 0.1, "released": True}, "margin of its own"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        PairSettings(**settings)


def rollouts(folder: Path, name: str, candidates: list[Candidate], **more: Any) -> str:
    """A file of two problems with the same responses; the second is solved by no one."""
    rows = []
    for problem in ("p1", "p2"):
        for one in candidates:
            right = int(one.correct and problem == "p1")
            row = {"group": problem, "prompt": f"What is {problem}?", "response": f"{problem} {one.text}"}
            rows.append({**row, "correct": right, "length": one.length, **more})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_the_command_writes_the_usual_columns_and_the_same_every_time(tmp_path: Path, ending: str) -> None:
    files = [rollouts(tmp_path, "long", LONG), rollouts(tmp_path, "short", SHORT)]
    outs = [tmp_path / f"{n}.{ending}" for n in range(2)]
    for out in outs:
        assert main(["pairs", *files, "--out", str(out)]) == 0
    rows, again = ([dict(record.fields) for record in read_records(out)] for out in outs)
    assert rows == again
    assert all(row.keys() == {"prompt", "chosen", "rejected", "kind", "preferred"} for row in rows)
    assert [row["kind"] for row in rows].count("instance") == 2
    assert {(row["prompt"], row["preferred"]) for row in rows} == {("What is p1?", "long"), ("What is p2?", "short")}
    assert all(row["chosen"][:2] == row["rejected"][:2] == row["prompt"][8:10] for row in rows)


def test_the_command_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [rollouts(tmp_path, "long", LONG), rollouts(tmp_path, "short", SHORT)]
    out = tmp_path / "pairs.jsonl"
    out.write_text("mine")
    assert main(["pairs", *files, "--out", str(out)]) == 1
    assert out.read_text() == "mine" and "nothing is overwritten" in capsys.readouterr().err
    assert main(["pairs", *files, "--out", str(tmp_path / "pairs.csv")]) == 1
    assert "ends in .jsonl or .parquet" in capsys.readouterr().err


def test_prompts_may_be_messages(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "1 + 1 ="}]
    files = [
        rollouts(tmp_path, "long", LONG, prompt=messages),
        rollouts(tmp_path, "short", SHORT, prompt=messages),
    ]
    out = tmp_path / "pairs.jsonl"
    assert main(["pairs", *files, "--out", str(out)]) == 0
    row = read_records(out)[0].fields
    assert row["prompt"] == messages and row["chosen"][0]["role"] == "assistant"


def test_missing_prompts_and_strange_problems_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = rollouts(tmp_path, "long", LONG)
    without = rollouts(tmp_path, "without", LONG, prompt=None)
    other = rollouts(tmp_path, "other", SHORT, group="elsewhere", prompt="What else?")
    out = ["--out", str(tmp_path / "pairs.jsonl")]
    assert main(["pairs", long, other, *out]) == 1
    assert "no prompt in common" in capsys.readouterr().err
    assert main(["pairs", without, long, *out]) == 1
    assert "without.jsonl, line 1: no prompt; give its text" in capsys.readouterr().err


@pytest.mark.parametrize("gold", ["(B)", "", None])
def test_multiple_choice_and_empty_answers_are_left_out_as_released(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gold: str | None
) -> None:
    files = [rollouts(tmp_path, "long", LONG, gold=gold), rollouts(tmp_path, "short", SHORT, gold=gold)]
    out = tmp_path / "pairs.jsonl"
    assert main(["pairs", *files, "--released", "--out", str(out)]) == 1
    assert "short.jsonl: no pairs from 2 problems" in capsys.readouterr().err and not out.exists()
    assert main(["pairs", *files, "--out", str(out)]) == 0


def test_without_a_reference_answer_verdicts_are_enough_as_released(tmp_path: Path) -> None:
    files = [rollouts(tmp_path, "long", LONG), rollouts(tmp_path, "short", SHORT)]
    assert main(["pairs", *files, "--released", "--out", str(tmp_path / "pairs.jsonl")]) == 0


@pytest.mark.parametrize("same_file", [False, True])
def test_one_name_for_two_problems_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], same_file: bool
) -> None:
    long = rollouts(tmp_path, "long", LONG)
    other = Path(rollouts(tmp_path, "other", SHORT))
    rows = [json.loads(line) for line in other.read_text().splitlines()]
    for row in rows[len(SHORT) - 1 :] if same_file else rows[len(SHORT) :]:
        row["prompt"] = f"{'Be brief. ' * 20}What is 1 + 1?"
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["pairs", long, str(other), "--out", str(tmp_path / "pairs.jsonl")]) == 1
    told = capsys.readouterr().err.replace("\n", " ")
    assert f"other.jsonl, line {len(SHORT) if same_file else len(SHORT) + 1}: prompt 'p" in told
    assert "'Be brief. Be brief." in told and "'What is p" in told and "as prompt_key or prompt_id" in told


def test_texts_and_messages_do_not_fit_into_one_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [Path(rollouts(tmp_path, "long", LONG)), Path(rollouts(tmp_path, "short", SHORT))]
    for file in files:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            if row["group"] == "p2":
                row["prompt"] = [{"role": "user", "content": "What is p2?"}]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "pairs.parquet"
    assert main(["pairs", *map(str, files), "--out", str(out)]) == 1
    assert "pairs.parquet: the prompts do not fit into one column" in capsys.readouterr().err.replace("\n", " ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.jsonl", "short.jsonl"]
    assert main(["pairs", *map(str, files), "--out", str(tmp_path / "pairs.jsonl")]) == 0


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"id": 2**70}, "pairs.parquet, row 1: 'prompt[0].id' is 1180591620717411303424, which takes more than the 64"),
        ({"id": {}}, "pairs.parquet: the prompts do not fit into one column (Cannot write struct type"),
    ],
)
def test_messages_that_no_column_holds_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], beside: dict[str, Any], told: str
) -> None:
    files = [Path(rollouts(tmp_path, "long", LONG)), Path(rollouts(tmp_path, "short", SHORT))]
    for file in files:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            row["prompt"] = [{"role": "user", "content": row["group"], **beside}]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["pairs", *map(str, files), "--out", str(tmp_path / "pairs.parquet")]) == 1
    assert told in capsys.readouterr().err.replace("\n", " ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.jsonl", "short.jsonl"]


def test_a_problem_is_known_by_its_prompts_key_where_groups_are_new_in_every_run(tmp_path: Path) -> None:
    paths = []
    for name, lengths in (("long", [90, 95]), ("short", [9, 8])):
        rows = [
            {"group": f"{name}-run", "prompt_key": "p1", "prompt": "1 + 1?", "response": f"{name} {length}"}
            | {"length": length, "correct": 1}
            for length in lengths
        ]
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["pairs", *map(str, paths), "--out", str(tmp_path / "pairs.jsonl")]) == 0
    assert len(read_records(tmp_path / "pairs.jsonl")) == 5  # four between, one within
