"""A clock that also rings when a child ends."""

from __future__ import annotations

import os
import select
import signal


class Alarm:
    """Waits for a tick, but no longer than until a child ends."""

    def __enter__(self) -> Alarm:
        self._bell, self._ring = os.pipe()
        for end in (self._bell, self._ring):
            os.set_blocking(end, False)
        self._handler = signal.signal(signal.SIGCHLD, lambda *_: None)
        self._before = signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        signal.signal(signal.SIGCHLD, self._handler)
        os.close(self._bell)
        os.close(self._ring)

    def wait(self, seconds: float) -> None:
        """Sleep, or wake up at once when a child has ended."""
        if select.select([self._bell], [], [], seconds)[0]:
            os.read(self._bell, 4096)
