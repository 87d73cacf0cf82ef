"""Any file is either read or refused with a message: damaged spaces, random bytes, wrong types."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spaces.load import load_space, make_space
from spaces.shipped import shipped_spaces
from spaces.yaml_file.yaml_tree import read_tree
from trainable.errors import UserError

SHIPPED = [path.read_text() for path in shipped_spaces().values()]
WORDS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "\n",
    "  ",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "null",
    "true",
    "1e3",
    "-1",
    "when",
    "values",
    "min",
    "'",
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), text=st.sampled_from(SHIPPED))
def test_a_damaged_file_is_read_or_refused_but_never_a_traceback(write, data, text):
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(st.sampled_from(WORDS) | st.text(max_size=4)) + text[end:]
    path = write(text.encode("utf-8", "surrogatepass"))
    try:
        str(load_space(path).canonical())
    except UserError as error:
        assert str(error)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_random_bytes_are_refused(write, content):
    with pytest.raises(UserError):
        load_space(write(content))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["auto", "grid", "tpe", "loss", "12h", "none"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "values", "min", "max", "when", "loss", "distribution", "log"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def paths(tree, path=()):
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from paths(value, (*path, key))


@settings(max_examples=200)
@given(data=st.data())
def test_any_value_at_any_path_is_read_or_refused(data):
    tree = make_space(read_tree(data.draw(st.sampled_from(SHIPPED))).value).canonical()
    path = data.draw(st.sampled_from([path for path in paths(tree) if path]))
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = data.draw(ANYTHING)
    try:
        space = make_space(tree)
    except UserError as error:
        assert str(error)
    else:
        assert make_space(space.canonical()).difference(space) == []
