"""The few pieces of HTML that the sections share. Text goes in raw and comes out escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence


def escape(text: str) -> str:
    """Text as it may stand in an element or in a quoted attribute."""
    return html.escape(text, quote=True)


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` is its CSS class."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, num_text_columns: int = 1) -> str:
    """A table whose first columns are text and whose others are figures; it scrolls sideways on narrow screens."""
    cells = "".join(
        f'<th scope="col"{_alignment(i, num_text_columns)}>{escape(cell)}</th>' for i, cell in enumerate(head)
    )
    body = "".join(_row(row, num_text_columns) for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def figure_card(label: str, value: str, note: str) -> str:
    """A large figure with its name and a remark."""
    return (
        f'<div class="card"><div class="label">{escape(label)}</div>'
        f'<div class="value">{escape(value)}</div><div class="note">{escape(note)}</div></div>'
    )


def picture(jpeg: bytes, alternative: str) -> str:
    """A picture inside the page."""
    return f'<img src="{data_uri(jpeg)}" alt="{escape(alternative)}">'


def data_uri(jpeg: bytes) -> str:
    """A JPEG as an address that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def details(title: str, content: str) -> str:
    """Content (HTML) behind a title that opens it."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _row(cells: Sequence[str], num_text_columns: int) -> str:
    first = f'<th scope="row"{_alignment(0, num_text_columns)}>{escape(cells[0])}</th>'
    rest = [f"<td{_alignment(i, num_text_columns)}>{escape(cell)}</td>" for i, cell in enumerate(cells) if i]
    return f"<tr>{first}{''.join(rest)}</tr>"


def _alignment(column: int, num_text_columns: int) -> str:
    return ' class="text"' if column < num_text_columns else ""
