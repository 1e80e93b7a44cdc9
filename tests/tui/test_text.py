"""Numbers, times and widths as screens show them."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from hyperion_tui import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.89214, "0.8921"),
        (0.5, "0.5000"),
        (12.3456, "12.35"),
        (1234.56, "1235"),
        (99999.4, "99999"),
        (123456.0, "1.235e+05"),
        (-0.0021, "-0.002100"),
        (0.0, "0.000"),
        (0.00001234, "1.234e-05"),
        (float("nan"), "nan"),
        (None, "–"),
    ],
)
def test_numbers_have_four_significant_digits(value: float | None, shown: str):
    assert text.number(value) == shown


def test_a_gap_has_its_sign():
    assert text.number(0.0123, sign=True) == "+0.01230"
    assert text.number(-0.0123, sign=True) == "-0.01230"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.123, "0.12 s"),
        (9.14, "9.1 s"),
        (59.96, "1m 00s"),
        (187.0, "3m 07s"),
        (7500.0, "2h 05m"),
        (356400.0, "4d 03h"),
        (None, "–"),
    ],
)
def test_durations_have_units(seconds: float | None, shown: str):
    assert text.duration(seconds) == shown


def test_a_time_to_go_is_no_finer_than_it_is_known():
    assert text.eta(24.2) == "25 s"
    assert text.eta(187.0) == "3m 10s"


@pytest.mark.parametrize("given", ["abc", "a" * 50, "漢字漢字漢字漢字", "a漢b漢c漢", "é"])
@pytest.mark.parametrize("width", [1, 4, 7])
@pytest.mark.parametrize("align", ["left", "right"])
def test_a_text_fits_exactly(given: str, width: int, align: str):
    assert cell_len(text.fit(given, width, align)) == width


@pytest.mark.parametrize("width", [4, 9, 30])
def test_no_wrapped_line_is_too_long_and_nothing_is_lost(width: int):
    given = "the quick brown fox 漢字漢字漢字 jumps over averyveryverylongword indeed"

    lines = text.wrap(given, width)

    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == given.replace(" ", "")


def test_a_bar_is_full_at_the_end_and_not_before():
    assert text.bar(0.0, 10) == "░" * 10
    assert text.bar(0.999, 10) == "█" * 9 + "░"
    assert text.bar(1.0, 10) == "█" * 10


def test_parameters_are_shown_as_people_write_them():
    shown = [text.parameter(v) for v in (True, 3, 0.001, "auto", [128, 64], None)]

    assert shown == ["yes", "3", "0.001000", "auto", "[128, 64]", "None"]


def test_stamps_that_are_none_are_a_dash():
    assert text.clock(None) == text.ABSENT
    assert text.clock("nonsense") == text.ABSENT
    assert text.day("2026-11-22T20:41:07+00:00").startswith("2026-11-2")
