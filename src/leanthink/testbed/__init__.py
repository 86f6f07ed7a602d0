"""Tiny tasks, tokenizers and policies on which reasoning can be shortened, and harmed, within minutes on a CPU.

``policy_path()`` is the folder of a shipped Llama model of 0.8 million parameters that answers chains of sums and
differences. It re-checks its steps too often on short chains, and needs re-checks on long ones. The policy of
``policy_path("search")`` tries candidates until one is right; there the best trade of tokens for accuracy is known
(`leanthink.testbed.front`).
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from leanthink.core.errors import DataError
from leanthink.files.reading import read_object
from leanthink.testbed.beds import testbed_named
from leanthink.testbed.task import Question, Task, Trace, answer, questions, sample_question, sample_trace

__all__ = [
    "Question",
    "Task",
    "Trace",
    "answer",
    "policy_path",
    "questions",
    "sample_question",
    "sample_trace",
    "verify_policy",
]

MANIFEST, WEIGHTS = "manifest.json", "model.safetensors"
CURE = "reinstall leanthink, or train the policy again: python -m leanthink.testbed.build"


def policy_path(testbed: str = "chains") -> Path:
    """The folder of a testbed's shipped policy: weights, tokenizer, chat template and manifest.

    >>> (policy_path() / "model.safetensors").stat().st_size < 5_000_000
    True
    """
    folder = Path(str(files("leanthink.testbed"))) / "policies" / testbed_named(testbed).name
    verify_policy(folder)
    return folder


def verify_policy(folder: Path) -> dict[str, Any]:
    """Check a policy's files against its manifest, which is returned; raise a `DataError` where they differ."""
    try:
        manifest = read_object(folder / MANIFEST)
        sums = dict(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"testbed policy: no readable {MANIFEST} in {folder} ({error!r}); {CURE}") from error
    for name, wanted in sums.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"testbed policy: {folder / name} cannot be read ({error}); {CURE}") from error
        if found != wanted:
            raise DataError(f"testbed policy: {folder / name} has sha256 {found}, its manifest says {wanted}; {CURE}")
    return manifest
