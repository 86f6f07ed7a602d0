from __future__ import annotations

from typing import Any

import pytest
from trl import GRPOTrainer

from leanthink.core.errors import DependencyError
from leanthink.trl.names import METHODS, check_names


def test_the_installed_trl_fits() -> None:
    check_names(GRPOTrainer)


@pytest.mark.parametrize("name", METHODS)
def test_another_signature_is_refused_with_the_versions_that_fit(name: str) -> None:
    other = type("Other", (GRPOTrainer,), {name: lambda self, anything: None})
    with pytest.raises(DependencyError, match=rf"Other.{name} takes \(anything\), but .* 'trl>=1.16,<2'"):
        check_names(other)


def test_a_function_around_a_method_is_let_pass() -> None:
    def around(self: Any, *given: Any, **named: Any) -> Any: ...

    check_names(type("Other", (GRPOTrainer,), {"_generate": around}))


def test_a_missing_name_is_refused() -> None:
    with pytest.raises(DependencyError, match="_calculate_rewards is not there"):
        check_names(object)
