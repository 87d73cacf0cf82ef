"""Numbers, values and tables as people see them."""

import math

import pytest

from trainable.printing import device_time, digits, print_table, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.85, "0.8500"),
        (0.87581, "0.8758"),
        (0.01234, "0.01234"),
        (1e-7, "1e-07"),
        (0.0, "0"),
        (12.345, "12.35"),
        (123456.7, "123,457"),
        (-0.02, "-0.02"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "inf"),
    ],
)
def test_a_number_has_four_significant_digits(value, text):
    assert digits(value) == text


def test_a_difference_has_a_sign():
    assert [digits(value, sign=True) for value in (0.5, -0.5, 2000.0)] == ["+0.5000", "-0.5000", "+2,000"]


def test_values_are_in_the_words_of_space_files():
    values = [None, True, 1e-7, 3.0, "iou", (480, 352), {"loss": "iou", "pc": 1.5}]
    texts = ["none", "true", "1e-07", "3", "iou", "480,352", "loss iou, pc 1.5"]
    assert [value_text(value) for value in values] == texts


def test_columns_that_may_be_dropped_are_dropped_until_a_table_fits(monkeypatch, capsys):
    monkeypatch.setattr("trainable.printing.PIPE", 40)
    row = {"config": "abc", "first": "x" * 15, "second": "y" * 15, "third": "z" * 15, "mean": 0.5}
    print_table([row], droppable=["first", "second", "third"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["config", "first", "mean"] and lines[1].split() == ["abc", "x" * 15, "0.5000"]
    assert " ".join(" ".join(lines[2:]).split()) == "not shown for lack of width: second, third; --format csv shows all"


def test_a_table_that_fits_keeps_its_columns(capsys):
    print_table(
        [{"config": "abc", "mean": None, "first": 1}, {"config": "def", "mean": 1e-7, "first": 2}], droppable=["first"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["config", "mean", "first"], ["abc", "1"], ["def", "1e-07", "2"]]


def test_the_time_of_a_device_is_in_hours_or_a_few_seconds():
    assert device_time(5400.0, "GPU") == "1.500 GPU-hours"
    assert device_time(0.16, "CPU", 0.12, 0.2) == "0.1600 CPU-seconds (0.1200 to 0.2000)"
    assert device_time(5400.0, "GPU", 5400.0, 5400.0) == "1.500 GPU-hours"


def test_a_title_is_not_wrapped_at_the_width_of_its_table(capsys):
    print_table([{"config": "abc"}], "[a] title " + 30 * "long " + "end")
    assert capsys.readouterr().out.splitlines()[0] == "[a] title " + 30 * "long " + "end"
