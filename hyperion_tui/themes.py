"""The four colour themes: two of our own, a warm one, and the terminal's own sixteen colours.

Our own themes have colours that a terminal of 256 colours has too, also where a text is dimmed:
there they look the same, and everywhere they take half the bytes (see `hyperion_tui.wire`).
"""

from __future__ import annotations

from textual.theme import Theme

from hyperion_tui import options

DARK = Theme(
    name="hyperion-dark",
    primary="#87afff",
    secondary="#87d7ff",
    accent="#87afff",
    warning="#d7af5f",
    error="#ff8787",
    success="#afd75f",
    foreground="#d7d7d7",
    background="#121212",
    surface="#121212",
    panel="#444444",
    boost="#1c1c1c",
    dark=True,
    variables={"quiet": "#8787af", "cursor": "#303030", "bar": "#1c1c1c"},
)

LIGHT = Theme(
    name="hyperion-light",
    primary="#005fd7",
    secondary="#005f87",
    accent="#005fd7",
    warning="#875f00",
    error="#af0000",
    success="#005f00",
    foreground="#303030",
    background="#ffffff",
    surface="#ffffff",
    panel="#bcbcbc",
    boost="#eeeeee",
    dark=False,
    variables={"quiet": "#6c6c6c", "cursor": "#d7d7ff", "bar": "#eeeeee"},
)

OWN = (DARK, LIGHT)
CYCLE = options.THEMES
VARIABLES = {"quiet": "#928374", "cursor": "#504945", "bar": "#32302f"}
"""Colours that only our own themes define, for the others."""

WITHOUT_COLOUR = "ansi-dark"
"""The theme under NO_COLOR: the only one whose colours can be left out altogether."""


def after(name: str) -> str:
    """The theme that follows another one."""
    return CYCLE[(CYCLE.index(name) + 1) % len(CYCLE)] if name in CYCLE else CYCLE[0]
