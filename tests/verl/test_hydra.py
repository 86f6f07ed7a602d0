import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from leanthink.recipe.definition import load_recipe, recipe_names
from leanthink.recipe.nodes import describe
from leanthink.verl.hydra import literal, overrides

PARSER = OverridesParser.create()

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True), inner)
    ),
    max_leaves=8,
)


def read_back(value):
    return PARSER.parse_override(f"key={literal(value)}").value()


def plain(value):
    """Hydra keeps quoted strings as objects of its own inside containers."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.text if hasattr(value, "text") else value


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_hydra_reads_back_what_was_written(value):
    assert plain(read_back(value)) == value


@pytest.mark.parametrize(
    "text", ["it's", "a\\", "\\'", "a b", "", "null", "True", "1e-6", "[x]", "{a: b}", "<think>", "a=b", "x,y", "$"]
)
def test_awkward_text(text):
    assert plain(read_back(text)) == text
    assert plain(read_back({"key": [text]})) == {"key": [text]}


def test_a_class_of_ones_own_travels_as_a_key():
    assert plain(read_back({"my_pkg.mod:Mine": {"price": 0.1}})) == {"my_pkg.mod:Mine": {"price": 0.1}}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_travels(name):
    node = describe(load_recipe(name).reward)
    assert plain(read_back(node)) == node


def test_what_has_no_place_in_an_override_is_refused():
    with pytest.raises(TypeError, match="no place in an override"):
        overrides({"key": object()})
