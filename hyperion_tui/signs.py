"""Screens in ASCII, for terminals that know no other signs.

Each sign becomes one that takes as many cells, so nothing moves. States stay apart: their word
stands beside the sign, and no two of them share one.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_SIGNS = {
    **dict.fromkeys("─╌┄", "-"),
    **dict.fromkeys("━╍┅═", "="),  # the frame of what has the focus
    **dict.fromkeys("│┃╎╏┆┇║", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
    **dict.fromkeys("┏┓┗┛┣┫┳┻╋╔╗╚╝", "#"),
    **{"○": "o", "●": "*", "◐": "%", "‖": "=", "■": "#", "×": "x", "✓": "+", "✗": "!"},
    **{"◇": "<", "◆": "*", "★": "*", "↻": "@", "·": ".", "•": "*"},
    **{"▾": "v", "▸": ">", "›": ">", "…": "~", "–": "-", "−": "-", "—": "-"},
    **{"█": "#", "░": ".", "←": "<", "→": ">", "↑": "^", "↓": "v"},
    **{"\u2800": " ", **{chr(sign): "*" for sign in range(0x2801, 0x2900)}},  # curves
}
_TABLE = str.maketrans(_SIGNS)


def wants_ascii(choice: str, environment: Mapping[str, str]) -> bool:
    """Whether to draw in ASCII. choice: ascii, unicode, or auto: as the locale of the shell says.

    A locale that nobody has chosen says nothing: terminals know UTF-8 today. Python sets LC_CTYPE
    to C.UTF-8 in the environment of a program that is started under C, so that one is passed over.
    """
    if choice != "auto":
        return choice == "ascii"
    said = [environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    locale = next((word for word in said if word and word != "C.UTF-8"), "")
    return bool(locale) and "utf" not in locale.lower()


def in_ascii(text: str) -> str:
    """`text` in ASCII, in as many cells."""
    if text.isascii():
        return text
    known = text.translate(_TABLE)
    if known.isascii():
        return known
    return "".join(c if c.isascii() else "?" * cell_len(c) for c in known)


class Ascii(LineFilter):
    """Draws every line of the app in ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line in other signs."""
        return [Segment(in_ascii(text), style, control) for text, style, control in segments]
