"""The report: what it reads, what its numbers are, and that its page needs nothing from outside."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import sys
from statistics import fmean

import pytest

import made_runs as made
from leanthink.cli import main
from leanthink.core.errors import ConfigError, DataError, WriteError
from leanthink.reporting import build
from leanthink.reporting.build import report_of, write_report
from leanthink.reporting.figures import aes, by_question, compared, dominated, figures, last_samples, vote_figures
from leanthink.reporting.pictures import _pareto, _part_keys, pictures
from leanthink.reporting.ran import ran_grid
from leanthink.reporting.sources import COSTS, EFFORT, EFFORT_NAME, Sample, read_sources
from leanthink.reporting.variants import curve, variants
from leanthink.runs.folder import Run
from leanthink.runs.identity import Difference, Record, read_record


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return made.write_sweep(tmp_path_factory.mktemp("sweep"))


def test_seeds_come_together_and_settings_apart(sweep, tmp_path):
    made.write_run(tmp_path / "strong", "short", 3, quality=0.9, tokens=15, alpha=0.4)
    together = variants(read_sources([sweep, tmp_path]))
    assert {one.label: len(one.sources) for one in together} == {
        "gone": 1,
        "long": 2,
        "short alpha=0.1": 2,
        "short alpha=0.4": 1,
    }


def test_a_resumed_run_is_no_other_variant(tmp_path):
    for seed in (1, 2):
        run = made.write_run(tmp_path / f"run-{seed}", "short", seed, quality=0.9, tokens=15)
        resumed = "  trainer.val_before_train=False \\\n" if seed == 2 else ""
        (run / "command.txt").write_text(f"python -m verl \\\n{resumed}  trainer.save_freq=2\n")
    assert {one.label: len(one.sources) for one in variants(read_sources([tmp_path]))} == {"short": 2}


def test_variants_are_told_apart_by_what_the_runs_are(tmp_path):
    """The seed and versions make no other variant; data of another content do, whatever its path."""
    files = {"one": "a" * 64, "two": "a" * 64, "three": "b" * 64}
    for seed, (name, digest) in enumerate(files.items()):
        run = made.write_run(tmp_path / name, "short", seed, quality=0.9, tokens=15)
        facts = {
            "data.train_files": [{"path": f"{name}.parquet", "rows": 3, "sha256": digest}],
            "data.seed": seed,
            "version.torch": str(seed),
            "trainer.save_freq": seed,
            "recipe.reward.short.alpha": 0.1,
        }
        record = Record(facts=facts)
        if name == "two":
            change = Difference(name="data.train_batch_size", before=8, after=16)
            record = record.started(facts, 0).started(facts, 4, [change])
        record.write(run / "run.json")
    sources = read_sources([tmp_path])
    grouped = {one.label: [source.name for source in one.sources] for one in variants(sources)}
    assert grouped == {
        "short train_files=3 rows aaaaaa": ["one", "two"],
        "short train_files=3 rows bbbbbb": ["three"],
    }
    told = [notice for source in sources for notice in source.notices]
    assert told == ["two went on after step 4 with a change: data.train_batch_size is 16, was 8"]


@pytest.mark.parametrize(("quality", "tokens", "told"), [(0.1, 300, "short (dominated)"), (1.0, 5, "short")])
def test_a_run_worse_than_no_training_is_on_no_front(tmp_path, quality, tokens, told):
    run = made.write_run(tmp_path / "run", "short", 1, quality=quality, tokens=tokens)
    sources = read_sources([run])
    figure, _ = _pareto(variants(sources), figures(0, sources[0].evaluations[0]))
    assert told in figure.axes[0].get_legend_handles_labels()[1]


def test_a_variant_is_stopped_where_all_its_seeds_are(tmp_path):
    for seed, stopped in ((1, {"reason": "below 0.2"}), (2, None)):
        made.write_run(tmp_path / str(seed), "short", seed, quality=0.9, tokens=20, stopped=stopped)
    (one,) = variants(read_sources([tmp_path / "1", tmp_path / "2"]))
    assert [bool(source.stopped) for source in one.sources] == [True, False] and not one.stopped
    (alone,) = variants(read_sources([tmp_path / "1"]))
    assert alone.stopped


def test_a_stopped_run_is_marked_and_an_unfinished_one_told(sweep, tmp_path, capsys):
    run = made.write_run(tmp_path / "running", "short", 5, quality=0.9, tokens=20)
    (run / "summary.json").unlink()
    (run / "validation" / "12.jsonl").unlink()
    assert main(["report", str(sweep), str(run), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "gone was stopped early: accuracy below 0.2" in out
    assert "running has not finished" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "gone [stopped early]" in page
    assert "<td>running</td>" not in page  # it has evaluated its start only


def test_figures_by_hand(sweep):
    source = next(one for one in read_sources([sweep]) if one.name == "short-1")
    rows = [json.loads(line) for line in (sweep / "short-1" / "validation" / "12.jsonl").read_text().splitlines()]
    own = figures(12, source.evaluations[12])
    right = [row for row in rows if row["acc"]]
    assert own.questions == 12 and own.samples == 24
    assert own.accuracy.value == pytest.approx(len(right) / 24)
    assert own.tokens_right.value == pytest.approx(sum(row["length"] for row in right) / len(right))
    assert own.accuracy.low <= own.accuracy.value <= own.accuracy.high
    solved = {row["input"] for row in right}
    assert own.pass_at_k[2].value == pytest.approx(len(solved) / 12)
    assert own.pass_at_k[1].value == pytest.approx(own.accuracy.value)
    assert list(own.by_difficulty) == ["2", "3", "4"]
    assert set(vote_figures(source.evaluations[12]).rules) == {"majority@2", "short-1@2"}
    base = source.evaluations[0]
    assert aes(base, base).value == 0


def test_accuracy_is_the_verdict_never_the_score(sweep):
    source = read_sources([sweep / "short-1"])[0]
    assert {one.correct for one in source.evaluations[12]} == {0.0, 1.0}


def test_unknown_verdicts_are_left_out_and_counted(tmp_path):
    run = made.write_run(tmp_path / "run", "short", 1, quality=1.0, tokens=20)
    path = run / "validation" / "12.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0] |= {"unknown": 1.0, "acc": 0.0}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    own = figures(12, read_sources([run])[0].evaluations[12])
    assert (own.samples, own.unknown, own.accuracy.value) == (23, 1, 1.0)


def test_the_page_holds_everything_and_nothing_from_outside(sweep, tmp_path):
    assert main(["report", str(sweep), "--out", str(tmp_path), "--baseline", "long-1"]) == 0
    page = (tmp_path / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses and all(one.startswith(("data:image/svg+xml;base64,", "#")) for one in addresses)
    assert "default-src 'none'" in page and "<script" not in page
    for said in ("AES", "Paired comparison", "pass@k", "majority@2", "Difference to: long-1", "95 % bootstrap"):
        assert said in page
    for name in ("pareto", "curves", "reward_parts", "difficulty", "pass_at_k"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_names_of_runs_are_escaped(tmp_path):
    made.write_run(tmp_path / "<b>run", "short", 1, quality=0.5, tokens=20)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "<b>run" not in (tmp_path / "out" / "report.html").read_text()


def test_a_runs_own_metrics_file(tmp_path):
    folder = made.write_run(tmp_path / "one", "grpo", 1, quality=0.6, tokens=30)
    run = Run(folder=folder)
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in run.read_metrics()))
    (source,) = read_sources([run.metrics])
    assert source.name == "one" and source.metrics == run.read_metrics() and not source.evaluations


def test_plain_dumps_of_verl_and_its_metrics_file(tmp_path):
    dumps = tmp_path / "val"
    dumps.mkdir()
    rows = [{"input": "q", "output": "a b c", "gts": "1", "score": score, "step": 5} for score in (1.0, 0.0)]
    (dumps / "5.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(json.dumps({"step": 1, "data": {"leanthink/accuracy": 0.5}}) + "\n")
    sources = read_sources([dumps, metrics])
    own = figures(5, sources[0].evaluations[5])
    assert (own.accuracy.value, own.tokens.value) == (0.5, 3)
    assert any("words and signs" in notice for notice in sources[0].notices)
    assert curve(sources[1:], "leanthink/accuracy") == [(1, 0.5, 0.5, 0.5)]
    report = report_of(sources)
    assert report.baseline == "val"


def test_what_plain_dumps_do_not_tell_is_said_and_not_counted(tmp_path):
    rows = [{"input": "q", "output": "a b c", "gts": "1", "score": score, "step": 5} for score in (1.0, 0.0)]
    path = tmp_path / "5.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (source,) = read_sources([tmp_path])
    assert math.isnan(figures(5, source.evaluations[5]).truncated.value)
    notices = report_of([source]).notices
    assert any("the limit cut is not known: no 'truncated'" in one for one in notices)
    assert build.NO_ANSWERS in notices and build.MORE_SAMPLES not in notices  # two samples a question, no answers
    path.write_text(json.dumps(rows[0] | {"truncated": 1}) + "\n")
    (source,) = read_sources([tmp_path])
    assert figures(5, source.evaluations[5]).truncated.value == 1
    assert build.MORE_SAMPLES in report_of([source]).notices


def test_a_shaped_score_is_no_verdict(tmp_path):
    path = tmp_path / "5.jsonl"
    path.write_text(json.dumps({"input": "q", "output": "a", "gts": "1", "score": 0.93, "step": 5}) + "\n")
    with pytest.raises(DataError, match="line 1: no verdict of 0 or 1"):
        read_sources([tmp_path])


@pytest.mark.parametrize(
    ("given", "cure"),
    [("nothing", "does not exist"), ("empty", "holds no run"), ("a.txt", "jsonl")],
)
def test_wrong_paths(tmp_path, given, cure):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match=cure):
        read_sources([tmp_path / given])


def test_a_baseline_that_is_not_there(sweep):
    with pytest.raises(ConfigError, match="did you mean 'long-1'"):
        report_of(read_sources([sweep]), "log-1")


def test_the_seeds_of_a_variant_are_a_baseline_together(sweep):
    sources = read_sources([sweep])
    ends = {one.name: last_samples(one)[1] for one in sources}
    seeds = [name for name in ends if name.startswith("long-")]
    others = [name for name in ends if name not in seeds]
    rows = report_of(sources, "long").comparisons.rows
    assert len(seeds) > 1 and [row[0] for row in rows] == others

    def mean(samples):  # over questions, each the mean of its samples
        return fmean(fmean(one.length for one in own) for own in by_question(samples).values())

    base = mean([one for name in seeds for one in ends[name]])
    for row, name in zip(rows, others, strict=True):
        assert float(row[4].split()[0]) == pytest.approx(mean(ends[name]) - base, abs=0.06)
    with pytest.raises(ConfigError, match="no such run or variant with an evaluation; did you mean 'long'"):
        report_of(sources, "lomg")


def test_dominated_points_and_questions():
    assert dominated([(1, 1.0), (1, 1.0)]) == [False, False]
    assert by_question([]) == {}
    assert math.isnan(figures(0, []).accuracy.value)


def some(question, correct, length, difficulty="", answer="1"):
    return Sample(
        question=question, correct=correct, length=length, truncated=False, difficulty=difficulty, answer=answer,
        text="", gold="1", overthinking=None,
    )  # fmt: skip


def test_a_comparison_is_the_second_less_the_first():
    base = [some("a", 1.0, 10.0), some("b", 1.0, 20.0), some("c", 0.0, 30.0)]
    worse = [some("a", 0.0, 40.0), some("b", 1.0, 30.0), some("c", 0.0, 50.0)]
    told = compared("base", base, "worse", worse)
    assert (told.first, told.second) == ("base", "worse")
    assert told.accuracy.difference.value == pytest.approx(-1 / 3)
    assert told.tokens.difference.value == pytest.approx((30 + 10 + 20) / 3)


def test_the_aes_is_against_the_baseline():
    """Half the tokens at the same accuracy: 0.5; against the better one, twice the tokens: -1."""
    long, short = ([some(q, 1.0, length) for q in "abc"] for length in (40.0, 20.0))
    assert aes(long, short).value == pytest.approx(0.5)
    assert aes(short, long).value == pytest.approx(-1.0)


def test_each_difficulty_has_its_own_samples():
    samples = [some("a", 1.0, 10.0, "1"), some("b", 0.0, 30.0, "2"), some("c", 0.0, 50.0, "2"), some("d", 1.0, 7.0)]
    levels = figures(0, samples).by_difficulty
    assert {name: (one.samples, one.accuracy.value, one.tokens.value) for name, one in levels.items()} == {
        "1": (1, 1.0, 10.0),
        "2": (2, 0.0, 40.0),
    }


@pytest.mark.parametrize(
    ("points", "worse"),
    [
        ([(10, 0.5), (10, 0.6)], [True, False]),  # as many tokens, less accurate
        ([(10, 0.5), (12, 0.5)], [False, True]),  # as accurate, more tokens
        ([(10, 0.5), (9, 0.4)], [False, False]),
    ],
)
def test_a_point_is_dominated_by_one_that_is_equal_in_one_and_better_in_the_other(points, worse):
    assert dominated(points) == worse


def test_an_answer_that_is_not_there_has_no_vote():
    answers = [None, None, None, "1", "1"]
    samples = [some("a", 1.0 if one else 0.0, 10.0 + n, answer=one) for n, one in enumerate(answers)]
    accuracy, _ = vote_figures(samples).rules["majority@5"]
    assert accuracy.value == 1.0


def test_the_report_says_what_was_run(tmp_path, capsys, monkeypatch):
    words = ["leanthink", "train", "short", "--steps", "12", "reward.sigmoid_length.alpha=0.4", "--out", "a b"]
    monkeypatch.setattr(sys, "argv", words)
    facts = {
        "recipe.reward.sigmoid_length.alpha": 0.4,
        "trainer.total_training_steps": 12,
        "data.seed": 7,
        "actor_rollout_ref.model.path": {"path": "my/model", "sha256": "0123456789"},
        "data.train_files": [{"path": "t.parquet", "rows": 24, "sha256": "abcdef0123"}],
        "version.verl": "0.9.1",
        "version.torch": "2.13.0",
    }
    runs = [made.write_run(tmp_path / name, "short", 1, quality=0.9, tokens=15, alpha=0.4) for name in ("one", "old")]
    Record(facts={}).started(facts, 0).write(runs[0] / "run.json")
    (runs[1] / "run.json").unlink(missing_ok=True)  # an earlier version's
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "report")]) == 0
    out, page = capsys.readouterr().out, (tmp_path / "report" / "report.html").read_text()
    assert out.splitlines()[-1] == f"report: {tmp_path / 'report' / 'report.html'}"
    (section,) = re.findall(r"<summary>What was run</summary>(.*?)</details>", page, re.DOTALL)
    told = dict(re.findall(r"<td>([^<]*)</td><td(?: class=text)?>([^<]*)</td></tr>", section))
    command = "leanthink train short --steps 12 reward.sigmoid_length.alpha=0.4 --out &#x27;a b&#x27;"
    assert (
        told.items()
        >= {
            "recipe": "short",
            "changes": "reward.sigmoid_length.alpha=0.4",
            "steps": "12",
            "seed": "7",
            "model": "my/model (sha256 01234567)",
            "training data": "t.parquet (24 rows, sha256 abcdef01)",
            "versions": "verl 0.9.1, torch 2.13.0",
            "command": command,
        }.items()
    )
    assert "from step 0" in told["started"] and "<td>old</td>" not in section


def test_two_strengths_of_one_recipe_are_told_apart_everywhere(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    told = {"quality": 0.9, "tokens": 15}
    runs = [made.write_run(tmp_path / f"run-{alpha}", "short", 1, alpha=alpha, **told) for alpha in (0.1, 0.4)]
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "report")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for alpha in (0.1, 0.4):
        assert f"short alpha={alpha} (12)" in out, out  # before and after
        assert f"short alpha={alpha}" in out.partition("Mean seconds")[2]


def test_a_record_keeps_the_words_of_leanthink_alone(tmp_path, monkeypatch):
    for argv, words in (
        (["/usr/bin/leanthink", "train", "trle"], ("train", "trle")),
        (["/x/leanthink/__main__.py", "train", "\ud835"], ("train", "\ufffd")),
        (["/usr/bin/pytest", "-q"], ()),
        (["-c"], ()),
        ([], ()),
    ):
        monkeypatch.setattr(sys, "argv", argv)
        Record(facts={}).started({}, 0).write(tmp_path / "run.json")
        assert read_record(tmp_path / "run.json").starts[0].words == words
    (tmp_path / "run.json").write_text('{"facts": {}, "starts": [{"at": "now", "from_step": 0, "changed": []}]}')
    assert read_record(tmp_path / "run.json").starts[0].words == ()  # an earlier version's


def test_votes_are_told_alike_by_the_tolerances_that_judged(tmp_path):
    run = made.write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=20)
    judged_by = {"task": "numeric", "relative_tolerance": 0.25, "absolute_tolerance": 0.5}
    Record(facts={f"leanthink.verify.{name}": value for name, value in judged_by.items()}).write(run / "run.json")
    (source,) = read_sources([run])
    assert source.judged_by == judged_by


def test_the_command_of_a_run_is_that_of_its_last_start(tmp_path, monkeypatch):
    run = made.write_run(tmp_path / "one", "short", 1, quality=0.9, tokens=15)
    record = Record(facts={})
    for step, alpha in ((0, 0.4), (6, 0.2)):
        monkeypatch.setattr(sys, "argv", ["leanthink", "train", "short", f"reward.sigmoid_length.alpha={alpha}"])
        record = record.started({}, step)
    record.write(run / "run.json")
    told = {row[1]: row[2] for row in ran_grid(read_sources([run])).rows}
    assert told["changes"] == "reward.sigmoid_length.alpha=0.2" and told["command"].endswith("alpha=0.2")
    assert told["started"].count("from step") == 2


def test_a_part_that_came_with_a_resume_is_drawn(tmp_path):
    run = made.write_run(tmp_path / "one", "short", 1, quality=0.9, tokens=15)
    line = {"step": 12, "data": {"leanthink/part/length": -0.1, "leanthink/part/format": 1.0}}
    (run / "attempts" / "001.jsonl").write_text(json.dumps(line) + "\n")
    keys = [key for key, *_ in _part_keys(variants(read_sources([run])))]
    assert keys == ["leanthink/reward/all", "leanthink/part/format", "leanthink/part/length"]


@pytest.mark.parametrize("name", ["length", COSTS[0], EFFORT])
@pytest.mark.parametrize("value", [1e308, 10**290, -1e200])
def test_a_number_of_which_no_mean_could_be_taken_is_named(tmp_path, name, value):
    run = made.write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=15)
    row = json.dumps({"acc": 1, "length": 3, "input": "q", EFFORT_NAME: "low", **{name: value}})
    (run / "validation" / "12.jsonl").write_text(row + "\n")
    with pytest.raises(DataError, match=rf"12.jsonl, line 1: {name} is .*; give a number"):
        read_sources([run])


def test_a_file_that_is_called_by_no_step_is_no_dump(tmp_path):
    run = made.write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=15)
    dump = (run / "validation" / "12.jsonl").read_text()
    for name in ("\u00b2", "\u0663", "9" * 200):
        (run / "validation" / f"{name}.jsonl").write_text(dump)
    for given in (run, run / "validation"):
        assert list(read_sources([given])[0].evaluations) == [0, 12]


def test_metrics_that_are_no_sizes_are_not_drawn(tmp_path, capsys):
    run = made.write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=15)
    with (run / "attempts" / "000.jsonl").open("a") as file:
        for step, value in ((13, "1e308"), (14, "1e308"), (15, "9" * 299), (16, "NaN"), (17, '"x"')):
            data = f'{{"leanthink/accuracy": {value}, "leanthink/length/all": {value}}}'
            file.write(f'{{"step": {step}, "data": {data}}}\n')
    assert main(["report", str(run), "--out", str(tmp_path / "out"), "--plot", str(tmp_path / "plot.png")]) == 0
    points = curve(read_sources([run]), "leanthink/accuracy")
    assert [step for step, *_ in points] == [*range(1, 13)]


@pytest.mark.parametrize("digest", [5, None])
def test_a_fact_of_another_kind_ends_no_report(tmp_path, digest):
    run = made.write_run(tmp_path / "run", "short", 1, quality=0.9, tokens=15)
    fact = [{"path": "a", "sha256": digest}]
    record = Record(facts={"data.train_files": fact})
    record.started(record.facts, 4, [Difference(name="data.train_files", before=fact, after=None)]).write(
        run / "run.json"
    )
    report = report_of(read_sources([run]))
    assert f"data.train_files is not set, was a (sha256 {digest})" in report.notices[0]


@pytest.mark.parametrize("full", ["page", "last picture"])
def test_a_report_is_written_whole_or_not_at_all(sweep, tmp_path, monkeypatch, full):
    """On a full disk neither pictures without their page are left, nor those of two reports."""

    def no_space(*_given, **_how):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    report, folder = report_of(read_sources([sweep])), tmp_path / "out"

    def there():
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def fails():
        with monkeypatch.context() as patch, pytest.raises(WriteError, match="No space left on device; free some"):
            if full == "page":
                patch.setattr(build, "page", lambda *_: Full())
            else:
                last = list(pictures(report.variants, report.start).values())[-1][0]
                patch.setattr(
                    build, "pictures", lambda *_, **__: {**pictures(report.variants, report.start), "x": (last, "")}
                )
                patch.setattr(last, "savefig", no_space)
                patch.setattr(build, "data_uri", lambda _: "")
            write_report(report, folder)

    class Full(str):
        encode = no_space

    fails()
    assert there() == {}
    write_report(report, folder)
    whole = there()
    assert {"report.html", "pareto.png"} <= whole.keys()
    fails()
    assert there() == whole
