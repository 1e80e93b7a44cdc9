"""A program in a pseudo-terminal that answers like xterm, and when it painted what.

Reading as fast as it comes, it notes the time of every chunk, so the time of the first byte,
of the first text and of the last byte before a silence are all known afterwards.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ANSWERS = (
    # Device attributes, secondary ones, and the version: an xterm of 2023.
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?64;1;2;6;9;15;16;17;18;21;22;28c"),
    (re.compile(rb"\x1b\[>0?c"), b"\x1b[>41;388;0c"),
    (re.compile(rb"\x1b\[>0?q"), b"\x1bP>|XTerm(388)\x1b\\"),
    # Mode requests: synchronised output exists and is off, resize reports don't exist.
    (re.compile(rb"\x1b\[\?2026\$p"), b"\x1b[?2026;2$y"),
    (re.compile(rb"\x1b\[\?2048\$p"), b"\x1b[?2048;0$y"),
)

# What moves, colours or asks, but shows nothing.
CONTROLS = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P_^X].*?(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x20]",
    re.DOTALL,
)


class Terminal:
    """A child process and the terminal it believes to have.

    first_byte_s, first_text_s, last_byte_s: seconds since just before the fork, or None.
    received: bytes so far. recorded: the bytes themselves, if they are to be kept.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 120,
        lines: int = 40,
        record: bool = False,
    ) -> None:
        self.received = 0
        self.recorded = bytearray()
        self._record = record
        self.first_byte_s: float | None = None
        self.first_text_s: float | None = None
        self.last_byte_s: float | None = None
        self._rest = b""
        self._started = time.perf_counter()
        self.pid, self._side = pty.fork()
        if self.pid == 0:
            _become(command, environment, columns, lines)

    def _now(self) -> float:
        return time.perf_counter() - self._started

    def read(self, timeout_s: float) -> bool | None:
        """Take what comes within `timeout_s`: True if something did, None at the end."""
        ready, _, _ = select.select([self._side], [], [], max(0.0, timeout_s))
        if not ready:
            return False
        try:
            chunk = os.read(self._side, 65536)
        except OSError:
            return None
        if not chunk:
            return None
        self._note(chunk)
        return True

    def _note(self, chunk: bytes) -> None:
        self.last_byte_s = self._now()
        self.received += len(chunk)
        if self._record:
            self.recorded += chunk
        if self.first_byte_s is None:
            self.first_byte_s = self.last_byte_s
        # A question may be cut in two by the reads: the tail is looked at again.
        window = self._rest + chunk
        end = 0
        for question, answer in ANSWERS:
            for match in question.finditer(window):
                end = max(end, match.end())
                with contextlib.suppress(OSError):
                    os.write(self._side, answer)
        if self.first_text_s is None and CONTROLS.sub(b"", window):
            self.first_text_s = self.last_byte_s
        escape = window.rfind(b"\x1b", max(end, len(window) - 16))
        self._rest = window[escape:] if escape >= 0 else b""

    def age_s(self) -> float:
        """Seconds since it was started."""
        return self._now()

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._side, keys.encode())

    def take(self) -> bytes:
        """What was recorded since the last call."""
        taken = bytes(self.recorded)
        self.recorded.clear()
        return taken

    def answer_s(self, keys: str, part: re.Pattern[bytes], limit_s: float = 5.0) -> float | None:
        """Seconds from keys to the end of the picture that has `part` in it; None if none comes.

        A picture is what stands between the two marks of synchronised output. Recording must be on.
        """
        self.take()
        began = time.perf_counter()
        self.send(keys)
        while (left := began + limit_s - time.perf_counter()) > 0 and self.read(left) is not None:
            found = part.search(self.recorded)
            if found and self.recorded.find(b"\x1b[?2026l", found.end()) >= 0:
                return time.perf_counter() - began
        return None

    def settle(self, silence_s: float, limit_s: float) -> float | None:
        """Read until it is silent; the time of the last byte, None if it never was or ended."""
        while self._now() < limit_s:
            came = self.read(silence_s if self.last_byte_s is not None else limit_s)
            if came is None:
                return None
            if not came:
                return self.last_byte_s
        return None

    def read_for(self, seconds: float) -> int:
        """Read for a fixed time; how many bytes came."""
        before, end = self.received, self._now() + seconds
        while (left := end - self._now()) > 0:
            if self.read(left) is None:
                break
        return self.received - before

    def cpu_s(self) -> float:
        """Processor seconds of all threads so far, to the nanosecond where the kernel says so."""
        total = 0
        for schedule in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(schedule.read_text(encoding="ascii").split()[0])
        return total / 1e9

    def peak_memory_mib(self) -> float | None:
        """The largest resident size that the process has had since it was executed."""
        return self._status_mib("VmHWM:")

    def memory_mib(self) -> float | None:
        """The resident size now."""
        return self._status_mib("VmRSS:")

    def _status_mib(self, field: str) -> float | None:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
                if line.startswith(field):
                    return int(line.split()[1]) / 1024
        return None

    def end(self, patience_s: float = 5.0) -> int:
        """SIGTERM, SIGKILL if that does not help, and the exit code (negative: the signal)."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.perf_counter() + patience_s
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            if time.perf_counter() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            # The farewell of the screen must be read, or the child waits for ever.
            if self.read(0.02) is None:
                time.sleep(0.01)
        os.close(self._side)
        return os.waitstatus_to_exitcode(status)


def _become(
    command: Sequence[str], environment: Mapping[str, str], columns: int, lines: int
) -> None:
    """In the child: set the size of the terminal and turn into the program."""
    try:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.execve(command[0], list(command), dict(environment))
    finally:
        os._exit(127)
