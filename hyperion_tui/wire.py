"""What goes over the line to the terminal: only cells that look different than before.

Textual sends every line of a widget that was refreshed, each change of style with all of its
colours. Here every cell that the terminal shows is remembered: what is the same is not sent again,
and a change of style names only what changes. Over a slow connection that is what counts.

Another screen, another size and the return from a suspended program are painted in full, and ctrl+l
does so at any time: what a foreign program wrote on the terminal is unknown here.

Hyperlinks (`Style.link`) are not sent; nothing here has any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

_PART = ""
"""The sign of a cell that belongs to what begins further to the left."""

_UNKNOWN = "\0"
"""The sign of a cell that may show anything."""

_NEAR = 4
"""Cells that are sooner sent again than skipped: moving the cursor takes as many bytes."""

Place = tuple[int, int, Strip]
"""Where a strip begins (column, line), and the strip."""


class Wire:
    """The cells of one terminal, as it shows them."""

    def __init__(self) -> None:
        self._signs: list[list[str]] = []
        self._looks: list[list[str]] = []
        self._height = 0

    def fit(self, height: int) -> None:
        """Of another number of lines nothing is known: the terminal may have moved or lost them."""
        if height != self._height:
            self._height = height
            self.forget()

    def forget(self) -> None:
        """From now on any cell may show anything: the next picture is sent as a whole."""
        for line in self._signs:
            line[:] = [_UNKNOWN] * len(line)

    def thrifty(self, update: CompositorUpdate) -> CompositorUpdate:
        """The same update, which sends less. Kinds that are not known here stay as they are."""
        if isinstance(update, LayoutUpdate | ChopsUpdate):
            return _Thrifty(self, update)
        self.forget()
        return update

    def send(self, places: Iterable[Place], width: int, colours: ColorSystem) -> str:
        """What to write so that a terminal of `width` columns shows these strips."""
        pen = _Pen()
        for x, y, strip in places:
            self._make_room(width, y)
            for words, style, _ in strip:
                look = "" if style is None else _short(Strip.render_ansi(style, colours))
                x = self._segment(pen, x, y, words, look)
        return pen.written()

    def _make_room(self, width: int, y: int) -> None:
        if self._signs and len(self._signs[0]) != width:
            self._signs, self._looks = [], []
        while len(self._signs) <= y:
            self._signs.append([_UNKNOWN] * width)
            self._looks.append([""] * width)

    def _segment(self, pen: _Pen, x: int, y: int, words: str, look: str) -> int:
        """Send a text of one style; returns the column behind it."""
        cells = cell_len(words)
        plain = _is_plain(words)
        signs = list(words) if plain else [words, *[_PART] * (cells - 1)]
        looks = [look] * cells
        if plain and " " in words and (behind := _behind(look)) != look:
            looks = [behind if sign == " " else look for sign in signs]
        shown_signs, shown_looks = self._signs[y], self._looks[y]
        end = x + cells
        if shown_signs[x:end] == signs and shown_looks[x:end] == looks:
            return end
        step = 1 if plain else max(1, cells)
        for at in range(0, cells, step):
            place = x + at
            if plain and shown_signs[place] == signs[at] and shown_looks[place] == looks[at]:
                continue
            self._break(y, place, place + step)
            shown_signs[place : place + step] = signs[at : at + step]
            shown_looks[place : place + step] = looks[at : at + step]
            pen.write(place, y, step, shown_signs, shown_looks)
        return end

    def _break(self, y: int, start: int, end: int) -> None:
        """What is covered only in part, of several cells, is unknown from now on."""
        signs = self._signs[y]
        left = start
        while left > 0 and signs[left] == _PART:
            left -= 1
        while end < len(signs) and signs[end] == _PART:
            end += 1
        signs[left:end] = [_UNKNOWN] * (end - left)


class _Pen:
    """Writes cells with as few bytes as it can."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._x, self._y = -1, -1
        self._look = ""

    def write(self, x: int, y: int, cells: int, signs: list[str], looks: list[str]) -> None:
        """Write what stands at a place. signs, looks: what its line shows from now on."""
        if (x, y) != (self._x, self._y):
            self._go(x, y, signs, looks)
        if not self._suits(signs[x], looks[x]):
            self._parts.append(_turn(self._look, looks[x]))
            self._look = looks[x]
        self._parts.append(signs[x])
        self._x, self._y = x + cells, y

    def _suits(self, sign: str, look: str) -> bool:
        """Whether a cell looks like this in the style that is set."""
        return look == self._look or (sign == " " and look == _behind(self._look))

    def _go(self, x: int, y: int, signs: list[str], looks: list[str]) -> None:
        if y != self._y or x < self._x:
            self._parts.append(f"\x1b[{y + 1};{x + 1}H")
            return
        between = signs[self._x : x]
        if len(between) <= _NEAR and all(
            sign not in (_PART, _UNKNOWN) and self._suits(sign, look)
            for sign, look in zip(between, looks[self._x : x], strict=True)
        ):
            self._parts += between
        else:
            self._parts.append(f"\x1b[{x - self._x}C")

    def written(self) -> str:
        """All of it; behind it the terminal writes plainly again."""
        if self._look:
            self._parts.append("\x1b[0m")
        return "".join(self._parts)


