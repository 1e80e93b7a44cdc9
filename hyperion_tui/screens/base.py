"""What all screens share: two lines at the bottom, a least size, and the way to the app."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from hyperion_tui import actions
from hyperion_tui.messages import Snapshot
from hyperion_tui.widgets.status import HintLine, StatusLine

if TYPE_CHECKING:
    from hyperion_tui.app import HyperionApp

LEAST = (60, 20)

WIDEST = 170
"""From so many columns on, charts have a pane of their own on the main screen."""

Result = TypeVar("Result")


class TooSmall(Widget):
    """What is shown instead of a screen that has no room."""

    def render(self) -> Text:
        """The least size, and the one there is."""
        size = self.app.size
        return Text(f"needs {LEAST[0]}x{LEAST[1]}, this is {size.width}x{size.height}")


def mark_size(screen: Screen, *, update: bool = True) -> bool:
    """Give a screen the classes that go with the size of the terminal; whether it is too small.

    update: whether styles are worked out anew. Before anything is mounted that is not needed.
    """
    size = screen.app.size
    small = size.width < LEAST[0] or size.height < LEAST[1]
    wanted = {"-too-small": small, "-wide": size.width >= 110, "-widest": size.width >= WIDEST}
    changed = [name for name, on in wanted.items() if screen.has_class(name) != on]
    for name in changed:
        # All styles below are worked out for each change that is told of: once is enough.
        screen.set_class(wanted[name], name, update=update and name == changed[-1])
    return small


def mark_small(screen: Screen) -> None:
    """Hide everything but the notice when the terminal is too small, and bring it back."""
    if mark_size(screen):
        screen.query_one(TooSmall).refresh()


class View(Screen[None]):
    """A full screen: a body, a status line and a hint line."""

    SCOPES: tuple[str, ...] = ()
    AUTO_FOCUS = ""

    @property
    def hyperion(self) -> HyperionApp:
        """The app, as what it is."""
        return cast("HyperionApp", self.app)

    def body(self) -> Iterable[Widget]:
        """The widgets above the two lines."""
        return ()

    def compose(self) -> ComposeResult:
        """The body, the two lines, and the notice for terminals that are too small."""
        mark_size(self, update=False)
        yield from self.body()
        yield StatusLine(id="status")
        yield HintLine(self.SCOPES)
        yield TooSmall()

    def on_resize(self, _: events.Resize) -> None:
        mark_small(self)

    def on_screen_resume(self) -> None:
        self.show_snapshot(self.hyperion.snapshot)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show how things stand now."""

    def say(self, notice: str) -> None:
        """A line for the person."""
        self.query_one(StatusLine).say(notice)

    def warn(self, trouble: str) -> None:
        """A line about what is wrong, until it is called off by ''."""
        self.query_one(StatusLine).warn(trouble)

    def key_pressed(self) -> None:
        """A key came: what is said about the one before may go."""
        for line in self.query(StatusLine):
            line.key_pressed()

    def hint(self, about: str) -> None:
        """A quiet line about what is under the cursor."""
        self.query_one(StatusLine).hint(about)


class Upper(View):
    """A view above the main one: escape leads back."""

    BINDINGS = actions.bindings("back")

    def action_back(self) -> None:
        """Back to the screen below."""
        self.app.pop_screen()


class Dialog(ModalScreen[Result], Generic[Result]):
    """A box in the middle of the screen; escape closes it without an answer."""

    BINDINGS = [Binding("escape", "cancel", show=False)]
    AUTO_FOCUS = ""
    KEYS = "esc cancel"
    TITLE_STYLE = ""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._box_title = title

    @property
    def hyperion(self) -> HyperionApp:
        """The app, as what it is."""
        return cast("HyperionApp", self.app)

    def content(self) -> Iterable[Widget]:
        """The widgets in the box."""
        return ()

    def compose(self) -> ComposeResult:
        """The box with its keys at the bottom."""
        mark_size(self, update=False)
        box = Vertical(*self.content(), id="box", classes=self.TITLE_STYLE)
        box.border_title = Text(self._box_title)
        box.border_subtitle = Text(self.KEYS)
        yield box
        yield TooSmall()

    def on_resize(self, _: events.Resize) -> None:
        mark_small(self)

    def action_cancel(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
