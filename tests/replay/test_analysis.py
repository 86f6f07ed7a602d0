"""The analysis of a replay: by hand, in pieces as at once, and what it writes."""

from __future__ import annotations

import json
import math
import random
import re

import pytest
import torch

from leanthink.algorithms import AdaptiveTopK
from leanthink.cli import main
from leanthink.core.errors import ConfigError, DataError
from leanthink.core.reward import Reward
from leanthink.data.records import iter_records, read_records
from leanthink.data.rollouts import read_rollouts
from leanthink.recipe.definition import Recipe
from leanthink.replay.analysis import BATCH, Analysis, numbers_of, pieces, sensitivities
from leanthink.replay.score import load_recipes
from leanthink.reporting.replay_page import grids, picture
from leanthink.rewards import Correct


def made(steps=4, prompts=5, samples=6, seed=1):
    generator = random.Random(seed)
    return [
        {
            "group": f"{step}-{prompt}",
            "step": step,
            "length": generator.randint(5, 400),
            "correct": int(generator.random() < 0.6),
            "response": "<script>alert(1)</script>",
        }
        for step in range(steps)
        for prompt in range(prompts)
        for _ in range(samples)
    ]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def analysed(path, *names, size=None):
    analysis = Analysis(recipes=load_recipes(list(names)))
    for piece in [read_records(path)] if size is None else pieces(iter_records(path), size):
        analysis.add(read_rollouts(piece))
    return analysis


def test_by_hand(tmp_path):
    rows = [
        {"group": "a", "length": 100, "correct": 1},
        {"group": "a", "length": 300, "correct": 1},
        {"group": "b", "length": 50, "correct": 0},
        {"group": "b", "length": 60, "correct": 0},
    ]
    analysis = analysed(write(tmp_path / "r.jsonl", rows), "grpo", "trle")
    grpo, trle = analysis.tallies["grpo"], analysis.tallies["trle"]
    assert (grpo.right, grpo.negative, grpo.groups, grpo.silent) == (2, 0, 2, 2)
    assert (trle.positive, trle.negative, trle.silent) == (1, 1, 1)
    assert (trle.longer, trle.correlation) == (1, pytest.approx(-1))
    z = 1 / (1 + 1e-7 / 100)
    reward = [1 - 0.1 / (1 + math.exp(-sign * z)) for sign in (-1, 1)]
    assert trle.slope == pytest.approx(100 * 2 * (reward[1] - reward[0]) / 200, abs=1e-6)  # leave-one-out: twice
    assert analysis.opposed["grpo", "trle"] == 0  # grpo's are 0, not opposed
    assert {one.length for one in analysis.most_telling()} == {100, 300}
    assert math.isnan(grpo.correlation)


def test_the_part_that_pushes_a_right_response_down_is_named(tmp_path):
    rows = [{"group": "a", "step": 20, "length": length, "correct": 1} for length in (10, 20, 300)]
    tally = analysed(write(tmp_path / "r.jsonl", rows), "kimi").tallies["kimi"]
    assert tally.causes == {"length": tally.negative}
    assert BATCH not in tally.causes


def test_pieces_give_what_the_whole_file_gives(tmp_path):
    path = write(tmp_path / "r.jsonl", made())
    whole, parts = analysed(path, "trle", "kimi", "hapo"), analysed(path, "trle", "kimi", "hapo", size=1)
    assert whole.responses == parts.responses == 120
    for name, one in whole.tallies.items():
        other = parts.tallies[name]
        for fact in ("right", "positive", "negative", "longer", "groups", "silent", "causes"):
            assert getattr(one, fact) == getattr(other, fact), (name, fact)
        assert one.slope == pytest.approx(other.slope, nan_ok=True)
        assert {key: each.reward for key, each in one.bins.items()} == pytest.approx(
            {key: each.reward for key, each in other.bins.items()}
        )


def test_a_torn_group_is_refused(tmp_path):
    rows = [{"group": name, "length": 5, "correct": 1} for name in "aba"]
    with pytest.raises(DataError, match="line 3: prompt group a goes on"):
        list(pieces(iter_records(write(tmp_path / "r.jsonl", rows)), 1))


