"""Tables in a terminal of 80 columns, and in a pipe: nothing is cut off, and no column vanishes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import made_runs as made
from leanthink.cli import main
from leanthink.reporting.grid import LESS, folded, grid_table
from leanthink.reporting.page import Grid
from leanthink.terminal import Terminal

WIDTHS = [80, 100, 120]
QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.jsonl"


def rendered(grid: Grid, width: int) -> str:
    console = Terminal(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(grid_table("title", grid, width))
    return capture.get()


def tables(out: str) -> list[list[list[str]]]:
    """The cells of each table, lines of one column put together."""
    found: list[list[list[str]]] = []
    for line in out.splitlines():
        if line.startswith("┏"):
            found.append([])
        elif line[:1] in "│┃" and found:
            found[-1].append([cell.strip() for cell in re.split("[│┃]", line)[1:-1]])
    return found


def whole(text: str) -> str:
    return "".join(text.split())


GRIDS = {
    "long keys": Grid(
        heads=("number", "changed", "moves %", "per 100 tokens", "right, down %"),
        rows=[
            [
                "shorter_better: reward.sum.length.shortest_correct_length.beta",
                "1e-07 → 1.1e-07",
                "0.74",
                "-0.2",
                "18.4",
            ]
        ],
    ),
    "many intervals": Grid(
        heads=("run", "step", "accuracy %", "tokens", "cut %", "AES"),
        rows=[["trle alpha=0.4 (sweep/seed-1)", "70", *["75.2 [71.9, 178.4]"] * 3, "-0.123 [-0.200, -0.100]"]],
    ),
    "a word longer than all": Grid(heads=("a", "b"), rows=[["x" * 150, "1"]]),
    "no rows": Grid(heads=("a", ""), rows=[]),
    "an empty cell": Grid(heads=("a", ""), rows=[["", "-"], ["b", "?"]]),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", GRIDS)
def test_everything_is_shown(name: str, width: int) -> None:
    grid = GRIDS[name]
    out = rendered(grid, width)
    assert max(map(len, out.splitlines())) <= width and "…" not in out
    (table,) = tables(out)
    for place, head in enumerate(grid.heads):
        column = "".join(whole(row[place]) for row in table)
        assert column == "".join([whole(head), *(whole(row[place]) for row in grid.rows)])


def test_a_narrow_terminal_goes_without_what_matters_less() -> None:
    grid = Grid(heads=("run", *LESS), rows=[["a", *("1" for _ in LESS)]])
    assert len(tables(rendered(grid, 120))[0][0]) == 1
    assert len(tables(rendered(grid, 150))[0][0]) == 1 + len(LESS)


def test_keys_are_broken_between_their_words() -> None:
    assert folded("reward.sum.length.scale.by=0.25", 18) == "reward.sum.length.\nscale.by=0.25"
    assert folded("a b", 1) == "a\nb" and folded("", 3) == "" and folded("abcdef", 4) == "abcd\nef"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_replay_at_any_width(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    recipes = [word for name in ("grpo", "trle", "shorter_better") for word in ("--recipe", name)]
    options = ["--group-field", "question", "--sensitivity", "0.1"]
    assert main(["score", str(QUICKSTART), *recipes, *options]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line[:1] in "│┃┏└"]
    assert max(map(len, lines)) <= width and "…" not in "".join(lines) and "\x1b" not in out
    assert not re.search("[┃│][┃│]", "\n".join(lines))  # no column of width 0
    cells = {cell for table in tables(out) for row in table for cell in row}
    assert {"grpo", "trle", "shorter_better", "correlation"} <= cells
    wanted = next(table for table in tables(out) if any("correlation" in row for row in table))
    assert whole("".join(row[2] for row in wanted)).startswith(whole("right, down %"))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_at_any_width(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    told = {"quality": 0.9, "tokens": 15}
    names = {alpha: tmp_path / f"a-run-with-a-long-name-{alpha}" for alpha in (0.1, 0.4)}
    runs = [str(made.write_run(path, "shorter_better", 1, alpha=alpha, **told)) for alpha, path in names.items()]
    assert main(["report", *runs, "--out", str(tmp_path / "report")]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line[:1] in "│┃┏└├"]
    assert max(map(len, lines)) <= width and "…" not in "".join(lines)
    assert not re.search("[┃│][┃│]", "\n".join(lines))
    for table in tables(out):
        assert all(len(row) == len(table[0]) for row in table)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_plan_at_any_width(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    file = shutil.copy(Path(__file__).parents[2] / "examples" / "sweep.yaml", tmp_path / "sweep.yaml")
    assert main(["sweep", str(file), "--dry-run", "--out", str(tmp_path / "out")]) == 0
    (table,) = tables(capsys.readouterr().out)
    assert whole("".join(row[2] for row in table)).count("reward.sigmoid_length.alpha=0.2") == 2
    assert json.dumps(table).count("2 min") == 8
