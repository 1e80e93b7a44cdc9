"""Whatever is painted in whatever order: a terminal that gets less shows the same."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from hyperion_tui.wire import Place, Wire

WIDTH, HEIGHT = 12, 3
COLOURS = ["", "red", "on blue", "#7f8aa3 on #12151c", "bold #c8d0e0 on #12151c"]
COLOURS += ["#87afff on #303030", "bold #87afff", "#86afff on #121212"]
COLOURS += ["underline", "dim red", "bold reverse", "color(200) on color(17)", "bright_red"]
TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|(.)", re.DOTALL)

Look = tuple[str, str, frozenset[str]]
PLAIN: Look = ("", "", frozenset())


class Shown:
    """A terminal that knows cells, moves of the cursor, and styles."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], tuple[str, Look]] = {}
        self.x, self.y, self.look = 0, 0, PLAIN

    def write(self, sent: str) -> None:
        for codes, command, sign in TOKEN.findall(sent):
            if sign:
                self._sign(sign)
            elif command == "H":
                self.y, self.x = (int(n) - 1 for n in codes.split(";"))
            elif command == "C":
                self.x += int(codes)
            else:
                assert command == "m"
                self._style(codes)

    def _sign(self, sign: str) -> None:
        width = cell_len(sign)
        self.cells[self.x, self.y] = sign, _of(sign, self.look)
        for x in range(self.x + 1, self.x + width):
            self.cells[x, self.y] = "", self.look
        self.x += width

    def _style(self, codes: str) -> None:
        front, back, attributes = self.look
        left = codes.split(";")
        while left:
            code = left.pop(0)
            if code in ("38", "48"):
                more = 4 if left[0] == "2" else 2
                colour = _in_full(";".join([code, *left[:more]]))
                del left[:more]
                front, back = (colour, back) if code == "38" else (front, colour)
            elif code in ("", "0"):
                front, back, attributes = PLAIN
            elif code == "39":
                front = ""
            elif code == "49":
                back = ""
            elif int(code) < 30:
                attributes |= {code}
            elif code[-2] in "39":
                front = code
            else:
                back = code
        self.look = (front, back, attributes)


def _in_full(colour: str) -> str:
    """A numbered colour by its parts, as xterm makes them up (256colres.pl)."""
    kind, way, *parts = colour.split(";")
    if way == "2" or int(parts[0]) < 16:
        # One more or less is the same colour: #86afff is sent as #87afff.
        return colour.replace(";134;", ";135;")
    number = int(parts[0])
    if number >= 232:
        rgb = [8 + 10 * (number - 232)] * 3
    else:
        cube = (number - 16) // 36, (number - 16) // 6 % 6, (number - 16) % 6
        rgb = [55 + 40 * step if step else 0 for step in cube]
    return ";".join([kind, "2", *map(str, rgb)])


def _of(sign: str, look: Look) -> Look:
    """What can be seen of a style: of a blank only what is behind it, unless it is marked."""
    seen = sign != " " or look[2] - {"1", "2", "3"}
    return look if seen else ("", look[1], frozenset())


signs = st.text(st.sampled_from("ab01 ›✓│"), max_size=WIDTH)
wide = st.text(st.sampled_from("a 漢字"), max_size=WIDTH // 2)
segments = st.lists(st.tuples(signs | wide, st.sampled_from(COLOURS)), min_size=1, max_size=4)


@st.composite
def places(draw: st.DrawFn) -> Place:
    """Some text somewhere, cut at the right edge."""
    x, y = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    parts = [Segment(words, Style.parse(style)) for words, style in draw(segments)]
    return x, y, Strip(parts).crop(0, WIDTH - x)


def _straight(place: Place) -> str:
    x, y, strip = place
    words = "".join(Strip.render_style(s, t, ColorSystem.TRUECOLOR) for t, s, _ in strip)
    return f"\x1b[{y + 1};{x + 1}H{words}"


@settings(max_examples=60)
@given(st.lists(st.lists(places(), max_size=4), max_size=6))
def test_a_terminal_shows_what_it_would_if_all_were_sent(pictures: list[list[Place]]):
    thrifty, straight, wire = Shown(), Shown(), Wire()
    for picture in pictures:
        thrifty.write(wire.send(picture, WIDTH, ColorSystem.TRUECOLOR))
        straight.write("".join(map(_straight, picture)))

        assert thrifty.cells == straight.cells
        assert thrifty.look == PLAIN


@settings(max_examples=20)
@given(st.lists(places(), max_size=6))
def test_what_is_shown_already_is_not_sent_again(picture: list[Place]):
    wire = Wire()
    last = {y: (x, y, strip) for x, y, strip in picture}.values()
    wire.send(last, WIDTH, ColorSystem.TRUECOLOR)

    assert wire.send(last, WIDTH, ColorSystem.TRUECOLOR) == ""


@settings(max_examples=20)
@given(st.lists(places(), max_size=6))
def test_after_forgetting_everything_is_sent(picture: list[Place]):
    wire, fresh = Wire(), Wire()
    wire.send(picture, WIDTH, ColorSystem.TRUECOLOR)
    wire.forget()

    again = wire.send(picture, WIDTH, ColorSystem.TRUECOLOR)

    assert again == fresh.send(picture, WIDTH, ColorSystem.TRUECOLOR)


def test_a_sign_of_two_cells_that_was_covered_by_half_is_not_sent_again():
    wire = Wire()
    wire.send([(1, 0, Strip([Segment("漢")]))], WIDTH, ColorSystem.TRUECOLOR)

    beside = [(0, 0, Strip([Segment("a")])), (2, 0, Strip([Segment("b")]))]

    assert wire.send(beside, WIDTH, ColorSystem.TRUECOLOR) == "\x1b[1;1Ha\x1b[1Cb"


def test_a_colour_of_the_256_goes_by_its_number_and_any_other_in_full():
    style = Style.parse("#87afff on #12151c")

    sent = Wire().send([(0, 0, Strip([Segment("a", style)]))], WIDTH, ColorSystem.TRUECOLOR)

    assert sent == "\x1b[1;1H\x1b[38;5;111;48;2;18;21;28ma\x1b[0m"
