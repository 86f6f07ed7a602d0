from __future__ import annotations

import pickle

import pytest
import torch

from leanthink.algorithms import PpoClip
from leanthink.core.errors import ConfigError

EXAMPLES = [PpoClip(), PpoClip(high=0.28, aggregation="seq-mean-token-mean")]


def test_settings_compare_hash_and_pickle() -> None:
    loss = PpoClip(high=0.28, aggregation="seq-mean-token-sum")
    assert pickle.loads(pickle.dumps(loss)) == loss and hash(loss) == hash(
        PpoClip(high=0.28, aggregation=loss.aggregation)
    )
    assert loss != PpoClip()


def test_verls_own_losses_read_the_reward_and_leave_the_advantage_to_the_recipe() -> None:
    loss, ones_N = PpoClip(), torch.ones(2)
    assert loss.reads_reward and loss.reads_advantage and not loss.whole_groups and loss.notice is None
    assert loss.advantage(ones_N, torch.tensor([0, 0]), ones_N, ones_N) is None


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
