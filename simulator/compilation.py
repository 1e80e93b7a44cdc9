"""Compiled functions: made once a machine, kept in the user's cache directory.

numba would write beside the source, which an installed package may not allow, and would notice a
changed source by its time and size, which two wheels can share. So the folder is the user's own
(`$NUMBA_CACHE_DIR`, else the platform's cache directory) and its name holds a hash of the source:
code of another version is never loaded. Where that folder can't be written, functions are
compiled anew in every process and nothing else changes.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from simulator.errors import PackageNeeded

F = TypeVar("F", bound=Callable[..., Any])

SECONDS = 10
"""What the first compilation takes, about, on one core."""

# Nothing is allocated in compiled code, so numba's reference counts are left out: they are
# atomic, and took four fifths of the time of a bar.
_HOW: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "_nrt": False}

said = False
"""Whether this process has told the person that it compiles."""


def say(text: str) -> None:
    """Tell the person that there is something to wait for. Replace it to say it elsewhere."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def user_cache() -> Path:
    """The folder for what can be made again: `$NUMBA_CACHE_DIR` or the user's cache directory."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "hyperion-tui" / "compiled"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of these folders has a relative path ignored.
    cache = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return cache / "hyperion-tui" / "compiled"


def cache_folder(source: Path) -> Path:
    """The folder of functions compiled from the file `source` as it is now.

    The constants of `layout` are compiled into them, and numba watches one file alone.
    """
    here = Path(__file__)
    parts = (source, here.with_name("layout.py"), here)
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]
    return user_cache() / f"{source.stem}-{digest}"


def entry(signature: str) -> Callable[[F], F]:
    """Compile a function for one signature, now, or load it from the cache.

    The arithmetic is the one written: no reordering, no fused operations, division by zero gives
    inf or NaN. So two entries that share a helper give the same bits.
    """

    def compiled(function: F) -> F:
        return _load_or_compile(function, signature)

    return compiled


def _load_or_compile(function: F, signature: str) -> F:
    numba = _numba()
    from numba.core import config

    def compile_it(cache: bool) -> Any:
        return numba.njit(signature, nogil=True, cache=cache, **_HOW)(function)

    folder = _usable(cache_folder(Path(inspect.getfile(function))))
    if folder is None or not any(folder.rglob(f"*.{function.__name__}-*.nbi")):
        _say_once(folder)
    if folder is None:
        return compile_it(cache=False)
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return compile_it(cache=True)
    except Exception:
        # A full disk, or files cut short by a power cut, which numba raises in many ways. An
        # error of the function itself comes again from the line below.
        shutil.rmtree(folder, ignore_errors=True)
        return compile_it(cache=False)
    finally:
        config.CACHE_DIR = before


def _numba() -> Any:
    try:
        import numba
    except ImportError as reason:
        remedy = "add it with: pip install 'hyperion-tui[rl]'"
        raise PackageNeeded(f"trading needs numba, which is not installed; {remedy}") from reason
    return numba


def _usable(folder: Path) -> Path | None:
    """`folder`, made for its owner alone, or None if nothing can be written there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owned = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except (OSError, RuntimeError):
        return None
    # What is loaded from a cache is run: another person's folder is not used.
    return folder if owned and os.access(folder, os.W_OK) else None


def _say_once(folder: Path | None) -> None:
    global said
    if not said:
        said = True
        often = "once" if folder is not None else "in this process (its cache can't be written)"
        say(f"compiling the trading simulator {often}, about {SECONDS} seconds ...")


def inlined(function: F) -> F:
    """A helper of compiled functions, compiled into each of them."""
    numba = _numba()
    return numba.njit(inline="always", **_HOW)(function)
