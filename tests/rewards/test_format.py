from __future__ import annotations

import pytest

from leanthink.errors import ConfigError
from leanthink.rewards import Format

CASES = [
    ("<think> 2+2 </think> 4", True, False),
    ("\n <think>2+2</think>\n\n4\n", True, False),
    ("<think></think>4", True, False),
    ("2+2 </think> 4", False, True),
    ("</think> 4", False, True),
    ("<think> 2+2 </think> ", False, False),
    ("<think> 2+2", False, False),
    ("4", False, False),
    ("", False, False),
    ("so <think> 2+2 </think> 4", False, False),
    ("<think> a </think> b </think> c", False, False),
    ("<think> a <think> b </think> c", False, False),
    ("<think> a </think> b <think> c", False, False),
    ("<think> a </think> b <think> c </think> d", False, False),
    ("</think> <think> 4", False, False),
]


@pytest.mark.parametrize(("text", "whole", "opened"), CASES)
def test_structure(text: str, whole: bool, opened: bool) -> None:
    assert Format().measure(text) == float(whole)
    assert Format(opened_by_prompt=True).measure(text) == float(opened)


def test_tags_and_values_are_settings() -> None:
    reward = Format(open_tag="[", close_tag="]", kept=0.0, broken=-0.5)
    assert reward.measure("[2+2] 4") == 0.0 and reward.measure("<think> 2+2 </think> 4") == -0.5


@pytest.mark.parametrize("settings", [{"open_tag": ""}, {"close_tag": ""}])
def test_empty_tags_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="may not be empty"):
        Format(**settings)  # type: ignore[arg-type]
