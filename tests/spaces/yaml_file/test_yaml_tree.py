"""Reading YAML text as plain values with lines, and refusing other text."""

import contextlib
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.yaml_file.yaml_tree import TreeError, read_tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("12", 12),
        ("-7", -7),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("on", "on"),
        ("no", "no"),
        ("True", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("480x352", "480x352"),
        ("e3", "e3"),
        (".", "."),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    read = read_tree(f"key: {text}").value["key"]
    assert read == value and type(read) is type(value)


@given(st.floats(allow_nan=False))
def test_every_number_that_python_writes_is_read_back(number):
    text = repr(number).replace("inf", ".inf")
    assert read_tree(f"[{text}]").value == [number]


def test_every_key_and_entry_has_its_line():
    tree = read_tree("a:\n  b: 1\n  c:\n    - 2\n    - {d: 3}\n")
    assert tree.value == {"a": {"b": 1, "c": [2, {"d": 3}]}}
    assert tree.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "d"): 5,
    }


def test_an_alias_is_a_copy_with_the_line_of_its_use():
    tree = read_tree("a: &x [1, 2]\nb: *x\n")
    assert tree.value == {"a": [1, 2], "b": [1, 2]}
    assert tree.value["a"] is not tree.value["b"]
    assert tree.lines[("b",)] == 2


def test_a_mapping_overrides_its_merges_and_earlier_merges_override_later_ones():
    text = "x: &x {p: 1, q: 1}\ny: &y {q: 2, r: 2}\nz:\n  <<: [*x, *y]\n  p: 3\n"
    tree = read_tree(text)
    assert tree.value["z"] == {"p": 3, "q": 1, "r": 2}
    assert tree.duplicates == [] and tree.lines[("z", "p")] == 5


def test_duplicate_keys_are_recorded_with_both_lines():
    assert read_tree("a: 1\nb: 2\na: 3\n").duplicates == [(("a",), 3, 1)]
    assert read_tree("a: {b: 1, b: 2}").duplicates == [(("a", "b"), 1, 1)]


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "rule", "line", "column"),
    [
        ("a: 1\n\tb: 2", "tabs cannot be used for indentation", 2, 1),
        ("a: [1, 2", "not YAML: while parsing a flow sequence, expected ',' or ']'", 1, 9),
        ("a: 1\nb: c: d", "not YAML: mapping values are not allowed here", 2, 5),
        ("a: *b", "not YAML: found undefined alias 'b'", 1, 4),
        ("a: 1\n---\nb: 2", "a space file must be one YAML document", 2, 1),
        ("a: !!python/object/apply:os.system [ls]", "!!python/object/apply:os.system is not allowed", 1, 4),
        ("a: !secret x", "!secret is not allowed", 1, 4),
        ("a: !!set {b}", "!!set is not allowed", 1, 4),
        ("a: !!int five", "'five' is not a valid !!int", 1, 4),
        ("? [1, 2]\n: 3", "a key must be a name", 1, 3),
        ("a: 1\nb: \x00", "not YAML: a control character", 2, 4),
        ('a: "b\\nc"', "contains a line break", 1, 4),
        ('a: "\\ud800"', "contains a line break or another unprintable character", 1, 4),
        ('a: "\\UFFFFFFFF"', "not YAML: an escape that is not a character", None, None),
        ("a: " + "9" * 5000, "a whole number of 5000 digits is too large", 1, 4),
        ("<<: 3", "<< needs a mapping", 1, 5),
        (LAUGHS, "has more than 20,000 values once its aliases are expanded", 1, None),
        ("a: &x [*x]", "an alias contains itself", 1, None),
        ("a: &x\n  <<: *x", "an alias contains itself", None, None),
        ("[" * 700, "is nested deeper than 40 levels", None, None),
        ("[" * 50 + "]" * 50, "is nested deeper than 40 levels", 1, None),
    ],
)
def test_text_that_is_not_a_tree_of_plain_values_is_refused_with_its_position(text, rule, line, column):
    with pytest.raises(TreeError) as caught:
        read_tree(text)
    assert rule in caught.value.rule
    assert caught.value.line == line
    if column is not None:
        assert caught.value.column == column


def test_the_limit_of_the_depth_does_not_depend_on_the_recursion_limit():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # as some libraries do
    try:
        with pytest.raises(TreeError) as caught:
            read_tree("[" * 700)
    finally:
        sys.setrecursionlimit(before)
    assert "nested deeper than 40 levels" in caught.value.rule


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(TreeError):
        read_tree(text)
