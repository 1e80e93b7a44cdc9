"""A question for a text, in the place of the status line."""

from __future__ import annotations

from collections.abc import Callable

from textual.widget import Widget

from hyperion_tui.screens.base import View
from hyperion_tui.widgets.status import Prompt, StatusLine


class AskingView(View):
    """A view that has a `Prompt`, made by `prompt`, at the end of its body."""

    _asker: Widget | None = None
    _then: Callable[[str], None]

    def prompt(self) -> Prompt:
        """The line to type into, which hides until it is needed."""
        made = Prompt(id="prompt")
        made.display = False
        return made

    def ask(self, value: str, question: str, then: Callable[[str], None]) -> None:
        """Ask for a text; `then` gets it, unless the question is called off by escape."""
        prompt = self.query_one(Prompt)
        self._asker, self._then = self.focused, then
        prompt.value = value
        prompt.placeholder = question
        prompt.display, self.query_one(StatusLine).display = True, False
        prompt.focus()

    def on_prompt_answered(self, message: Prompt.Answered) -> None:
        """Hide the prompt, and go on with what was typed."""
        prompt = self.query_one(Prompt)
        prompt.display, self.query_one(StatusLine).display = False, True
        if self._asker is not None:
            self._asker.focus()
        if message.value is not None:
            self._then(message.value)
