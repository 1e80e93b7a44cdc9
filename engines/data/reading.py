"""Files to raw tables: what a CSV or Parquet file says, before anyone decides what it means.

Encoding, delimiter and decimal comma are found here, and everything that would make a table
silently wrong (ragged rows, open quotes, NUL bytes, repeated column names) is refused here,
with the line. pandas' C parser does the reading; the standard library's csv module is used
for the first lines and, when something is wrong, to find the line to name.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engines.data.memory import Estimate, Room
from engines.data.sampling import chosen_rows, sample_frames
from engines.errors import BadInput, one_line

MAX_BYTES = 2 * 1024**3
SAMPLE_CHARS = 64 * 1024
CHUNK_ROWS = 100_000
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

# UTF-32 before UTF-16: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_KINDS = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "export the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet", "export the sheet as CSV"),
    (b"\x1f\x8b", "a gzip archive", "unpack it first (gunzip)"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
)
_COMMA_DECIMAL = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_DOT_DECIMAL = re.compile(r"[+-]?\d+\.\d+(?:[eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")


def shown(text: object, limit: int = 80) -> str:
    """`text` safe for a terminal: control and direction characters as escapes, cut at `limit`."""
    raw = str(text)
    cut = raw if len(raw) <= limit else raw[: limit - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def quoted(text: object, limit: int = 80) -> str:
    """`shown(text)` in quotes, for names and values inside a sentence."""
    return f"'{shown(text, limit)}'"


@dataclass(frozen=True)
class Layout:
    """How the text of a CSV file is laid out."""

    encoding: str
    delimiter: str
    decimal: str
    header: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A file as read. `frame` keeps the file's row order and has the index 0..rows-1.

    rows: of a sample, the number in the file of each row of the frame.
    """

    path: Path
    frame: pd.DataFrame
    layout: Layout | None  # None for Parquet
    notices: tuple[str, ...]
    rows: npt.NDArray[np.int64] | None = None

    @property
    def decimal(self) -> str:
        return self.layout.decimal if self.layout else "."

    def where(self, row: int) -> str:
        """The place of data row `row` (0-based) as people see it: a line, or a Parquet row."""
        if self.rows is not None:
            row = int(self.rows[row])
        if self.layout is None:
            return f"row {row + 1}"
        for at, (line, _) in enumerate(records(self.path, self.layout)):
            if at == row + 1:  # record 0 is the header
                return f"line {line}"
        return f"row {row + 1}"

    def refuse(self, what: str) -> BadInput:
        return refusal(self.path, what)


def refusal(path: Path, what: str) -> BadInput:
    """The error to raise for `path`; `what` says what is wrong and what to do, on one line."""
    return BadInput(f"{shown(path, 300)}: {one_line(what, 500)}")


def read_table(
    path: Path, *, sample: int | None = None, room: Room | None = None, fewest: int = 2
) -> Table:
    """Read a CSV or Parquet file; the content decides which, not the name's ending.

    sample: keep so many rows, drawn at random but always the same. room: the memory there is.
    fewest: columns that must be there, 2 to learn from and 1 to predict from.
    Raises BadInput for anything that is no table of at least one row under distinct names, and
    for a table that doesn't fit into the room.
    """
    head = _first_bytes(path, None if sample else MAX_BYTES)
    room = room or Room()
    if head.startswith(b"PAR1"):
        return _read_parquet(path, sample, room, fewest)
    for magic, kind, remedy in _OTHER_KINDS:
        if head.startswith(magic):
            raise refusal(path, f"this is {kind}, not CSV or Parquet; {remedy}")
    return _read_csv(path, head, sample, room, fewest)


def records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """(first line, fields) of every record, the header included and blank lines left out."""
    with path.open(encoding=layout.encoding, newline="") as text:
        reader = csv.reader(text, delimiter=layout.delimiter, skipinitialspace=True)
        line = 1
        try:
            for fields in reader:
                if len(fields) > 1 or (fields and fields[0].strip()):
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as reason:
            raise refusal(path, _open_quote(line)) from reason


def _open_quote(line: int) -> str:
    return f'line {line}: a quote is opened there and never closed; close it or double it ("")'


