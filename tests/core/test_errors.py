from __future__ import annotations

import pickle

import pytest

from leanthink.core import errors


@pytest.mark.parametrize(
    ("error", "stdlib"),
    [
        (errors.ConfigError, ValueError),
        (errors.BatchError, ValueError),
        (errors.MissingColumnError, KeyError),
        (errors.DataError, ValueError),
        (errors.StateError, RuntimeError),
        (errors.DependencyError, ImportError),
    ],
)
def test_each_error_is_the_stdlib_type_it_replaces(error: type[Exception], stdlib: type[Exception]) -> None:
    made = error("place: what; cure")
    assert isinstance(made, errors.LeanthinkError) and isinstance(made, stdlib)
    assert str(made) == str(pickle.loads(pickle.dumps(made))) == "place: what; cure"
