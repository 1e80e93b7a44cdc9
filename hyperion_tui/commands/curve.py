"""Equity curves: drawn in the terminal, and as SVG or PNG files, without a plotting library."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 900, 360
LEFT, RIGHT, TOP, BOTTOM = 84, 16, 34, 34
INK, LINE, GRID = (60, 60, 60), (31, 90, 180), (225, 225, 225)

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character, by row and column of its dots (Unicode 2800 to 28FF)."""

# Five by seven dots each, rows from the top, the leftmost dot the highest bit.
_GLYPHS = {
    "0": "0e1113151911 0e", "1": "040c04040404 0e", "2": "0e1101020408 1f",
    "3": "1f0204020111 0e", "4": "02060a121f02 02", "5": "1f101e010111 0e",
    "6": "0608101e1111 0e", "7": "1f0102040808 08", "8": "0e11110e1111 0e",
    "9": "0e11110f0102 0c", "-": "0000001f0000 00", ".": "000000000000 0c",
    ",": "000000000c04 08", "e": "00000e111f10 0e", "+": "0004041f0404 00",
}  # fmt: skip


def in_terminal(
    values: Floats, *, width: int = 60, height: int = 8, ascii_only: bool = False
) -> list[str]:
    """Lines of text that show a series: its highest and lowest value beside it, the first below.

    width and height are in characters; each holds 2 x 4 dots, or one sign in plain ASCII.
    """
    across, down = (1, 1) if ascii_only else (2, 4)
    low, high = float(values.min()), float(values.max())
    shown = values[np.linspace(0, len(values) - 1, width * across).round().astype(int)]
    rows = _rows(shown, low, high, height * down)
    cells = [[0] * width for _ in range(height)]
    before = rows[0]
    for x, row in enumerate(rows):
        # A steep move is a column of dots, so that the line has no holes.
        for y in range(min(before, row), max(before, row) + 1):
            cells[y // down][x // across] |= _DOTS[y % down][x % across]
        before = row
    labels = [_amount(high), *[""] * (height - 2), _amount(low)] if height > 1 else [_amount(high)]
    margin = max(map(len, labels))
    lines = []
    for label, line in zip(labels, cells, strict=True):
        signs = (("*" if bits else " ") if ascii_only else chr(0x2800 + bits) for bits in line)
        drawn = "".join(signs).rstrip(" \u2800")
        lines.append(f"{label.rjust(margin)} {'|' if ascii_only else '┤'}{drawn}")
    return lines


def thinned(values: Floats, most: int) -> Floats:
    """At most `most` values, evenly chosen, the first and the last among them."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(int)]


def _rows(values: Floats, low: float, high: float, height: int) -> list[int]:
    """The row of each value, 0 at the top."""
    span = high - low or 1.0
    return [round((high - value) / span * (height - 1)) for value in values.tolist()]


def _amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def as_svg(values: Floats, title: str, ends: tuple[str, str]) -> str:
    """A picture of a series. ends: what stands below its first and its last value."""
    ticks = axis(float(values.min()), float(values.max()))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _points(values, ticks))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for tick in ticks:
        y = _height(tick, ticks)
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="rgb{GRID}"/><text x="{LEFT - 8}" y="{y + 4:.1f}" '
            f'text-anchor="end">{_amount(tick)}</text>'
        )
    base = HEIGHT - 12
    lines += [
        f'<text x="{LEFT}" y="{base}">{escape(ends[0])}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{base}" text-anchor="end">{escape(ends[1])}</text>',
        f'<polyline fill="none" stroke="rgb{LINE}" stroke-width="1.5" points="{points}"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def as_png(values: Floats) -> bytes:
    """The same picture without words: a curve, a grid, and its amounts."""
    ticks = axis(float(values.min()), float(values.max()))
    canvas = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    for tick in ticks:
        y = round(_height(tick, ticks))
        canvas[y, LEFT : WIDTH - RIGHT] = GRID
        text = _amount(tick)
        _write(canvas, text, LEFT - 8 - 6 * len(text), y - 3)
    points = _points(values, ticks)
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = max(2, math.ceil(2 * max(abs(x1 - x0), abs(y1 - y0))))
        for part in np.linspace(0.0, 1.0, steps):
            x, y = round(x0 + part * (x1 - x0)), round(y0 + part * (y1 - y0))
            canvas[y : y + 2, x : x + 2] = LINE
    return _png(canvas)


def axis(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from at most `low` to at least `high`."""
    span = max(high - low, abs(high) * 1e-6, 1e-9)
    size = 10.0 ** math.floor(math.log10(span / about))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor * about >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def _height(value: float, ticks: Sequence[float]) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _points(values: Floats, ticks: Sequence[float]) -> list[tuple[float, float]]:
    across = np.linspace(LEFT, WIDTH - RIGHT - 2, min(len(values), 2 * (WIDTH - LEFT - RIGHT)))
    shown = thinned(values, len(across))
    return [(float(x), _height(float(v), ticks)) for x, v in zip(across, shown, strict=True)]


def _write(canvas: npt.NDArray[np.uint8], text: str, x: int, y: int) -> None:
    for sign in text:
        for row, bits in enumerate(bytes.fromhex(_GLYPHS[sign])):
            for column in range(5):
                if bits >> (4 - column) & 1:
                    canvas[y + row, x + column] = INK
        x += 6


def _png(canvas: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of 8-bit RGB (ISO/IEC 15948): no filter, one data chunk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    height, width, _ = canvas.shape
    rows = b"".join(b"\0" + row.tobytes() for row in canvas)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
