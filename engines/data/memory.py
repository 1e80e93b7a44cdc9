"""Whether a table fits into memory, known before it is read.

The estimate is of the peak while a file is read: the parser's own table, the columns, and the
matrix that models learn from. Measured at 1,000,000 x 50 as Parquet and as CSV it was 10 % to
40 % too high.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.errors import BadInput

CELL_BYTES = 40
"""Peak memory of one value of a table: five times its 8 bytes."""

WORTH_TELLING = 200 * 1024**2
"""Below this nobody has to wait for a file or make room for it."""

MACHINE = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What reading a table takes: rows and columns as the file has them, bytes at the peak."""

    rows: int
    columns: int
    size: int

    @classmethod
    def of(
        cls, rows: int, columns: int, *, raw: int = 0, sample: int | None = None, chunk: int = 0
    ) -> Estimate:
        """raw: bytes of the values as the reader unpacks them. chunk: rows read at a time, of
        which a sample keeps a part.
        """
        kept = rows if sample is None else min(rows, sample + chunk)
        parser = 2 * raw * kept // max(1, rows)
        return cls(rows, columns, max(CELL_BYTES * kept * columns, parser))

    def sentence(self, free: int | None) -> str:
        """`1,000,000 rows x 50 columns take about 1.9 GB of memory to read; 8.0 GB are free`."""
        told = (
            f"{self.rows:,} rows x {self.columns:,} columns take about {_gb(self.size)} of memory "
            "to read"
        )
        return told if free is None else f"{told}; {_gb(free)} are free"


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that may be used. free: bytes, or None if unknown: then all is let in.

    tell: called with one line before a large table is read.
    """

    free: int | None = None
    tell: Callable[[str], None] | None = None

    def admit(self, where: str, estimate: Estimate) -> None:
        """Tell of a large table; refuse one that does not fit, with how many rows would.

        where: the file, as shown. Raises BadInput.
        """
        if self.tell is not None and estimate.size > WORTH_TELLING:
            self.tell(estimate.sentence(self.free))
        if self.free is None or estimate.size <= self.free:
            return
        fit = int(estimate.rows * self.free / estimate.size)
        raise BadInput(
            f"{where}: {estimate.sentence(self.free)}; draw a sample with "
            f"--sample {_rounded(fit)}, keep fewer columns, or free some memory"
        )


def free_bytes() -> int | None:
    """Memory of the machine that can be had without swapping, or None where it isn't said."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in MACHINE.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _rounded(rows: int) -> int:
    """Two digits of a number of rows, downwards."""
    unit = 10 ** max(0, len(str(rows)) - 2)
    return rows // unit * unit
