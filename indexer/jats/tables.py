"""Tables -> pipe tables, spans written out so that every row reads on its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from indexer.jats.inline import cell

_PARTS = frozenset({"thead", "tbody", "tfoot"})
_MAX_SPAN = 100
_MAX_REPEATED = 200
"""Characters: a cell over several rows or a header over several columns is written in each of them, a longer text
once."""


@dataclass(slots=True)
class Room:
    """What is left of the places that the spans of one article's cells may fill; then a cell has one, whatever it says.

    Of the shared articles none fills 300.
    """

    n_cells: int = 200_000

    def spans(self, cell: _Cell) -> tuple[int, int]:
        """Over how many columns and rows the cell stands."""
        n_more = cell.columns * cell.rows - 1
        if n_more > self.n_cells:
            return 1, 1
        self.n_cells -= n_more
        return cell.columns, cell.rows


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    columns: int
    rows: int


def pipe_table(table: Element, room: Room) -> str:
    """The table of an XHTML `<table>` or an `<array>`, empty where it has no cell.

    Header rows become one, `Group A / mean`; without any, the first row is the header. A cell over several columns
    stands in the first, one over several rows in each of them.
    """
    head: list[list[_Cell]] = []
    body: list[list[_Cell]] = []
    for row, in_head in _rows(table, in_head=False):
        (head if in_head and not body else body).append(_cells(row))
    header, rows = _grid(head, room, across=True), _grid(body, room, across=False)
    if not header:
        header, rows = rows[:1], rows[1:]
    columns: list[list[str]] = [[] for _ in range(max(map(len, [*header, *rows]), default=0))]
    for cells in header:
        for column, text in zip(columns, cells, strict=False):
            column.append(text)
    titles = [" / ".join(filter(None, dict.fromkeys(column))) for column in columns]
    lines = [titles, ["---"] * len(columns), *filter(any, rows)] if columns else []
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rows(element: Element, *, in_head: bool) -> Iterator[tuple[Element, bool]]:
    for child in element:
        if child.tag in _PARTS:
            yield from _rows(child, in_head=child.tag == "thead")
        elif child.tag == "tr" or element.tag in _PARTS:
            yield child, in_head


def _cells(row: Element) -> list[_Cell]:
    """The cells of a row, whatever they are called; what is no row is a cell."""
    return [
        _Cell(cell(each), _span(each, "colspan"), _span(each, "rowspan"))
        for each in (row if row.tag == "tr" else [row])
    ]


def _span(element: Element, name: str) -> int:
    value = element.get(name, "").strip()
    return min(max(int(value), 1), _MAX_SPAN) if value.isascii() and value.isdecimal() and len(value) < 9 else 1


def _grid(rows: Sequence[Sequence[_Cell]], room: Room, *, across: bool) -> list[list[str]]:
    """The cells in their columns; with `across`, a cell over several columns stands in each of them."""
    grid: list[list[str]] = []
    below: dict[int, tuple[str, int]] = {}
    """By column, what reaches down from a row above, and over how many rows more."""
    for row in rows:
        placed: dict[int, str] = {}
        reaching, below = below, {}
        for column, (text, n_more) in reaching.items():
            placed[column] = text
            if n_more > 1:
                below[column] = (text, n_more - 1)
        column = 0
        for each in row:
            while column in placed:
                column += 1
            columns, n_rows = room.spans(each)
            repeated = each.text if len(each.text) <= _MAX_REPEATED else ""
            for n in range(columns):
                placed[column + n] = (repeated if across else "") if n else each.text
                if n_rows > 1:
                    below[column + n] = (repeated if across or not n else "", n_rows - 1)
            column += columns
        grid.append([placed.get(n, "") for n in range(max(placed, default=-1) + 1)])
    return grid
