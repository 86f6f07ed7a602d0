from __future__ import annotations

import pickle

import pytest

from leanthink.algorithms import PpoClip
from leanthink.errors import ConfigError


def test_settings_compare_hash_and_pickle() -> None:
    loss = PpoClip(high=0.28, aggregation="seq-mean-token-sum")
    assert pickle.loads(pickle.dumps(loss)) == loss and hash(loss) == hash(
        PpoClip(high=0.28, aggregation=loss.aggregation)
    )
    assert loss != PpoClip()


@pytest.mark.parametrize(
    ("settings", "fact"),
    [
        ({"low": 0.0}, "low is 0.0"),
        ({"low": 1.0}, "low is 1.0"),
        ({"high": 0.0}, "high 0.0"),
        ({"dual": 1.0}, "dual is 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], fact: str) -> None:
    with pytest.raises(ConfigError, match=fact):
        PpoClip(**settings)  # type: ignore[arg-type]
