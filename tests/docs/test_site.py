"""The site: built strictly, with nothing from elsewhere; skipped, with the reason, where mkdocs is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pages import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None,
    reason="mkdocs is not installed: pip install 'leanthink[docs]'",
)
OUTSIDE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"(https?:)?//[^\"]*", re.IGNORECASE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        assert not OUTSIDE.search(page.read_text(encoding="utf-8")), page


def test_formulas_are_drawn_without_a_script(site: Path) -> None:
    text = (site / "explanation" / "formulas.html").read_text(encoding="utf-8")
    assert text.count("<math") > 30 and "arithmatex" not in text and "$$" not in text


def test_a_recipe_and_an_option_are_found_by_the_search(site: Path) -> None:
    entries = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    places = {entry["location"] for entry in entries}
    assert {"reference/recipes/truncation.html#dler", "reference/commands.html#leanthink-train"} <= places
    assert any("RolloutBatch" in entry["title"] for entry in entries)


def test_every_error_has_its_line(site: Path) -> None:
    text = (site / "reference" / "every_error.html").read_text(encoding="utf-8")
    assert text.count("<strong>ConfigError</strong>") > 300
    assert "sigmoid_length: alpha is {self.alpha}; give 0 or more and less than 1" in text


def test_a_files_link_leads_to_its_page(site: Path) -> None:
    text = (site / "tutorials" / "own_reward.html").read_text(encoding="utf-8")
    assert 'href="../files/examples/near_shortest.py.html"' in text
    assert (site / "files" / "examples" / "near_shortest.py.html").is_file()
    trl = (site / "howto" / "trl.html").read_text(encoding="utf-8")
    assert 'href="../reference/recipes/length_penalties.html#trle"' in trl
