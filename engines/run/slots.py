"""How the experiments of one person share the cores of a machine: by locks, without a server.

One file, locked byte by byte with POSIX record locks, which the kernel drops when their holder
ends. A byte is a core: a runner holds as many as it has workers at work. With one experiment
alone they limit nothing, not even below `--workers`. With several, a runner starts a worker
beyond its first only when it gets a core, asks for its share where it has less (`hungry`), and
a runner with more than its share sends one worker home after its present trial.

The locks are advice between runners of one person; a folder that can't be used means no sharing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from engines.files import make_private_folder
from engines.run.capacity import usable_cores
from engines.study.location import home
from engines.study.locks import lock_byte, locked_by, unlock_byte

_PRESENT = 100_000
_HUNGRY = 200_000
_MOST_RUNNERS = 64


def shared_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder that all runners of a person on this machine agree on."""
    environment = os.environ if environment is None else environment
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if not environment.get("HYPERION_HOME") and runtime and os.path.isdir(runtime):
        return Path(runtime) / "hyperion-tui"
    return home(environment) / "run"


class Cores:
    """This process's part of the cores. A file that can't be locked leaves it unlimited."""

    def __init__(self, folder: Path | None = None, cores: int | None = None) -> None:
        self.cores = usable_cores() if cores is None else cores
        self.held: set[int] = set()
        self.hungry = False
        self._place = 0
        self._file: int | None = None
        with contextlib.suppress(OSError):
            path = make_private_folder(folder or shared_folder()) / "cores.lock"
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o600)
            self._place = self._take_place()

    def close(self) -> None:
        """Give everything back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self.held.clear()

    def settle(self, active: int, wanted: int) -> None:
        """Hold a core for each of `active` workers, as far as there are any, and no more.

        wanted: how many workers there would be with cores enough, `active` or more.
        """
        if self._file is None:
            return
        while len(self.held) > active:
            unlock_byte(self._file, self.held.pop())
        while len(self.held) < active and self._take_core():
            pass
        hungry = len(self.held) < min(wanted, self.share())
        if hungry != self.hungry:
            self.hungry = hungry
            place = _HUNGRY + self._place
            (lock_byte if hungry else unlock_byte)(self._file, place)

    def may_start(self, active: int) -> bool:
        """Whether one more than `active` workers may be started; takes a core for it."""
        if self._file is None or active == 0 or len(self.held) > active:
            return True
        if active >= self.share() and self._others_are_hungry():
            return False  # it was given, or is to be
        # Beyond the cores only while nobody else is there: it is what `--workers` asked for.
        return self._take_core() or self.others() == 0

    def must_give(self, active: int) -> bool:
        """Whether a worker is to go home, because another experiment has less than its share."""
        return self._file is not None and active > self.share() and self._others_are_hungry()

    def share(self) -> int:
        """The cores that are this runner's by right."""
        return max(1, self.cores // (self.others() + 1))

    def others(self) -> int:
        """How many other runners there are."""
        return self._count(_PRESENT)

    def _others_are_hungry(self) -> bool:
        return self._count(_HUNGRY) > 0

    def _count(self, first: int) -> int:
        if self._file is None:
            return 0
        return sum(
            locked_by(self._file, first + i) is not None
            for i in range(_MOST_RUNNERS)
            if i != self._place
        )

    def _take_core(self) -> bool:
        assert self._file is not None
        for core in range(self.cores):
            if core not in self.held and lock_byte(self._file, core):
                self.held.add(core)
                return True
        return False

    def _take_place(self) -> int:
        assert self._file is not None
        for place in range(_MOST_RUNNERS):
            if lock_byte(self._file, _PRESENT + place):
                return place
        raise OSError("more runners than places")
