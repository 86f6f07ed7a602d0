"""The page of results on a real model, from runs that are there and from those that were kept."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leanthink.recipe.yaml import read_yaml
from leanthink.sweep.plan import Planned, Sweep
from leanthink.sweep.store import Store

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
START = {"lessons": 1600, "start": {"questions": 128, "accuracy": 0.6, "tokens": 112.3}}


@pytest.fixture(name="script")
def _script(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield runpy.run_path(str(BENCHMARKS / "results_real.py"))
    for module in ("kept_runs", "result_tables"):
        del sys.modules[module]


def figures(accuracy: float, tokens: float) -> dict[str, Any]:
    return {
        "accuracy": accuracy, "accuracy_error": 0.03, "mean_tokens": tokens, "mean_tokens_error": 4.0,
        "truncated_share": 0.02,
    }  # fmt: skip


def run_of(script: dict[str, Any], variant: str, seed: int = 1) -> Any:
    summary = {
        "recipe": "grpo", "before": figures(0.6, 120.0), "after": figures(0.64, 90.0),
        "seconds": {"per_step": {"step": 61.4}},
    }  # fmt: skip
    curves = {"tokens": [120.0, 110.0, 90.0], "accuracy": [0.5, 0.6, 0.7]}
    return script["Ended"](variant=variant, key=f"{variant}{seed}", seed=seed, summary=summary, curves=curves)


def sweep_of(*variants: str) -> Sweep:
    runs = [
        Planned(variant=name, recipe="grpo", overrides={}, seed=1, arguments=(), steps=30, key=f"{name}1")
        for name in variants
    ]
    return Sweep(runs=tuple(runs), file=BENCHMARKS / "results_real.yaml")


def test_a_line_for_each_run_and_what_is_missing_by_name(script: dict[str, Any], tmp_path: Path) -> None:
    page = script["page"]([run_of(script, "grpo"), run_of(script, "trle, alpha 0.4")], sweep_of("grpo", "dler"), START)
    assert "| the start |  | 60.0 ± 2.1 |  | 120.0 ± 2.8 |  | 2.0 |  |" in page
    assert "| `grpo` | 1 | 64.0 ± 3.0 | +4.0 ± 3.7 | 90.0 ± 4.0 | -25 | 2.0 | 61 |" in page
    assert "| trle, alpha 0.4 | 1 |" in page and "Not run: dler." in page
    assert "1,600 right and wordy solutions" in page and "60 % right at 112 tokens" in page and "one seed" in page
    script["draw"]([run_of(script, "grpo"), run_of(script, "dler")], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_whose_folder_is_gone_is_shown_as_it_was_kept(script: dict[str, Any], tmp_path: Path) -> None:
    kept = [run_of(script, "grpo"), run_of(script, "no longer asked for")]
    again = [script["Ended"](**node) for node in json.loads(json.dumps([vars(one) for one in kept]))]
    assert (
        script["ended_runs"](sweep_of("grpo", "dler"), Store(folder=tmp_path), again, script["ended_run"]) == kept[:1]
    )


def test_the_sweep_asks_for_one_start_and_verls_vllm() -> None:
    node = read_yaml(BENCHMARKS / "results_real.yaml")
    assert set(node["variants"]) >= {"grpo", "grpo_lambda", "drpo"} and len(node["variants"]) == 5
    assert (node["engine"], node["profile"], node["model"]) == ("vllm", "cpu", "runs/real/start/model")
