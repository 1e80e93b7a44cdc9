"""The app on a real pseudo-terminal: bytes, signals and exit codes, which a pilot can't see."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_PROGRAM = """
import sys
from engines.study.location import locate
from hyperion_tui import orders
from hyperion_tui.app import run_app
orders.start_runner = lambda location, experiment_id: 1
sys.exit(run_app(locate()))
"""


class Terminal:
    """A child on a pseudo-terminal of its own."""

    def __init__(
        self,
        store: Path | str,
        width: int = 120,
        height: int = 40,
        before: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """before: statements that the child runs first. environment: variables of its own."""
        size = struct.pack("HHHH", height, width, 0, 0)
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.chdir(ROOT)
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.environ["HYPERION_STORAGE"] = str(store)
            os.environ.update(environment or {})
            os.execv(sys.executable, [sys.executable, "-c", before + _PROGRAM])
        self.code: int | None = None

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size; the child hears of it."""
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def send(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def read(self, quiet_s: float = 0.6, limit_s: float = 15.0) -> bytes:
        """What it writes until it is silent for `quiet_s`."""
        seen = b""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.descriptor], [], [], quiet_s)
            if not ready:
                break
            try:
                chunk = os.read(self.descriptor, 65_536)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        return seen

    def read_until(self, part: bytes, limit_s: float = 20.0) -> bytes:
        """What it writes until `part` has come."""
        seen = b""
        deadline = time.monotonic() + limit_s
        while part not in seen:
            assert time.monotonic() < deadline, seen[-2000:]
            seen += self.read(0.1, 1.0)
        return seen

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, limit_s: float = 10.0) -> int:
        """The exit code; below zero: the signal that killed it."""
        deadline = time.monotonic() + limit_s
        while self.code is None and time.monotonic() < deadline:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.01)
        assert self.code is not None, "it is still there"
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.hang_up()

    def hang_up(self) -> None:
        """Drop the line."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
