"""The dialog in which the columns of a table are chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from textual.widget import Widget

from hyperion_tui.screens.base import Dialog
from hyperion_tui.widgets.checklist import Checklist
from hyperion_tui.widgets.lines import LineView


class ColumnsDialog(Dialog[set[str]]):
    """A list of columns. Dismissed with the names of those that are to be hidden."""

    KEYS = "space show or hide   A all   enter take   esc cancel"
    TITLE_STYLE = "tall"

    def __init__(self, names: Sequence[str], hidden: Collection[str]) -> None:
        super().__init__("Columns")
        self._names = names
        shown = [place for place, name in enumerate(names) if name not in hidden]
        self._list = Checklist(
            [name.removeprefix("params_") for name in names], shown, id="columns"
        )

    def content(self) -> Iterable[Widget]:
        """The list."""
        yield self._list

    def on_mount(self) -> None:
        self._list.focus()

    def on_line_view_chosen(self, _: LineView.Chosen) -> None:
        ticked = self._list.ticked
        self.dismiss({name for place, name in enumerate(self._names) if place not in ticked})
