"""Runs what a page of the documentation shows: `python` and `console` blocks, in their order.

A block whose first line is `# NAME.py` or `# NAME.toml` is written to that file instead.

A page's Python blocks share one namespace and its commands one folder and one store. In a console
block a line that begins with `$ ` is a command (`hyperion-tui ...`, with variables before it), with
`# exit N` behind it if it is to end with another code than 0. Lines below it must come in its
output in this order; `...` stands for anything, and any spaces for any others. Blocks of other
languages are only shown.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^# (\w+\.(?:py|toml))\n")
PROGRAM = "hyperion-tui"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line at which the text begins."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    return [
        Block(found[1], found[2], page.count("\n", 0, found.start(2)) + 1)
        for found in FENCE.finditer(page)
    ]


def run_page(path: Path) -> int:
    """Run a page in the working folder; returns how many blocks ran. Raises AssertionError."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    ran = 0
    for block in blocks(path.read_text(encoding="utf-8")):
        if named := FILE.match(block.text):
            Path(named[1]).write_text(block.text)
        elif block.language == "python":
            # Errors then name the page and its line.
            source = "\n" * (block.line - 1) + block.text
            exec(compile(source, str(path), "exec"), namespace)
        elif block.language == "console":
            for command, expected in commands(block.text):
                run_command(command, expected, f"{path.name}, line {block.line}")
        else:
            continue
        ran += 1
    return ran


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, the lines shown below it), one after the other."""
    command, shown = None, list[str]()
    for line in text.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, shown
            command, shown = line[2:], []
        else:
            shown.append(line)
    if command is not None:
        yield command, shown


def run_command(command: str, expected: list[str], where: str) -> None:
    """Run a command and hold its output against what the page shows."""
    words, _, code = command.partition("# exit ")
    program, *rest = shlex.split(words)
    variables = dict(os.environ)
    while "=" in program:
        name, _, value = program.partition("=")
        variables[name] = value
        program, *rest = rest
    assert program == PROGRAM, f"{where}: only {PROGRAM} is run, not {program}"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hyperion_tui", *rest],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == int(code or 0), f"{where}: `{command}` gave {done.stdout}"
    lines = iter([line.rstrip() for line in done.stdout.splitlines()])
    for shown in expected:
        if shown.strip() == "...":
            continue
        assert any(matches(line, shown) for line in lines), (
            f"{where}: `{command}` did not print `{shown}`:\n{done.stdout}"
        )


def matches(line: str, shown: str) -> bool:
    """Whether a line of output is the one shown, with `...` for anything."""
    line, shown = (" ".join(text.split()) for text in (line, shown))
    pattern = "*".join(part.replace("[", "[[]").replace("*", "[*]") for part in shown.split("..."))
    return fnmatch.fnmatchcase(line, pattern.replace("?", "[?]"))
