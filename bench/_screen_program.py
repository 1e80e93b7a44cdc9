"""The app with a watch on its event loop: how long was it busy with one thing?

`python bench/_screen_program.py FILE` runs the app on this terminal. Every callback of the loop is
timed, on the clock and by this thread's processor time: on a machine that does other work the clock
counts the time of others as well. SIGUSR1 forgets what was seen so far, and SIGUSR2 writes the
longest ones to FILE as one JSON: both are callbacks themselves, not counted.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from engines.study.location import locate
from hyperion_tui.app import HyperionApp, run_app


class Watch:
    """The longest callbacks since the last SIGUSR1. wall_ms and cpu_ms may be of different ones."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.forget()

    def forget(self) -> None:
        """Start again."""
        self.wall_s = self.cpu_s = 0.0
        self.callbacks = 0

    def tell(self) -> None:
        """Write what was seen, by a rename."""
        body = {
            "wall_ms": 1000 * self.wall_s,
            "cpu_ms": 1000 * self.cpu_s,
            "callbacks": self.callbacks,
        }
        half = self._file.with_suffix(".half")
        half.write_text(json.dumps(body), encoding="ascii")
        half.rename(self._file)

    def look_at_the_loop(self) -> None:
        """Time everything that the loop calls from now on."""
        run = asyncio.Handle._run

        def timed(handle: Any) -> None:
            cpu, wall = time.thread_time(), time.perf_counter()
            run(handle)
            self.wall_s = max(self.wall_s, time.perf_counter() - wall)
            self.cpu_s = max(self.cpu_s, time.thread_time() - cpu)
            self.callbacks += 1

        asyncio.Handle._run = timed  # type: ignore[method-assign]


def main() -> int:
    """Run the app."""
    watch = Watch(Path(sys.argv[1]))
    obey = HyperionApp._obey_signals

    def obey_more(app: HyperionApp) -> None:
        obey(app)
        signal.signal(signal.SIGUSR1, lambda *_: watch.forget())
        signal.signal(signal.SIGUSR2, lambda *_: watch.tell())

    HyperionApp._obey_signals = obey_more  # type: ignore[method-assign]
    watch.look_at_the_loop()
    return run_app(locate())


if __name__ == "__main__":
    sys.exit(main())
