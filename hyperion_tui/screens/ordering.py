"""The orders that several screens give: pause, freeze, resume, stop, cancel."""

from __future__ import annotations

from collections.abc import Callable

from engines.run.orders import Target
from engines.study.states import FINAL
from hyperion_tui import actions, orders, text
from hyperion_tui.screens.base import View
from hyperion_tui.screens.confirm import Confirm


class OrderingView(View):
    """A view that can say which studies an order is for."""

    BINDINGS = actions.bindings("orders")

    def targets(self) -> tuple[str, list[Target]]:
        """What an order is for, in words, and its studies."""
        return "", []

    def action_pause(self) -> None:
        """Pause; what is pausing already is interrupted."""
        what, targets = self.targets()
        pausing = [(e, s) for e, s in targets if s.state == "pausing" and s.want == "pause"]
        going_on = [(e, s) for e, s in targets if s.want == "run"]
        if targets and not going_on and not pausing:
            self.say(f"{what} does not run: there is nothing to pause")
        else:
            self._give("pause", going_on or pausing, now=not going_on)

    def action_freeze_trials(self) -> None:
        """Pause by stopping the processes where they are: nothing is lost, nothing computes."""
        what, targets = self.targets()
        going_on = [(e, s) for e, s in targets if s.state not in FINAL]
        if targets and not going_on:
            self.say(f"{what} has ended: there is nothing to freeze")
        else:
            self._give("pause", going_on, freeze=True)

    def action_resume(self) -> None:
        """Go on."""
        self._give("run", self.targets()[1])

    def action_stop(self) -> None:
        """End for good after what runs, if that is really meant."""
        self._ask(
            "Stop",
            "What runs now is finished, then the held-out scores are opened. "
            "It can't be resumed afterwards.",
            lambda targets: self._give("stop", targets),
        )

    def action_cancel(self) -> None:
        """End for good at once, if that is really meant."""
        self._ask(
            "Cancel",
            "Trials that run now are lost, and no held-out score is opened. "
            "It can't be resumed afterwards.",
            lambda targets: self._give("cancel", targets),
        )

    def _ask(self, verb: str, meaning: str, then: Callable[[list[Target]], None]) -> None:
        what, targets = self.targets()
        open_targets = [(e, s) for e, s in targets if s.state not in FINAL]
        if not open_targets:
            self.say(f"nothing to {verb.lower()}: {what or 'no experiment'} has ended")
            return
        number = text.plural(len(open_targets), "study", "studies")
        question = (f"{verb} {what} ({number})?", meaning)

        def answered(yes: bool | None) -> None:
            if yes:
                then(open_targets)

        self.app.push_screen(Confirm(verb, question, verb, "Keep it"), answered)

    def _give(
        self, want: str, targets: list[Target], *, now: bool = False, freeze: bool = False
    ) -> None:
        if not targets:
            self.say("there is no study to give an order to")
            return
        location = self.hyperion.location
        self.hyperion.in_thread(
            lambda: orders.give(location, targets, want, now=now, freeze=freeze),
            self.hyperion.say,
        )
