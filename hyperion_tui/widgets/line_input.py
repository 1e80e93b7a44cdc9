"""A text on one line that can be typed into, and that steers no terminal whatever is in it."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Input

from hyperion_tui import text


class LineInput(Input):
    """An input whose value may be a name from anywhere: a file's, a column's, a tag."""

    @property
    def _value(self) -> Text:
        """What is drawn. As many characters as are typed, or the cursor would stand elsewhere."""
        drawn = super()._value
        drawn.plain = text.one_for_one(drawn.plain)
        return drawn