class PerToken(Reward):
    def score(self, batch):
        return batch.correct - 0.001 * batch.length


def test_a_class_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mine_for_analysis", __import__(__name__, fromlist=["x"]))
    name = "mine_for_analysis:PerToken"
    analysis = analysed(write(tmp_path / "r.jsonl", made()), "grpo", name)
    assert analysis.tallies[name].slope < 0
    assert numbers_of(analysis.recipes[name]) == [("advantage.grpo.eps", 1e-06), ("advantage.grpo.ddof", 1)]


def test_what_an_advantage_remembers_goes_from_piece_to_piece(tmp_path):
    rows = [
        {"group": f"{step}{name}", "step": step, "length": 10 * place + 9, "correct": int(place < right)}
        for step in (1, 2)
        for name, right in (("a", 1), ("b", 2))
        for place in range(3)
    ]
    recipes = {"mine": Recipe(name="mine", reward=Correct(), advantage=AdaptiveTopK(k=(3, 2), ready_after=3))}
    path = write(tmp_path / "r.jsonl", rows)
    whole, parts = Analysis(recipes=recipes), Analysis(recipes=recipes)
    advantages = [whole.add(read_rollouts(read_records(path)))["mine"].advantage.tolist()]
    advantages.append([])
    for piece in pieces(iter_records(path), 6):
        advantages[1] += parts.add(read_rollouts(piece))["mine"].advantage.tolist()
    assert advantages[0] == advantages[1]


def test_sensitivity(tmp_path):
    rollouts = read_rollouts(read_records(write(tmp_path / "r.jsonl", made())))
    recipe = load_recipes(["trle"])["trle"]
    rows = sensitivities(recipe, rollouts, 0.5)
    alpha = [one for one in rows if one.key == "reward.sigmoid_length.alpha"]
    assert [one.changed_to for one in alpha] == pytest.approx([0.05, 0.15])
    assert alpha[0].slope > alpha[1].slope  # a stronger penalty, a steeper preference
    assert all(one.moved > 0 for one in alpha)
    with pytest.raises(ConfigError, match="share in"):
        sensitivities(recipe, rollouts, 2)


def test_the_command_writes_a_page_and_a_picture(tmp_path, capsys):
    path = write(tmp_path / "r.jsonl", made())
    html, png = tmp_path / "out" / "s.html", tmp_path / "png"
    more = ["--recipe", "grpo", "--recipe", "trle", "--sensitivity", "0.1", "--html", str(html), "--png", str(png)]
    for stream in ([], ["--stream"]):
        assert main(["score", str(path), *more, *stream]) == 0
        out = capsys.readouterr().out
        assert "What the gradient wants" in out and "Disagreement" in out
        page = html.read_text()
        assert "<script" not in page and "&lt;script&gt;" in page
        assert re.search(r'src="data:image/svg', page)
        assert (png / "reward_by_length.png").read_bytes().startswith(b"\x89PNG")


def test_streaming_lists_no_responses(tmp_path, capsys):
    assert main(["score", str(write(tmp_path / "r.jsonl", made())), "--stream", "--json"]) == 1
    assert "give one of them" in capsys.readouterr().err


def test_all_unknown_and_all_equal(tmp_path):
    rows = [{"group": "a", "length": 5, "correct": 1} for _ in range(3)]
    tally = analysed(write(tmp_path / "r.jsonl", rows), "trle").tallies["trle"]
    assert (tally.silent, tally.negative) == (1, 0) and math.isnan(tally.slope)
    assert torch.tensor(tally.correlation).isnan()


def test_advantages_beside_the_prompts_right_responses_by_hand(tmp_path):
    """Right ones of 10 and 30 tokens, mean 20: half of it less, half of it more; the wrong one has that mean."""
    lengths = [(10, 1), (30, 1), (20, 0)]
    rows = [{"group": "a", "length": length, "correct": right} for length, right in lengths]
    rows += [{"group": "b", "length": 7, "correct": 0}]  # no right response to be compared with
    tally = analysed(write(tmp_path / "r.jsonl", rows), "trle").tallies["trle"]
    assert {key: one.count for key, one in tally.beside.items()} == {(True, -5): 1, (True, 5): 1, (False, 0): 1}
    assert [tally.beside[True, place].excess for place in (-5, 5)] == [-0.5, 0.5]
    short, long = (tally.beside[True, place].advantage for place in (-5, 5))
    assert short > long > 0 > tally.beside[False, 0].advantage
    assert (tally.right_of(True), tally.right_of(False)) == (2, 2)


