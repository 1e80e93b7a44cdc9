"""The four colour themes: two of our own, a warm one, and the terminal's own sixteen colours."""

from __future__ import annotations

from textual.theme import Theme

from hyperion_tui import options

DARK = Theme(
    name="hyperion-dark",
    primary="#7aa2f7",
    secondary="#7dcfff",
    accent="#7aa2f7",
    warning="#e0af68",
    error="#f7768e",
    success="#9ece6a",
    foreground="#c8d0e0",
    background="#12151c",
    surface="#12151c",
    panel="#3b4252",
    boost="#1b202b",
    dark=True,
    variables={"quiet": "#7f8aa3", "cursor": "#263049", "bar": "#1b202b"},
)

LIGHT = Theme(
    name="hyperion-light",
    primary="#0b57d0",
    secondary="#00639b",
    accent="#0b57d0",
    warning="#8a5300",
    error="#b3261e",
    success="#146c2e",
    foreground="#1f2328",
    background="#fbfbfa",
    surface="#fbfbfa",
    panel="#b9bfc7",
    boost="#ececea",
    dark=False,
    variables={"quiet": "#666d78", "cursor": "#d6e2f7", "bar": "#ececea"},
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
