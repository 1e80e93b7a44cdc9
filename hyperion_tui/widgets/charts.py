"""The pane of charts: how a study went, what its parameters did, what an agent earned."""

from __future__ import annotations

from hyperion_tui import text
from hyperion_tui.charting import Charted
from hyperion_tui.widgets.equity import drawdown_lines, equity_lines
from hyperion_tui.widgets.front import front_lines
from hyperion_tui.widgets.history import history_lines
from hyperion_tui.widgets.importance import importance_lines
from hyperion_tui.widgets.lines import Piece
from hyperion_tui.widgets.parallel import parallel_lines
from hyperion_tui.widgets.text_pane import TextPane

LOWEST, HIGHEST = 6, 16
"""Lines of a picture, as the pane has room."""

_BLANK: tuple[Piece, ...] = (("", ""),)


class Charts(TextPane):
    """Lines that are drawn again when the study or the room changes."""

    def __init__(self, *, id: str | None = None, number: str = "") -> None:
        super().__init__(id=id)
        self._number = number
        self._charted: Charted | None = None

    def draw(self, charted: Charted | None) -> None:
        """Show these charts; None for no study."""
        self._charted = charted
        model = "" if charted is None else text.clean(charted.study).rpartition("/")[2]
        self.title(f"{self._number}Charts  {model}".rstrip())
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def lines_of(self, width: int, height: int) -> list[tuple[Piece, ...]]:
        """All charts one below the other. height: of the pane, shared out between them."""
        charted = self._charted
        if charted is None or not charted.history.trials:
            return [(("Nothing to draw: no trial is complete yet.", "dim"),)]
        picture = min(HIGHEST, max(LOWEST, height // 3))
        parts = (
            history_lines(charted.history, width, picture),
            front_lines(charted.front, width, picture),
            importance_lines(charted.importance, charted.trials, width),
            parallel_lines(charted.parallel, width, picture),
            equity_lines(charted.earned, charted.held, width),
            drawdown_lines(charted.earned, charted.held, width),
        )
        return [line for part in parts if part for line in (*part, _BLANK)][:-1]

    def _draw(self) -> None:
        if self.size.width:
            self.show(self.lines_of(self.size.width, self.size.height))