def test_the_picture_says_what_was_counted_and_tells_equal_curves_apart(tmp_path):
    analysis = analysed(write(tmp_path / "r.jsonl", made()), "grpo", "dapo_overlong", "trle")
    figure, caption = picture(analysis)
    told = [axis.get_xlabel() for axis in figure.axes] + [axis.get_ylabel() for axis in figure.axes]
    assert told.count("mean shaped reward") == 2 and told.count("mean advantage; above 0 likelier") == 2
    assert all("tokens" in label for label in told[:4]) and "each point the mean over" in caption
    for axis in figure.axes:
        lines = [line for line in axis.get_lines() if not line.get_label().startswith("_")]
        assert len({(line.get_linewidth(), line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines)
        for line in lines:
            assert list(line.get_xdata()) == sorted(line.get_xdata())
    assert figure.axes[0].get_title() == f"right responses ({analysis.tallies['grpo'].right_of(True)})"
    analysis.notices["lengths are counted in words and signs, not tokens; give --tokenizer for tokens"] = None
    assert "words and signs" in picture(analysis)[0].axes[0].get_xlabel()


def test_the_longer_ones_are_a_share_of_those_pushed_down(tmp_path):
    rows = [{"group": "a", "length": length, "correct": 1} for length in (100, 300)]
    analysis = analysed(write(tmp_path / "r.jsonl", rows), "trle")
    (row,) = grids(analysis, {})["Why right responses are pushed down"].rows
    assert (row[0], row[2:]) == ("trle", ["1", "100.0", "100.0"])


def test_longer_is_longer_than_the_mean_of_right_responses_alone(tmp_path):
    lengths = [(100, 1)] * 9 + [(300, 1), (9000, 0)]
    rows = [{"group": "a", "length": length, "correct": right} for length, right in lengths]
    analysis = Analysis(recipes=load_recipes(["trle"], overrides=["reward.sigmoid_length.alpha=0.4"]))
    analysis.add(read_rollouts(read_records(write(tmp_path / "r.jsonl", rows))))
    tally = analysis.tallies["trle"]
    assert (tally.negative, tally.longer) == (1, 1)


def test_a_group_that_only_the_batch_moves_has_no_signal(tmp_path):
    """dler whitens over the batch: a group of equal rewards has equal advantages, which need not be 0."""
    verdicts = (("a", 1), ("a", 1), ("b", 1), ("b", 0))
    rows = [{"group": group, "length": 9 + 9 * right, "correct": right} for group, right in verdicts]
    tally = analysed(write(tmp_path / "r.jsonl", rows), "dler").tallies["dler"]
    assert (tally.groups, tally.silent) == (2, 1)


def test_a_dumps_group_is_not_torn_for_its_responses_have_ids_of_their_own(tmp_path):
    rows = [{"uid": f"{name}_{n}_0", "length": 5, "correct": 1} for name in ("a1", "b2") for n in range(3)]
    records = iter_records(write(tmp_path / "r.jsonl", rows))
    assert [len(piece) for piece in pieces(records, 1)] == [3, 3]


def test_the_most_telling_are_the_widest_gaps_however_often_a_response_is_offered(tmp_path):
    rollouts = read_rollouts(read_records(write(tmp_path / "r.jsonl", made(steps=1))))
    for seed in range(40):
        generator, analysis = random.Random(seed), Analysis(recipes={})
        widest = {}
        for _ in range(3):  # pairs of recipes
            gaps = {row: generator.random() for row in range(len(rollouts))}
            for row in sorted(gaps, key=gaps.get, reverse=True)[:10]:
                analysis._offer(rollouts, {}, gaps[row], row)
                widest[row] = max(gaps[row], widest.get(row, 0.0))
        assert [one.gap for one in analysis.most_telling()] == sorted(widest.values(), reverse=True)[:10]
