"""What the start policy does on each prompt: measured on stored rollouts, joined to the rows to train on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from leanthink.core.errors import ConfigError, DataError
from leanthink.data.fields import IDS, USUAL
from leanthink.data.prepare import Prepared
from leanthink.data.records import read_below, source_of
from leanthink.data.responses import split
from leanthink.data.rollouts import USUALLY, Rollouts, read_rollouts
from leanthink.rewards.harmonizing_length import REFERENCE_ACCURACY, REFERENCE_LENGTH
from leanthink.verify import Verdict


def read_reference(path: Path, tokenizer: str | None = None) -> Rollouts:
    """Rollouts of the reference policy whose lengths are tokens.

    Raises:
        DataError: they are no rollouts.
        ConfigError: they are text, and there is no tokenizer to count tokens.
    """
    records = [one for record in read_below(path) for one in split(record, USUALLY)]
    if tokenizer is None and source_of(records, [*USUAL["length"], *IDS]) is None:
        raise ConfigError(
            f"{path} has no 'length', and training compares tokens; give the policy's tokenizer with --tokenizer"
        )
    return read_rollouts(records, tokenizer=tokenizer)


def reference_values(rollouts: Rollouts) -> dict[str, dict[str, float]]:
    """Mean length (tokens) and accuracy of each prompt's responses, and their number, by prompt id as text.

    Responses whose verdict is unknown are left out.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, judgement in enumerate(rollouts.judgements):
        if judgement.verdict is not Verdict.UNKNOWN:
            rows[str(rollouts.group[row])].append(row)
    return {
        prompt: {
            REFERENCE_LENGTH: fmean(rollouts.length[row] for row in of_prompt),
            REFERENCE_ACCURACY: fmean(rollouts.judgements[row].correct for row in of_prompt),
            "reference_count": float(len(of_prompt)),
        }
        for prompt, of_prompt in rows.items()
    }


def with_reference(prepared: Prepared, values: Mapping[str, Mapping[str, float]], key: str = "index") -> Prepared:
    """The rows with their prompts' reference values in ``extra_info``; those of the test split are never shaped.

    Args:
        prepared: the rows.
        values: by prompt id, see :func:`reference_values`.
        key: the field of ``extra_info`` that holds the prompt id of the rollouts.

    Raises:
        ConfigError: there is no such field, or nothing to train on.
        DataError: a prompt without rollouts.
    """
    if "train" not in prepared.rows:
        raise ConfigError("--reference is for rows to train on, and there are none; lower --test-share")
    rows = []
    for row in prepared.rows["train"]:
        info: Mapping[str, Any] = row["extra_info"]
        if key not in info:
            raise ConfigError(
                f"--reference-key {key}: no such field; carry it with --keep {key} (there are: {', '.join(info)})"
            )
        found = values.get(str(info[key]))
        if found is None:
            raise DataError(
                f"no rollout with a verdict for the prompt with {key} {info[key]!r} "
                f"({row['prompt'][0]['content']!r:.80}); give rollouts of every prompt, by the id in {key!r}, or name "
                f"another field with --reference-key (the rollouts have: {', '.join(sorted(values)[:5])}, ...)"
            )
        rows.append({**row, "extra_info": {**info, **found}})
    counts = [values[str(row["extra_info"][key])]["reference_count"] for row in rows]
    notice = f"reference values: means of {min(counts):.0f} to {max(counts):.0f} rollouts a prompt"
    return replace(prepared, rows={**prepared.rows, "train": rows}, notices=[*prepared.notices, notice])
