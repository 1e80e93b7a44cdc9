#!/usr/bin/env python3
"""Writes docs/keys.md, every key of the program, from the registry of actions: `make keys`."""

from __future__ import annotations

from pathlib import Path

from hyperion_tui import actions

FILE = Path(__file__).resolve().parent.parent / "docs" / "keys.md"

HEAD = """# Keys

Every key, by where it holds. `?` shows the same in the app, with the keys of the screen
below first; your own keys go into the settings (`hyperion-tui config show`). This page is
written by `make keys`, from what the program itself goes by.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for scope, heading in actions.SCOPES.items():
        parts.append(f"\n## {heading}\n\n| key | |\n|---|---|\n")
        for action in actions.of(scope):
            keys = " ".join(f"`{_plain(key)}`" for key in action.keys_shown)
            parts.append(f"| {keys} | {action.description} |\n")
    return "".join(parts)


def _plain(key: str) -> str:
    """A key inside a table, where a bar would begin a column."""
    return key.replace("|", "\\|")


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
