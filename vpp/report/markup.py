"""Pieces of HTML of the report's page; all text in them is escaped.

A name or a reason may hold anything: it is shown as text and never runs.

    python -c "from vpp.report.markup import paragraph; print(paragraph('A & B', 'quiet'))"
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vpp.report.words import escape


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Parameters
    ----------
    identifier : its id in the page.
    title : its heading.
    body : its HTML, in which `<!--name-->` stands where the figure of that name goes.
    figures : figures by name.
    """

    identifier: str
    title: str
    body: str
    figures: dict[str, dict] = field(default_factory=dict)

    def render(self) -> str:
        """The section as HTML."""
        body = self.body
        for name in self.figures:
            body = body.replace(
                f"<!--{name}-->", f'<div id="{self.identifier}-{name}" class="figure"></div>'
            )
        return f'<section id="{self.identifier}"><h2>{escape(self.title)}</h2>\n{body}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph.

    Parameters
    ----------
    text : plain text.
    kind : a CSS class, or ""."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def quiet(text: str) -> str:
    """A text in the colour of side remarks."""
    return f'<span class="quiet">{escape(text)}</span>'


def missing(what: str, command: str) -> str:
    """The text of a section whose data is not there yet.

    Parameters
    ----------
    what : a sentence about it.
    command : makes the data."""
    return f'<p class="warning">{escape(what)} Run <code>{escape(command)}</code>.</p>'


def stale_list(title: str, texts: Iterable[str]) -> str:
    """A banner with a heading and a list.

    Parameters
    ----------
    title, texts : plain text."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<div class="banner" role="status"><b>{escape(title)}</b><ul>{items}</ul></div>'


def folded(summary: str, body: str, is_open: bool = False) -> str:
    """A part of the page that a click opens.

    Parameters
    ----------
    summary : plain text that is always shown.
    body : its HTML.
    is_open : whether it is open at first."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{escape(summary)}</summary>{body}</details>"


def card(label: str, value: str, note: str, kind: str = "") -> str:
    """A number with its label above and a note below it.

    Parameters
    ----------
    label, value, note : plain text.
    kind : a CSS class, or ""."""
    return f'<div class="card {kind}">{quiet(label)}<b>{escape(value)}</b>{quiet(note)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """A table.

    Parameters
    ----------
    head : of the columns; one that ends in "|" marks a column of numbers.
    rows : the cells.
    kind : CSS classes; of "lines", a row becomes lines of text on a phone, of "slots" lines with
        the names of their columns; "named" begins with a name, which may wrap."""
    kinds = [' class="number"' if name.endswith("|") else "" for name in head]
    labels = [""] * len(head)
    if "slots" in kind.split():
        labels = [f' data-label="{escape(name.rstrip("|"))}"' for name in head]
    cells = "".join(
        f"<th{css}>{escape(name.rstrip('|'))}</th>" for name, css in zip(head, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{css}{label}>{escape(cell)}</td>"
            for cell, css, label in zip(row, kinds, labels, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def key(entries: Iterable[tuple[str, str, str]]) -> str:
    """A legend: label, colour and shape ("", "rule", "dash" or "dot") of each entry."""
    spans = "".join(
        f'<li><span class="{shape}" style="--swatch: var(--{tint})">{escape(label)}</span></li>'
        for label, tint, shape in entries
    )
    return f'<ul class="key">{spans}</ul>'
