"""What commands print: data on stdout, talk on stderr, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

from hyperion_tui.text import ABSENT, clean, number

_NUMBER = re.compile(rf"[-+]?[0-9][0-9.e+/-]*|{re.escape(ABSENT)}")
"""A cell that is aligned to the right: a number, a share such as 3/20, or nothing."""


def talk(text: str) -> None:
    """A line for the person, on stderr."""
    print(clean(text), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """A document on stdout, in ASCII, so that no name in it can steer a terminal."""
    print(json.dumps(_strict(value), indent=2, allow_nan=False), flush=True)


def _strict(value: Any) -> Any:
    """JSON has no infinities: where a person's own parameter is one, its name stands there."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return value


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """An aligned table on stdout: numbers to the right, text to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max([len(header), *(len(row[i]) for row in cells)]) for i, header in enumerate(headers)
    ]
    right = [
        all(_NUMBER.fullmatch(row[i]) for row in cells) and bool(cells) for i in range(len(headers))
    ]
    for line in [list(headers), *cells]:
        aligned = [
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return number(value)
    return clean(str(value))
