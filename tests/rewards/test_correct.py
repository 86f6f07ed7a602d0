from __future__ import annotations

import pytest

from leanthink.core.batch import RolloutBatch
from leanthink.core.errors import ConfigError
from leanthink.rewards import Correct

EXAMPLES = [Correct(), Correct(right=0.1, wrong=-1.0)]

BATCH = RolloutBatch.of(group=[0, 0], length=[5, 8], correct=[1, 0])


@pytest.mark.parametrize(("right", "wrong"), [(1.0, 0.0), (1.0, -1.0), (0.1, -0.2), (1e-300, -1e300)])
def test_the_two_values_are_exact(right: float, wrong: float) -> None:
    assert Correct(right=right, wrong=wrong)(BATCH)[0].tolist() == [right, wrong]


@pytest.mark.parametrize(("right", "wrong"), [(0.0, 0.0), (-1.0, 1.0)])
def test_right_must_be_above_wrong(right: float, wrong: float) -> None:
    with pytest.raises(ConfigError, match="not above wrong"):
        Correct(right=right, wrong=wrong)
