"""The plain alternative of `startup.py`: the smallest Textual app with a header and a footer."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.widgets import Footer, Header, Static


class Hello(App[None]):
    """Three widgets and nothing to do."""

    BINDINGS = [("q", "quit", "Quit")]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        """Header, text, footer."""
        yield Header()
        yield Static("hello")
        yield Footer()


if __name__ == "__main__":
    Hello().run()