def _first_bytes(path: Path, most: int | None) -> bytes:
    """The first 4 KiB, once it is certain that `path` is a file of a size we can hold."""
    try:
        if path.is_dir():
            raise refusal(path, "this is a directory; name a CSV or Parquet file in it")
        if not path.exists():
            raise refusal(path, f"no such file (looked from {shown(Path.cwd(), 300)})")
        if not path.is_file():
            raise refusal(path, "this is not a regular file; save the data to a file first")
        size = path.stat().st_size
        if most is not None and size > most:
            raise refusal(path, _too_large(size))
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as reason:
        raise refusal(path, f"can't be read ({reason.strerror}); check its permissions") from None
    except ValueError:
        raise refusal(path, "a file name can't contain a NUL character; correct it") from None
    body = head.removeprefix(codecs.BOM_UTF8)
    if size <= len(head) and not body.strip(b" \t\r\n"):
        raise refusal(path, "the file is empty; it needs a header line and rows of data")
    return head


def _too_large(size: int) -> str:
    return (
        f"{size / 1e9:.1f} GB is over the limit of {MAX_BYTES / 1e9:.1f} GB; "
        "draw a sample of the rows first, or keep fewer columns"
    )


def _read_csv(path: Path, head: bytes, sample: int | None, room: Room, fewest: int) -> Table:
    encoding = _encoding(path, head)
    lines = _check_text(path, encoding)
    layout, notices = _sniff(path, encoding, fewest)
    size = path.stat().st_size
    columns = len(layout.header)
    estimate = Estimate.of(lines - 1, columns, raw=size, sample=sample, chunk=CHUNK_ROWS)
    room.admit(shown(path, 300), estimate)
    rows, there = None, 0
    try:
        with warnings.catch_warnings():
            # The parser only warns when it drops fields from rows wider than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            if sample is None:
                frame = _parse(path, layout)
            else:
                frame, rows, there = _parse_sample(path, layout, sample)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as reason:
        raise _broken(path, layout, str(reason)) from None
    except (ValueError, MemoryError) as reason:
        raise refusal(path, f"can't be read as CSV: {one_line(reason)}; check the file") from None
    if frame.empty:
        raise refusal(path, "there is a header line but no data below it; add rows")
    # The parser fills up short rows in silence, and their last field is then always missing.
    if bool(frame.iloc[:, -1].isna().any()):
        _check_widths(path, layout)
    return _table(path, frame, layout, notices, rows, there)


def _table(
    path: Path,
    frame: pd.DataFrame,
    layout: Layout | None,
    notices: list[str],
    rows: npt.NDArray[np.int64] | None,
    there: int,
) -> Table:
    """A table, and of a sample that left rows out the sentence that says so."""
    if rows is not None and len(rows) < there:
        notices.append(f"a random sample of {len(rows):,} of {there:,} rows")
    else:
        rows = None
    return Table(path, frame, layout, tuple(notices), rows)


def _parse(path: Path, layout: Layout, **how: Any) -> Any:
    return pd.read_csv(
        path,
        sep=layout.delimiter,
        decimal=layout.decimal,
        encoding=layout.encoding,
        header=0,
        names=list(layout.header),
        index_col=False,
        skipinitialspace=True,
        # One pass over a column, or its type could differ from chunk to chunk.
        low_memory=False,
        **how,
    )


def _parse_sample(
    path: Path, layout: Layout, wanted: int
) -> tuple[pd.DataFrame, npt.NDArray[np.int64], int]:
    """(sampled rows, their numbers, how many there are), as if the file held only those."""
    with _parse(path, layout, chunksize=CHUNK_ROWS) as chunks:
        frame, rows, there, mixed = sample_frames(chunks, wanted)
    if mixed:
        with _parse(path, layout, chunksize=CHUNK_ROWS, dtype=dict.fromkeys(mixed, str)) as chunks:
            frame, rows, there, _ = sample_frames(chunks, wanted)
    return frame, rows, there


def _encoding(path: Path, head: bytes) -> str:
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    half = len(head) // 2
    if b"\0" in head and half:
        # Mostly ASCII text in UTF-16 without a mark has a NUL at every second byte.
        if head[1::2].count(0) > 0.7 * half and not head[0::2].count(0):
            return "utf-16-le"
        if head[0::2].count(0) > 0.7 * half and not head[1::2].count(0):
            return "utf-16-be"
        raise refusal(path, _binary(1 + head.count(b"\n", 0, head.index(b"\0"))))
    return "utf-8"