class _Thrifty(CompositorUpdate):
    """An update that sends what differs. It is rendered once, at the moment it is written."""

    def __init__(self, wire: Wire, update: LayoutUpdate | ChopsUpdate) -> None:
        self._wire = wire
        self._update = update

    def render_segments(self, console: Console) -> str:
        """What is to be written to the terminal."""
        colours = console._color_system or ColorSystem.TRUECOLOR
        if isinstance(self._update, LayoutUpdate):
            self._wire.fit(self._update.region.bottom)
            width = self._update.region.right
            return self._wire.send(_of_layout(self._update), width, colours)
        self._wire.fit(len(self._update.chop_ends))
        width = max(ends[-1] for ends in self._update.chop_ends)
        return self._wire.send(_of_chops(self._update), width, colours)


def _of_layout(update: LayoutUpdate) -> Iterator[Place]:
    """All lines of a screen."""
    for y, strips in enumerate(update.strips, start=update.region.y):
        x = update.region.x
        for strip in strips:
            yield x, y, strip
            x += strip.cell_length


def _of_chops(update: ChopsUpdate) -> Iterator[Place]:
    """Parts of lines, cut to what was refreshed."""
    for y, first, end in update.spans:
        for chop_end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            left, right = max(x, first), min(chop_end, end)
            if strip is not None and left < right:
                yield left, y, strip.crop(left - x, right - x)


@lru_cache(maxsize=4096)
def _is_plain(words: str) -> bool:
    """Whether every character takes one cell, whatever stands beside it."""
    if words.isascii():
        return True
    return cell_len(words) == len(words) and all(get_character_cell_size(c) == 1 for c in words)


@lru_cache(maxsize=4096)
def _short(look: str) -> str:
    """The same style with colours by their number where a terminal of 256 has them: `38;5;252`.

    Half the bytes of `38;2;208;208;208`, and every terminal that knows the one knows the other.
    """
    return _IN_FULL.sub(lambda found: _numbered(*map(int, found.groups())) or found[0], look)


_IN_FULL = re.compile(r"\b(38|48);2;(\d+);(\d+);(\d+)")
_STEPS = (0, 95, 135, 175, 215, 255)


def _numbered(kind: int, red: int, green: int, blue: int) -> str | None:
    """A colour of the cube of 6 x 6 x 6 or one of the 24 greys; None if it is neither.

    One more or less in a part is the same colour: so much is lost where themes are worked out.
    """
    parts = (red, green, blue)
    steps = [at for part in parts for at, step in enumerate(_STEPS) if abs(step - part) <= 1]
    if len(steps) == 3:
        return f"{kind};5;{16 + 36 * steps[0] + 6 * steps[1] + steps[2]}"
    grey = round((green - 8) / 10)
    if 0 <= grey < 24 and all(abs(8 + 10 * grey - part) <= 1 for part in parts):
        return f"{kind};5;{232 + grey}"
    return None


@lru_cache(maxsize=4096)
def _behind(look: str) -> str:
    """As much of a style as can be seen of a blank: often only the colour behind it."""
    _, back, attributes = _parted(look)
    return back if attributes <= _ONLY_ON_SIGNS else look


@lru_cache(maxsize=4096)
def _turn(before: str, after: str) -> str:
    """The sequence that turns one style into another."""
    if not after:
        return "\x1b[0m"
    old, new = _parted(before), _parted(after)
    if not old[2] <= new[2]:
        return f"\x1b[0;{after}m"
    attributes = ";".join(sorted(new[2] - old[2]))
    changes = [attributes] if attributes else []
    for was, wanted, default in ((old[0], new[0], "39"), (old[1], new[1], "49")):
        if was != wanted:
            changes.append(wanted or default)
    return f"\x1b[{';'.join(changes)}m" if changes else ""


def _parted(codes: str) -> tuple[str, str, frozenset[str]]:
    """The colour of the text, that behind it, and the attributes of a style."""
    front, back, attributes = "", "", set()
    left = codes.split(";") if codes else []
    while left:
        code = left.pop(0)
        if code in ("38", "48"):
            more = 4 if left[0] == "2" else 2
            colour = ";".join([code, *left[:more]])
            del left[:more]
            front, back = (colour, back) if code == "38" else (front, colour)
        elif code in _FRONT:
            front = code
        elif code in _BACK:
            back = code
        else:
            attributes.add(code)
    return front, back, frozenset(attributes)


_FRONT = {str(n) for n in (*range(30, 38), 39, *range(90, 98))}
_BACK = {str(n) for n in (*range(40, 48), 49, *range(100, 108))}
_ONLY_ON_SIGNS = {"1", "2", "3"}
"""Bold, dim and italic: attributes that a blank does not show."""
