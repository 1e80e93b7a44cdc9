"""The app: wires the feed, the screens and the keys that work everywhere. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from rich.text import Text
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.binding import Binding
from textual.filter import Monochrome, NoColor
from textual.screen import Screen

from engines.study.location import Location
from engines.study.records import Experiment
from hyperion_tui import actions, away, config, heralds, orders, signs, text, themes
from hyperion_tui.actions import Action
from hyperion_tui.config import Settings
from hyperion_tui.feed import Feed
from hyperion_tui.keyboard import Keyboard
from hyperion_tui.messages import Snapshot, SnapshotRead
from hyperion_tui.screens.base import View
from hyperion_tui.screens.confirm import Confirm, ErrorDialog
from hyperion_tui.screens.help import HelpScreen
from hyperion_tui.screens.main import MainScreen
from hyperion_tui.screens.palette import Palette
from hyperion_tui.wire import Wire

T = TypeVar("T")

TICK_S = 0.25
SLOW_TICK_S = 1.0
LEAVE_S = 5
"""How long leaving may take once a signal asked for it; then the kernel ends the process."""

_SETTLED_S = 1.0
"""After so long a screen is there; on a slow machine it costs some garbage collected meanwhile."""

_GARBAGE = (700, 10, 50)
"""Of itself Python looks through all that was made since the start this seldom, see `_tidy`."""

_TIDY_AT = 2
"""After so many collections of what is young, of 7,000 objects each, the rest is looked through."""

_TIDY_AFTER_S = 0.5
"""Nobody presses keys any more."""

TWICE_S = 2.0
"""Within how many seconds a second ctrl+c leaves."""


class HyperionApp(App[None]):
    """One store, seen through screens."""

    TITLE = "hyperion-tui"
    CSS_PATH = ["styles/app.tcss", "styles/main.tcss", "styles/dialogs.tcss"]
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [
        *actions.bindings("app"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
        Binding("ctrl+l", "paint_again", show=False, priority=True),
    ]

    def __init__(
        self, location: Location, *, slow: bool = False, settings: Settings | None = None
    ) -> None:
        super().__init__()
        self.settings = settings or Settings()
        actions.use(self.settings.keys)
        self.location = location
        self.feed = Feed(location)
        self.snapshot = Snapshot()
        self._tick_s = SLOW_TICK_S if slow else TICK_S
        self._opening: int | None = None
        self.keyboard = Keyboard(self, self._hand_on, self._is_opening)
        self._wire = Wire()
        self._painted: Screen[Any] | None = None
        self._interrupted_at = self._acted_at = float("-inf")
        self._adopted = False
        self._wanted_name: str | None = None
        self.animation_level = "none"
        self.deleted: list[list[Experiment]] = []
        self.away = ""
        self.hidden_columns: dict[str, set[str]] = {}
        self._choose_colours()
        if signs.wants_ascii(self.settings.values.get("signs", "auto"), os.environ):
            self._filters.append(signs.Ascii())

    def _choose_colours(self) -> None:
        for theme in themes.OWN:
            self.register_theme(theme)
        if self.no_color:
            self.theme = themes.WITHOUT_COLOUR
            # Chosen before the theme was: greys in 24 bits are colours too.
            self._filters = [NoColor() if isinstance(f, Monochrome) else f for f in self._filters]
        elif "TEXTUAL_THEME" not in os.environ:
            self.theme = self.settings.values.get("theme", themes.DARK.name)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of ours that foreign themes lack."""
        return dict(themes.VARIABLES)

    async def on_mount(self) -> None:
        self._obey_signals()
        self.app_resume_signal.subscribe(self, lambda _: self._wire.forget())
        self.set_keymap(dict(self.settings.keys))
        await self.push_screen(MainScreen(self.location.shown))
        if not gc.isenabled():
            self.set_timer(_SETTLED_S, self._spare)
        self.set_interval(self._tick_s, self._tick)
        self._tick()

    async def on_event(self, event: events.Event) -> None:
        """Keys wait for their turn; before anything else a key makes old notices go."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            await self.keyboard.take(event)
            return
        if isinstance(event, events.MouseDown) and not event.is_forwarded:
            self._somebody_acts()
        await super().on_event(event)

    async def _hand_on(self, event: events.Key) -> None:
        self._somebody_acts()
        await super().on_event(event)

    def _somebody_acts(self) -> None:
        self._acted_at = time.monotonic()
        screen = self.screen_stack[-1] if self.screen_stack else None
        if isinstance(screen, View):
            screen.key_pressed()

    def on_unmount(self) -> None:
        self.feed.close()
        if self._adopted:
            away.save(self.location, self.snapshot.experiments)

    def _obey_signals(self) -> None:
        """Leave in order when told to: the terminal is given back as it was."""
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, partial(self._obey, number))

    def _obey(self, number: signal.Signals) -> None:
        # A terminal that is gone takes no output: what waits for it would wait for ever.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LEAVE_S)
        self.exit(return_code=128 + number)

    # -- the terminal --------------------------------------------------------------------------

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Send what differs; another screen is painted as a whole."""
        if screen is not self._painted:
            self._painted = screen
            self._wire.forget()
        if isinstance(renderable, CompositorUpdate):
            renderable = self._wire.thrifty(renderable)
        super()._display(screen, renderable)

    def action_paint_again(self) -> None:
        """Paint everything, whatever the terminal shows."""
        self._wire.forget()
        self.screen.refresh()

    # -- the feed ------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._tidy()
        if self.feed.due():
            self.run_worker(self._read(), group="feed")

    async def _read(self) -> None:
        snapshot = await asyncio.to_thread(self.feed.read)
        if snapshot is not None:
            self.post_message(SnapshotRead(snapshot))
        elif not self.feed.is_asked:
            self._opening = None  # what was chosen is what is shown

    def _is_opening(self) -> bool:
        """Whether an experiment was chosen that is not shown yet; a store in trouble shows none."""
        return self._opening is not None and self.snapshot.problem is None

    def on_snapshot_read(self, message: SnapshotRead) -> None:
        self._announce(message.snapshot)
        self.snapshot = message.snapshot
        self.feed.accept(message.snapshot)
        for screen in self.screen_stack:
            if isinstance(screen, View) and screen.is_mounted:
                screen.show_snapshot(message.snapshot)
        known = {e.experiment_id for e in message.snapshot.experiments}
        if self._opening == message.snapshot.current_id or self._opening not in known:
            self._opening = None
        if not self._adopted:
            self._adopted = True
            self._adopt()
        if self._wanted_name is not None:
            self.open_by_name(self._wanted_name)

    def _announce(self, snapshot: Snapshot) -> None:
        """A sign for somebody who looks elsewhere, if one is wished for."""
        how = self.settings.values.get("notify", "off")
        if how != "off" and self._driver is not None:
            self._driver.write(heralds.sign(how, heralds.news(self.snapshot, snapshot), os.environ))

    def _spare(self) -> None:
        """All is painted, and what is there by now stays: no more looking through it for garbage,
        which takes 50 ms each time."""
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        gc.enable()

    def _tidy(self) -> None:
        """Collect garbage now and then, at a moment when no key waits for it."""
        quiet = time.monotonic() - self._acted_at > _TIDY_AFTER_S
        if quiet and gc.isenabled() and gc.get_count()[2] >= _TIDY_AT:
            gc.collect()

    def _adopt(self) -> None:
        """See to it that what should be running is running."""
        experiments, location = self.snapshot.experiments, self.location

        def work() -> tuple[str | None, away.Seen | None]:
            return orders.adopt(location, experiments), away.load(location)

        self.in_thread(work, lambda found: self._after_adopting(*found))

    def _after_adopting(self, notice: str | None, seen: away.Seen | None) -> None:
        told = away.news(seen, self.snapshot.experiments)
        if seen is not None and told:
            # The list of experiments says what, once.
            self.away = f"since {text.day(seen.at)}: {told}"
            told = f"{actions.key_of('experiments')} says what happened since you left"
        said = [line for line in (self.snapshot.note, notice, told) if line]
        if said:
            self.say(text.clean("; ".join(said)))

    # -- for the screens -----------------------------------------------------------------------

    def open_experiment(self, experiment_id: int) -> None:
        """Show another experiment on the main screen. Keys wait until it stands there."""
        self._opening = experiment_id
        self.feed.follow(experiment_id)
        self._tick()

    def open_by_name(self, name: str) -> None:
        """Show an experiment as soon as the feed knows it."""
        found = [e for e in self.snapshot.experiments if e.name == name]
        self._wanted_name = None if found else name
        if found:
            self.open_experiment(found[0].experiment_id)
            self.say(f"started {name}: it goes on when you leave")
        else:
            self.feed.ask_again()

    def in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], Any],
        failed: Callable[[BaseException], Any] | None = None,
    ) -> None:
        """Do something slow beside the screen; errors end in a dialog unless `failed` is given."""

        async def job() -> None:
            try:
                result = await asyncio.to_thread(work)
            except Exception as error:
                (failed or self.show_error)(error)
            else:
                then(result)
            self.feed.ask_again()

        self.run_worker(job(), group="jobs")

    def say(self, notice: str) -> None:
        """A line at the bottom of the screen that is open."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, View):
                screen.say(notice)
                return

    def show_error(self, error: BaseException) -> None:
        """A dialog with what went wrong."""
        self.push_screen(ErrorDialog(error))

    # -- keys that work everywhere ---------------------------------------------------------------

    def action_help(self) -> None:
        """The list of keys."""
        self.push_screen(HelpScreen(self._scopes()))

    def action_theme(self) -> None:
        """The next colour theme."""
        self.theme = themes.after(self.theme)
        self.say(f"theme {self.theme}")

    def action_palette(self) -> None:
        """Commands by name."""
        screen = self.screen
        if not isinstance(screen, View):
            return
        self.push_screen(Palette(self._scopes()), self._run_action)

    def _scopes(self) -> set[str]:
        """The scopes whose keys hold on this screen."""
        return {a.scope for node in self._holders() for a in actions.ACTIONS if _can(node, a)}

    def _holders(self) -> list[Any]:
        return [node for node in (self.screen.focused, self.screen, self) if node is not None]

    async def _run_action(self, action: Action | None) -> None:
        if action is None:
            return
        for node in self._holders():
            if _can(node, action):
                await self.run_action(action.name, node)
                return

    def action_leave(self) -> None:
        """Leave; what runs goes on."""
        running = [e for e in self.snapshot.experiments if e.state in ("running", "pausing")]
        message = None
        if running:
            names = ", ".join(text.clean(e.name) for e in running[:3])
            goes = "goes" if len(running) == 1 else "go"
            message = Text(f"{names} {goes} on without the screen; hyperion-tui shows it again.")
        self.exit(message=message)

    action_quit = action_leave  # type: ignore[assignment]

    def action_leave_and_stop(self) -> None:
        """Stop what runs and leave, if that is really meant."""
        experiments, location = self.snapshot.experiments, self.location
        targets = orders.open_targets(experiments)
        if not targets:
            self.exit()
            return
        number = text.plural(len(targets), "study", "studies")
        question = (f"Stop {number} of this store for good and leave?", "What runs is finished.")

        def answered(yes: bool | None) -> None:
            if yes:
                self.in_thread(
                    lambda: orders.stop_everything(location, experiments),
                    lambda told: self.exit(message=Text(told)),
                )

        self.push_screen(Confirm("Stop everything", question, "Stop all", "Keep it"), answered)

    def action_interrupt(self) -> None:
        """ctrl+c: leave when it comes twice."""
        now = time.monotonic()
        if now - self._interrupted_at <= TWICE_S:
            self.action_leave()
        else:
            self._interrupted_at = now
            self.say("ctrl+c again leaves; what runs goes on")


def _can(node: object, action: Action) -> bool:
    """Whether a node has a key for this action."""
    bindings = getattr(node, "_bindings", None)
    keys = bindings.key_to_bindings.values() if bindings is not None else ()
    return any(
        b.action == action.name and b.description == action.description
        for held in keys
        for b in held
    )


def run_app(location: Location, *, slow: bool = False) -> int:
    """Run the app on this terminal until it is left; returns the exit code."""
    # Nothing is garbage yet; see `_spare`.
    gc.disable()
    app = HyperionApp(location, slow=slow, settings=config.load())
    for name in ("COLUMNS", "LINES"):
        # Where these are exported they would be believed, whatever size the terminal takes on.
        os.environ.pop(name, None)
    with contextlib.suppress(KeyboardInterrupt):
        app.run()
    signal.alarm(0)
    return app.return_code or 0
