"""The long check of every reader, beside the tests: `make fuzz`, or `pytest -s tests/security/fuzz.py`.

100,000 damaged files in all, without an error that is not ours, a wait, or memory that grows; and, where atheris is
installed, as many that coverage has guided.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import fuzzing
import leanthink
from fuzzing import SEEDS, faults

INPUTS = 100_000
SLOW = ("metrics", "validation", "summary", "tokenizer")  # a whole report each, or a tokenizer
GROWTH = 300  # MiB that importing and the largest allowed input may take

GUIDED = """
import sys
import atheris
with atheris.instrument_imports(include=["leanthink.files", "leanthink.recipe", "leanthink.data", "leanthink.runs"]):
    from fuzzing import SEEDS, readers
from pathlib import Path
from leanthink.core import code
from leanthink.core.errors import LeanthinkError
folder, kind, runs = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
read = readers(folder)[kind]
corpus = folder / "corpus"
corpus.mkdir()
for number, seed in enumerate(SEEDS[kind]):
    (corpus / str(number)).write_bytes(seed)

def one(content):
    with code.trusting(()):
        try:
            read(content)
        except LeanthinkError:
            pass

atheris.Setup([sys.argv[0], str(corpus), f"-runs={runs}", "-timeout=60", "-rss_limit_mb=8192", "-seed=7"], one)
atheris.Fuzz()
"""


def share(kind: str) -> int:
    """How many inputs a reader gets: reports take longer."""
    return 2_000 if kind in SLOW else (INPUTS - 2_000 * len(SLOW)) // (len(SEEDS) - len(SLOW)) + 1


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    assert sum(map(share, SEEDS)) >= INPUTS
    (tmp_path / "warm").mkdir()
    assert list(faults(tmp_path / "warm", kind, 50, 0)) == []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (tmp_path / "all").mkdir()
    assert list(faults(tmp_path / "all", kind, share(kind), int(os.environ.get("SEED", "7"))))[:10] == []
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < GROWTH


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
def test_guided_by_coverage(tmp_path: Path, kind: str) -> None:
    paths = [str(Path(leanthink.__file__).parents[1]), str(Path(fuzzing.__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    line = [sys.executable, "-c", GUIDED, str(tmp_path), kind, str(share(kind))]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
