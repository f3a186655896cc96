"""HTML that cannot be written unescaped: whatever is not made by `element` is text."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

VOID = {"img", "meta"}
NO_FIGURE = "—"


class Html(str):
    """Markup; any other string is text and gets escaped."""

    __slots__ = ()


class Cell(NamedTuple):
    """A cell of a table.

    Parameters
    ----------
    shown
        What it shows, text or markup.
    value
        What it is sorted by, if that is not its text; NaN for a number that is not there.
    """

    shown: object
    value: float | None = None


def markup(child: object) -> Html:
    """Escape text, and leave markup as it is. None is nothing."""
    if isinstance(child, Html):
        return child
    return Html(html.escape("" if child is None else readable(str(child))))


def readable(text: str) -> str:
    """Put ? for bytes of a file name that are no UTF-8; they would stop a report from being written."""
    return text.encode("utf-8", "replace").decode("utf-8")


def counted(number: int, noun: str) -> str:
    """Say how many of something there are."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def join(children: Iterable[object]) -> Html:
    """Put several pieces of text and markup together."""
    return Html("".join(map(markup, children)))


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """Make an element.

    Parameters
    ----------
    name
        Name of the tag.
    children
        What is in it, text or markup.
    attributes
        An underscore stands for a hyphen, and one at the end is left out (`class_`). None leaves the attribute out.
    """
    pairs = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None]
    opening = "".join(f' {key}="{markup(value)}"' for key, value in pairs)
    if name in VOID:
        return Html(f"<{name}{opening}>")
    return Html(f"<{name}{opening}>{join(children)}</{name}>")


def paragraph(*children: object) -> Html:
    """Make a paragraph."""
    return element("p", *children)


def code(text: str) -> Html:
    """Show text as it is typed."""
    return element("code", text)


def bullets(items: Iterable[object]) -> Html:
    """Make a list; nothing if it is empty."""
    rows = [element("li", item) for item in items]
    return element("ul", *rows) if rows else Html()


def picture(content: bytes, kind: str, alt: str, width: int | None = None) -> Html:
    """Embed a picture.

    Parameters
    ----------
    content
        The file.
    kind
        Its media type, such as image/png.
    alt
        What it shows, for who does not see it.
    width
        Pixels it is drawn with at most.
    """
    source = f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return element("img", src=source, alt=alt, width=width)


def table(
    caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]], foot: Iterable[Sequence[object]] = ()
) -> Html:
    """Make a table that is sorted by a click on a heading, in a box of its own that scrolls.

    Parameters
    ----------
    caption
        What the table holds.
    headings
        One a column.
    rows
        Text, markup or `Cell`; the first of a row is its heading.
    foot
        Rows that stay at the bottom, however the others are sorted.
    """
    rows, feet = list(rows), list(map(_row, foot))
    head = [_heading(name, [row[k] for row in rows]) for k, name in enumerate(headings)]
    parts = [element("thead", element("tr", *head)), element("tbody", *map(_row, rows))]
    if feet:
        parts.append(element("tfoot", *feet))
    whole = element("table", element("caption", caption), *parts)
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=f"Table: {caption}")


def _heading(name: str, column: Sequence[object]) -> Html:
    numeric = any(isinstance(cell, Cell) and cell.value is not None for cell in column)
    button = element("button", name, type="button")
    return element("th", button, scope="col", class_="number" if numeric else None)


def _row(cells: Sequence[object]) -> Html:
    first, *others = (cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)
    heading = element("th", first.shown, scope="row", data_value=_sorted_by(first))
    return element("tr", heading, *(_cell(cell) for cell in others))


def _cell(cell: Cell) -> Html:
    if cell.value is None:
        return element("td", cell.shown)
    return element("td", cell.shown, class_="number", data_value=_sorted_by(cell))


def _sorted_by(cell: Cell) -> str | None:
    """Write a number as JavaScript reads it; one that is not there is empty, which is sorted last."""
    if cell.value is None:
        return None
    if math.isnan(cell.value):
        return ""
    return repr(cell.value) if math.isfinite(cell.value) else ("Infinity" if cell.value > 0 else "-Infinity")
