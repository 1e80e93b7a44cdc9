"""Texts as screens show them: cleaned, cut to cells, with units and signs. No widget is known here.

Everything that comes from the store passes `clean` before it is drawn: a model's name, an error
message or a file name may hold anything, and none of it may steer the terminal.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size

ABSENT = "–"

# Control, format (direction marks, zero widths) and separator characters, and lone surrogates.
_SUSPECT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)

STATES: dict[str, tuple[str, str]] = {
    "waiting": ("○", "dim"),
    "running": ("●", "accent"),
    "pausing": ("◐", "warn"),
    "paused": ("‖", "warn"),
    "stopped": ("■", "dim"),
    "cancelled": ("×", "dim"),
    "done": ("✓", "good"),
    "failed": ("✗", "bad"),
    "complete": ("✓", "good"),
    "pruned": ("◇", "dim"),
}
"""Glyph and style of each state. The word always stands beside the glyph where there is room."""


def clean(text: object) -> str:
    """`text` with every character that could steer a terminal replaced by a visible form."""
    return _SUSPECT.sub(_visible, str(text))


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if unicodedata.category(character) == "Cs":
        return "\ufffd"
    return f"<U+{code:04X}>"


def one_for_one(text: str) -> str:
    """`text` with one character for each that could steer a terminal, so that places stay."""
    return _SUSPECT.sub("\ufffd", text)


def fit(text: str, width: int, align: str = "left") -> str:
    """`text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    padding = " " * (width - length)
    return padding + text if align == "right" else text + padding


def wrap(text: str, width: int) -> list[str]:
    """`text` as lines of at most `width` cells, broken at spaces where there are any."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if cell_len(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        while cell_len(word) > width:
            head = set_cell_size(word, width).rstrip()
            lines.append(head)
            word = word[len(head) :]
        line = word
    return [*lines, line]


def number(value: float | None, *, sign: bool = False) -> str:
    """Four significant digits, six decimals at most; a dash for None.

    sign: a plus before what is not negative.
    """
    if value is None:
        return ABSENT
    if not math.isfinite(value):
        return str(value)
    plus = "+" if sign else ""
    if value == 0:
        return format(0.0, f"{plus}.3f")
    magnitude = abs(value)
    if 1e-4 <= magnitude < 1e5:
        decimals = min(6, max(0, 3 - math.floor(math.log10(magnitude))))
        return format(value, f"{plus}.{decimals}f")
    return format(value, f"{plus}.3e")


def count(value: int) -> str:
    """A whole number with its thousands set apart: `100 000`."""
    return f"{value:,}".replace(",", " ")


def size(n: int) -> str:
    """An amount of bytes with its unit, of 1,024 each: `812 bytes`, `4.1 KiB`, `1.9 GiB`."""
    if n < 1024:
        return plural(n, "byte")
    amount = float(n)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024 or unit == "GiB":
            break
    return f"{amount:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """A length of time with its unit: `0.12 s`, `9.1 s`, `3m 07s`, `2h 05m`, `4d 03h`."""
    if seconds is None:
        return ABSENT
    if seconds < 0.995:
        return f"{max(0.0, seconds):.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02d}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02d}h"


def eta(seconds: float | None) -> str:
    """A time to go, no finer than it is known: `25 s`, `3m 10s`, `2h 05m`."""
    if seconds is None or seconds >= 60:
        return duration(None if seconds is None else round(seconds / 10) * 10)
    return f"{math.ceil(seconds)} s"


def clock(stamp: str | None) -> str:
    """The local time of day of an ISO stamp: `20:41:07`."""
    moment = _local(stamp)
    return moment.strftime("%H:%M:%S") if moment else ABSENT


def day(stamp: str | None) -> str:
    """The local date and minute of an ISO stamp: `2026-11-22 20:41`."""
    moment = _local(stamp)
    return moment.strftime("%Y-%m-%d %H:%M") if moment else ABSENT


def _local(stamp: str | None) -> datetime | None:
    if not stamp:
        return None
    try:
        return datetime.fromisoformat(stamp).astimezone()
    except ValueError:
        return None


def parameter(value: Any) -> str:
    """The value of a hyperparameter."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple | dict):
        return clean(json.dumps(value, ensure_ascii=False))
    return clean(value)


def state(word: str) -> tuple[str, str]:
    """The cell of a state: glyph and word, and the style that goes with them."""
    glyph, style = STATES.get(word, ("?", ""))
    return f"{glyph} {word}", style


def plural(n: int, noun: str, many: str | None = None) -> str:
    """`1 trial`, `2 trials`, `2 studies`."""
    return f"{count(n)} {noun if n == 1 else many or noun + 's'}"


def bar(part: float, width: int) -> str:
    """A progress bar of `width` characters."""
    filled = min(width, max(0, int(part * width + 1e-9)))
    return "█" * filled + "░" * (width - filled)


def short_path(path: Path) -> str:
    """A path as a person writes it, with `~` for home."""
    home, shown = str(Path.home()), str(path)
    inside = shown == home or shown.startswith(home + "/")
    return "~" + shown[len(home) :] if inside else shown