def _binary(line: int) -> str:
    what = f"line {line}: a NUL byte, so this is a binary or a damaged file"
    return f"{what}; export the data again as CSV or Parquet"


def _check_text(path: Path, encoding: str) -> int:
    """Read the file once as text: every byte must decode and no character may be NUL.

    Returns how many lines it has.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    line, position, last = 1, 0, ""
    with path.open("rb") as file:
        while True:
            chunk = file.read(1 << 20)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as reason:
                before = reason.object[: reason.start].count(b"\n")
                at = position - pending + reason.start
                raise refusal(path, _undecodable(reason, line + before, at, encoding)) from None
            nul = text.find("\0")
            if nul >= 0:
                at_line = line + text.count("\n", 0, nul)
                raise refusal(path, _binary(at_line))
            if not chunk:
                return line - (last == "\n")
            line += text.count("\n")
            last = text[-1:] or last
            position += len(chunk)


def _undecodable(reason: UnicodeDecodeError, line: int, position: int, encoding: str) -> str:
    name = encoding.removesuffix("-sig").upper()
    if reason.start < len(reason.object):
        byte = f"byte 0x{reason.object[reason.start]:02x} at position {position}"
    else:
        byte = f"the end of the file at position {position}"
    return f"line {line}: {byte} is not {name}; save the file as UTF-8 (iconv does it)"


def _sniff(path: Path, encoding: str, fewest: int) -> tuple[Layout, list[str]]:
    """The layout of a CSV file from its first lines, and what to say about it."""
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(SAMPLE_CHARS)
    if len(sample) == SAMPLE_CHARS and "\n" in sample:
        sample = sample[: sample.rindex("\n")]
    delimiter = max(DELIMITERS, key=lambda mark: _fit(sample, mark))
    rows = _sample_rows(sample, delimiter)
    decimal = "," if delimiter != "," and _has_decimal_comma(rows[1:]) else "."
    header = tuple(name.strip() for name in rows[0]) if rows else ()
    names = tuple(name or f"unnamed_{at + 1}" for at, name in enumerate(header))
    layout = Layout(encoding, delimiter, decimal, names)
    _check_header(path, layout, rows, fewest)
    notices = []
    if delimiter != ",":
        comma = " and numbers have a decimal comma" if decimal == "," else ""
        notices.append(f"columns are separated by {DELIMITERS[delimiter]}{comma}")
    if encoding.startswith(("utf-16", "utf-32")):
        notices.append(f"the file is {encoding[:6].upper()} text")
    return layout, notices


def _sample_rows(sample: str, delimiter: str) -> list[list[str]]:
    # Not splitlines(): it also splits at form feeds and other marks that are no line ends here.
    lines = io.StringIO(sample, newline="")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        return [row for row in reader if len(row) > 1 or (row and row[0].strip())]
    except csv.Error:
        return []


def _fit(sample: str, delimiter: str) -> tuple[bool, float, int]:
    """How well a delimiter explains the sample: several columns, even rows, many columns."""
    rows = _sample_rows(sample, delimiter)
    width = len(rows[0]) if rows else 0
    even = sum(len(row) == width for row in rows) / len(rows) if rows else 0.0
    return width > 1, even, width


def _has_decimal_comma(rows: Sequence[Sequence[str]]) -> bool:
    fields = [field.strip() for row in rows for field in row]
    commas = sum(_COMMA_DECIMAL.fullmatch(field) is not None for field in fields)
    return commas > sum(_DOT_DECIMAL.fullmatch(field) is not None for field in fields)


def _check_header(path: Path, layout: Layout, rows: Sequence[Sequence[str]], fewest: int) -> None:
    """Refuse a header that can't name columns, and a first row of another width."""
    names = layout.header
    if len(names) < fewest:
        separators = ", ".join(DELIMITERS.values())
        what = f"only one column was found (looked for {separators} between columns)"
        raise refusal(path, f"{what}; it needs a target and at least one feature")
    check_names(path, names)
    if all(_NUMBER.fullmatch(name) for name in names):
        what = "line 1 holds numbers, not column names"
        raise refusal(path, f"{what}; add a header line that names the columns")
    if len(rows) > 1 and len(rows[1]) != len(names):
        _check_widths(path, layout)


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise BadInput when two columns share a name."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        what = f"column name {quoted(repeated[0])} appears {names.count(repeated[0])} times"
        raise refusal(path, f"{what}; rename all but one")


