"""One training at a time on the GPU, among all experiments of a person on a machine.

By locks, as cores are shared (`slots.py`): a byte that who trains holds, and one that who comes
next holds, so that of two experiments neither trains twice in a row while the other one waits. The
kernel drops both when their holder ends. Who was frozen keeps its byte and its memory of the GPU,
but does not compute: others go past it, with the next byte. A worker asks before it claims a trial,
so nobody waits with a trial in hand, and time spent waiting is no trial's.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path

from engines.files import make_private_folder
from engines.models import catalogue
from engines.run.slots import shared_folder
from engines.run.tree import is_stopped
from engines.study.locks import lock_byte, locked_by, unlock_byte

_PLACES = 64
"""The bytes of who trains: the first one, and one more for each frozen worker."""

_NEXT = 1000

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What drivers of NVIDIA, AMD and WSL are known by: without one torch is not loaded to be asked."""


def trains_on_gpu(device: str | None) -> bool:
    """Whether networks of an experiment train on a GPU here; `device` as it was asked for.

    With None they take one where torch finds it, see `engines.models.networks.estimator`.
    """
    if device is not None:
        return device != "cpu"
    if not any(os.path.exists(path) for path in _DRIVERS):
        return False
    with contextlib.suppress(ImportError):
        # By name: it may not be installed.
        return bool(importlib.import_module("torch").cuda.is_available())
    return False


def models_of_gpu() -> frozenset[str]:
    """The models that train on a GPU where there is one."""
    return frozenset(
        name
        for name, spec in catalogue.models().items()
        if any(form.gpu for form in spec.forms.values())
    )


class Turn:
    """This process's turn on the GPU. A file that can't be locked gives it to everybody.

    held: whether it has it. waits: whether it asked for it in vain.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.held = self.waits = False
        self._place: int | None = None
        self._is_next = False
        self._file: int | None = None
        with contextlib.suppress(OSError):
            path = make_private_folder(folder or shared_folder()) / "gpu.lock"
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o600)

    def take(self) -> bool:
        """Have the turn, or else stand in line for it, as long as `leave` is not called."""
        if not self.held:
            self.held = self._file is None or self._taken(self._file)
            self.waits = not self.held
        return self.held

    def leave(self) -> None:
        """Give it to whoever comes next, or step out of the line."""
        if self._file is not None:
            if self._place is not None:
                unlock_byte(self._file, self._place)
            if self._is_next:
                unlock_byte(self._file, _NEXT)
        self._place, self._is_next = None, False
        self.held = self.waits = False

    def close(self) -> None:
        """Leave, and let go of the file. Another one of this process loses its turn with it."""
        self.leave()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _taken(self, file: int) -> bool:
        self._is_next = self._is_next or lock_byte(file, _NEXT)
        if not self._is_next:
            return False
        for place in range(_PLACES):
            holder = locked_by(file, place)
            if holder is None and lock_byte(file, place):
                self._place, self._is_next = place, False
                unlock_byte(file, _NEXT)
                return True
            if holder is None or not is_stopped(holder):
                return False
        return False
