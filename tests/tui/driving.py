"""Keys in, text out: drives the app without a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from engines.study.location import Location
from hyperion_tui.app import HyperionApp
from hyperion_tui.config import Settings

STILL_S = 0.3
"""A pane is filled within a tick of the feed, 0.25 s."""


class Seat:
    """Somebody in front of the app."""

    def __init__(self, app: HyperionApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    def lines(self) -> list[str]:
        """What the top screen shows, line by line; a dialog is drawn without what is below."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    def text(self) -> str:
        return "\n".join(self.lines())

    def line(self, part: str) -> str:
        """The first line that contains `part`."""
        found = [line for line in self.lines() if part in line]
        assert found, f"{part!r} is not on the screen:\n{self.text()}"
        return found[0]

    async def press(self, *keys: str) -> None:
        """Press keys as a person does, who sees what one has done before the next."""
        for key in keys:
            await self.pilot.press(key)
            await self._rest()

    async def burst(self, *keys: str) -> None:
        """Press keys all at once: the last is there before the first has done anything."""
        for key in keys:
            name = _character_to_key(key) if len(key) == 1 else key
            self.app.post_message(Key(name, key if len(key) == 1 else None))
        await self._rest()

    async def _rest(self) -> None:
        await self.pilot.pause()
        await self.until(lambda: self.app.keyboard.is_at_rest, "the end of what keys do")

    async def type(self, words: str) -> None:
        await self.burst(*words)

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for something to become true; fails with what is on the screen."""
        deadline = time.monotonic() + 10.0
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came:\n{self.text()}"
            await self.pilot.pause(0.01)
        await self.pilot.pause()

    async def sees(self, part: str) -> None:
        """Wait until the screen shows `part`."""
        await self.until(lambda: part in self.text(), repr(part))

    async def stands_still(self) -> None:
        """Wait until the screen has looked the same for some time: all panes have been filled."""
        seen, since = "", time.monotonic()
        while time.monotonic() - since < STILL_S:
            now = self.text()
            if now != seen:
                seen, since = now, time.monotonic()
            await self.pilot.pause(0.01)

    async def misses(self, part: str) -> None:
        """Wait until the screen no longer shows `part`."""
        await self.until(lambda: part not in self.text(), f"the end of {part!r}")


@contextlib.asynccontextmanager
async def sitting(
    location: Location,
    size: tuple[int, int] = (120, 40),
    *,
    settle: bool = True,
    settings: Settings | None = None,
) -> AsyncIterator[Seat]:
    """The app on a store, in a terminal of `size`; its first picture has been drawn."""
    app = HyperionApp(location, settings=settings)
    async with app.run_test(size=size) as pilot:
        seat = Seat(app, pilot)
        if settle and location.path.exists():
            await seat.until(lambda: app.snapshot.experiments, "the first snapshot")
        yield seat
