"""Questions and bad news: two small dialogs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.binding import Binding
from textual.widget import Widget
from textual.widgets import Static

from engines.errors import HyperionError
from hyperion_tui import text
from hyperion_tui.screens.base import Dialog
from hyperion_tui.widgets.fields import Entry, Field


class Answers(Widget, can_focus=True):
    """Two words beside each other, one of them chosen."""

    def __init__(self, no: str, yes: str) -> None:
        super().__init__()
        self._words = (no, yes)
        self.chosen = 0

    def choose(self, place: int) -> None:
        """Choose one of the words."""
        self.chosen = place % 2
        self.refresh()

    def render(self) -> Text:
        """Both words; the chosen one in brackets and reversed."""
        line = Text(justify="center")
        for place, word in enumerate(self._words):
            chosen = place == self.chosen
            line.append(f" › {word} " if chosen else f"   {word} ", "reverse" if chosen else "")
            line.append("  ")
        return line


class Confirm(Dialog[bool]):
    """A question whose safe answer is chosen at first. Dismissed with True for yes."""

    BINDINGS = [
        Binding("left,right,tab,shift+tab,h,l", "turn", show=False, priority=True),
        Binding("enter", "answer", show=False),
        Binding("y", "say(True)", show=False),
        Binding("n", "say(False)", show=False),
    ]
    KEYS = "← → choose   enter answer   y yes   n no"

    def __init__(self, title: str, question: Sequence[str], yes: str, no: str = "Cancel") -> None:
        super().__init__(title)
        self._question = "\n\n".join(text.clean(paragraph) for paragraph in question)
        self._answers = Answers(no, yes)

    def content(self) -> Iterable[Widget]:
        """The question and the answers."""
        yield Static(Text(self._question), classes="message")
        yield self._answers

    def action_turn(self) -> None:
        """The other answer."""
        self._answers.choose(self._answers.chosen + 1)

    def action_answer(self) -> None:
        """Take the chosen answer."""
        self.dismiss(bool(self._answers.chosen))

    def action_say(self, yes: bool) -> None:
        """Answer with a letter."""
        self.dismiss(yes)

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(False)


class ConfirmByName(Dialog[bool]):
    """A question that is answered yes by typing a name. Dismissed with True then."""

    KEYS = "enter answer   esc keep it"

    def __init__(self, title: str, question: Sequence[str], name: str) -> None:
        super().__init__(title)
        self._question = "\n\n".join(text.clean(paragraph) for paragraph in question)
        self._name = name

    def content(self) -> Iterable[Widget]:
        """The question, and a line to type the name into."""
        yield Static(Text(self._question), classes="message")
        yield Static("")
        yield Field("Type", "", text.clean(self._name), id="name")
        yield Static("", id="answer")

    def on_mount(self) -> None:
        self.query_one(Entry).focus()

    def on_input_submitted(self) -> None:
        if self.query_one(Entry).value.strip() == self._name:
            self.dismiss(True)
        else:
            told = f"type {text.clean(self._name)} to remove it; esc keeps it"
            self.query_one("#answer", Static).update(Text(told))

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(False)


class ErrorDialog(Dialog[None]):
    """What went wrong, and what can be done about it."""

    BINDINGS = [Binding("enter,space,q", "cancel", show=False)]
    KEYS = "enter close"
    TITLE_STYLE = "bad"

    def __init__(self, error: BaseException) -> None:
        known = isinstance(error, HyperionError)
        super().__init__(error.title if isinstance(error, HyperionError) else "An error of our own")
        self._message = str(error) if known else f"{type(error).__name__}: {error}"

    def content(self) -> Iterable[Widget]:
        """The message."""
        yield Static(Text(text.clean(self._message)), classes="message")
