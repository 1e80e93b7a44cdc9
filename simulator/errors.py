"""What the simulator refuses: one line that says what, where and what to do."""

from __future__ import annotations


class SimulatorError(ValueError):
    """Input that can't be traded honestly. The message is one line."""


class BadBars(SimulatorError):
    """Bars that no market can have made, or whose order in time is not known."""


class LookAhead(SimulatorError):
    """A feature that knows the future. `bar` is the first bar (0-based) at which it differs."""

    def __init__(self, message: str, bar: int) -> None:
        super().__init__(message)
        self.bar = bar


class PackageNeeded(SimulatorError):
    """An optional package is not installed; the message says how to add it."""
