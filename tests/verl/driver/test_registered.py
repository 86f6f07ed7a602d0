import subprocess
import sys

import pytest
from verl.trainer.ppo import core_algos

from leanthink.core.errors import DependencyError
from leanthink.verl.driver.registered import check_registered


def test_importing_verl_registers_us():
    code = (
        "import verl\n"
        "from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY\n"
        "assert 'leanthink' in ADV_ESTIMATOR_REGISTRY\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_registration_that_failed_is_said_plainly(monkeypatch):
    check_registered()
    monkeypatch.delitem(core_algos.ADV_ESTIMATOR_REGISTRY, "leanthink")
    with pytest.raises(DependencyError, match=r"no advantage estimator 'leanthink'.*leanthink doctor"):
        check_registered()
