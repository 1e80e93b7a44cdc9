"""Keys one after the other: none is handed on before what the one before it did is there.

A key wanders through the queues of widgets, and what it does (a screen that opens, a focus that
moves) wanders back. Keys that come in one burst, from quick fingers, a slow line or a paste,
would reach the screen below the one that is just opening. So the next key waits until what the one
before it did is there. After keys that open nothing and move no focus, those that move a cursor and
letters in a field, nobody waits: the next one takes the same way through the same queues.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump

from hyperion_tui import actions

LONGEST_S = 10.0
"""After so long the next key goes on whatever happens; a screen stands in a tenth of a second, and
in some seconds on a machine that is very busy."""

READING_S = 0.01

ROUNDS = 2
"""A key may make a widget say something, such as that a row was chosen, which then opens a screen:
two rounds through all queues."""

ALWAYS = frozenset({"ctrl+c"})
"""Keys that wait for nothing: it leaves, whatever else is still on its way."""

MOVES = frozenset(a.name for a in actions.of("list") if a.name != "choose")
"""Actions that move a cursor and nothing else."""


class Keyboard:
    """The keys that wait for their turn. `hand_on` gives one to the app, `is_opening` says whether
    an experiment was chosen that is not shown yet.
    """

    def __init__(
        self,
        app: App[Any],
        hand_on: Callable[[events.Key], Awaitable[None]],
        is_opening: Callable[[], bool],
    ) -> None:
        self._app = app
        self._is_opening = is_opening
        self._hand_on = hand_on
        self._waiting: deque[events.Key] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether all that the keys so far did is there."""
        return self._task is None or self._task.done()

    def _opens_nothing(self, event: events.Key) -> bool:
        focused = self._app.focused
        if focused is None:
            return False
        if focused.check_consume_key(event.key, event.character):
            return True
        bound = focused._bindings.key_to_bindings.get(event.key, ())
        return any(binding.action in MOVES for binding in bound)

    async def take(self, event: events.Key) -> None:
        """Hand a key on, now or when its turn has come."""
        if event.key in ALWAYS:
            await self._hand_on(event)
            return
        if not self.is_at_rest:
            self._waiting.append(event)
            return
        target, opens_nothing = self._target(), self._opens_nothing(event)
        await self._hand_on(event)
        if not opens_nothing:
            self._task = asyncio.create_task(self._go_on(target))

    async def _go_on(self, target: MessagePump) -> None:
        try:
            await self._settle(target)
            while self._waiting:
                event = self._waiting.popleft()
                target, opens_nothing = self._target(), self._opens_nothing(event)
                await self._hand_on(event)
                if not opens_nothing:
                    await self._settle(target)
        except Exception as error:
            self._app._handle_exception(error)

    def _target(self) -> MessagePump:
        app = self._app
        return app.focused or (app.screen if app.screen_stack else app)

    async def _settle(self, target: MessagePump) -> None:
        """Wait until a key has gone from `target` up to the app, and its screen stands."""
        try:
            async with asyncio.timeout(LONGEST_S):
                for _ in range(ROUNDS):
                    await _through(target)
                for screen in self._app.screen_stack[-1:]:
                    mounted: asyncio.Event = screen._mounted_event
                    await mounted.wait()
                    # Focus is moved by a message to the app; then the widget hears of it.
                    await _through(screen)
                    await _through(self._target())
                # What was chosen is read in a thread.
                while self._is_opening():
                    await asyncio.sleep(READING_S)
        except TimeoutError:
            pass  # the next key may go on


async def _through(start: MessagePump) -> None:
    """Wait until `start` and all above it have dealt with what is in their queues now."""
    node: MessagePump | None = start
    while node is not None:
        passed = asyncio.get_running_loop().create_future()
        if node.call_later(_mark, passed):
            # What is closed in between reads its queue no more.
            ends = [task for task in (node._task,) if task is not None]
            await asyncio.wait([passed, *ends], return_when=asyncio.FIRST_COMPLETED)
        node = node._parent


def _mark(passed: asyncio.Future[None]) -> None:
    if not passed.done():
        passed.set_result(None)
