"""Another process that a test talks to, a line of Python at a time."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

_SPEAK = """
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""


class Other:
    """A process that has run `begin` with these arguments, and answers what it is asked."""

    def __init__(self, begin: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys\n{begin}\n{_SPEAK}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, code: str) -> Any:
        """What an expression is there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(code, file=self.process.stdin, flush=True)
        return eval(self.process.stdout.readline())

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate()