def _check_widths(path: Path, layout: Layout) -> None:
    """Raise BadInput for the first record that has more or fewer fields than the header."""
    width = len(layout.header)
    for line, fields in records(path, layout):
        if len(fields) != width:
            what = f"line {line} has {counted(len(fields), 'field')} and the header has {width}"
            raise refusal(path, f"{what}; add or remove a {DELIMITERS[layout.delimiter]} there")


def _broken(path: Path, layout: Layout, reason: str) -> BadInput:
    """The error for a file that the parser gave up on, with the line where it broke."""
    if "inside string" in reason:
        last = max((line for line, _ in records(path, layout)), default=1)
        return refusal(path, _open_quote(last))
    _check_widths(path, layout)
    return refusal(path, f"can't be read as CSV: {one_line(reason)}; check that line")


def _read_parquet(path: Path, sample: int | None, room: Room, fewest: int) -> Table:
    """Read a Parquet file without pandas' own metadata, so that an index is a column."""
    # pyarrow takes 60 ms to import and most files are CSV.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names, there = list(file.schema_arrow.names), file.metadata.num_rows
            size = there * len(names) * 8
            if sample is None and size > MAX_BYTES:
                raise refusal(path, _too_large(size))
            check_names(path, names)
            room.admit(shown(path, 300), _estimate(file.metadata, len(names), sample))
            rows = None if sample is None else chosen_rows(there, sample)
            table = file.read() if rows is None else _read_rows(file, rows)
    except (pa.ArrowException, OSError, MemoryError) as reason:
        what = f"can't be read as Parquet: {one_line(reason, 160)}"
        raise refusal(path, f"{what}; write the file again") from None
    if table.num_rows == 0:
        raise refusal(path, "the table has columns but no rows; add rows")
    table, notices = _plain_types(table)
    if table.num_columns < fewest:
        raise refusal(path, "only one usable column; it needs a target and at least one feature")
    # The table is given back column by column, or there would be two of it.
    frame = table.to_pandas(ignore_metadata=True, split_blocks=True, self_destruct=True)
    frame = frame.rename(columns=str.strip)
    check_names(path, list(frame.columns))
    return _table(path, frame, None, notices, rows, there)


def _estimate(metadata: Any, columns: int, sample: int | None) -> Estimate:
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    raw = sum(group.total_byte_size for group in groups)
    # A row group is unpacked whole, but only its own bytes are held beside a sample.
    largest = max((group.num_rows for group in groups), default=0) // 4
    return Estimate.of(metadata.num_rows, columns, raw=raw, sample=sample, chunk=largest)


def _read_rows(file: Any, rows: npt.NDArray[np.int64]) -> Any:
    """The rows of these numbers, in order, with one batch in memory at a time."""
    import pyarrow as pa

    parts, start = [], 0
    for batch in file.iter_batches(batch_size=CHUNK_ROWS):
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
        parts.append(batch.take(pa.array(inside - start)))
        start += len(batch)
    return pa.Table.from_batches(parts, file.schema_arrow)


def _plain_types(table: Any) -> tuple[Any, list[str]]:  # pyarrow ships no types
    """The table with dictionaries and decimals decoded, and columns of no use left out."""
    import pyarrow as pa

    notices = []
    for at in reversed(range(table.num_columns)):
        field = table.schema.field(at)
        kind = field.type
        if pa.types.is_dictionary(kind):
            table = table.set_column(at, field.name, table.column(at).cast(kind.value_type))
        elif pa.types.is_decimal(kind) or pa.types.is_float16(kind):
            table = table.set_column(at, field.name, table.column(at).cast(pa.float64()))
        elif pa.types.is_date(kind):
            table = table.set_column(at, field.name, table.column(at).cast(pa.timestamp("ms")))
        elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_duration(kind):
            table = table.remove_column(at)
            notices.append(f"column {quoted(field.name)} left out: {kind} can't be a feature")
    return table, notices[::-1]
