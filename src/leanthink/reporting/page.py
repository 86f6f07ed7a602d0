"""One HTML file that opens anywhere, offline: no script, style, font or picture from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as escaped
from typing import Final

from leanthink.core.text import LONGEST, REPLACEMENT, as_label, storable

POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1a1a1a;background:#fff}
h1{font-size:1.6em;margin-bottom:0}h2{font-size:1.2em}img{max-width:100%;height:auto}
nav a{margin-right:1em}a{color:#0072B2}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13.5px}
th,td{padding:.3em .7em;text-align:right;border-bottom:1px solid #ddd;vertical-align:top}
th{border-bottom:2px solid #888;text-align:right}th:first-child,td:first-child,td.text{text-align:left}
.text{white-space:pre-wrap;overflow-wrap:anywhere;max-width:34em}
.note,figcaption{color:#555;font-size:13px}figure{margin:0 0 1em}details{margin:1em 0}
summary{cursor:pointer;font-weight:600;font-size:1.15em}
"""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of text."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as a data address, with its caption."""

    address: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page that folds; its items one below the other."""

    title: str
    items: Sequence[Grid | Picture]


def escape(text: str, most: int = 10 * LONGEST) -> str:
    """A text of others as HTML, cut where it is no label any more."""
    return escaped(as_label(text, most, halves=True))


def page(title: str, intro: str, sections: Sequence[Section], notices: Sequence[str]) -> str:
    """The whole page; every text is escaped, and signs that no file can hold are replaced and counted."""
    html: str
    html, replaced = storable(_page(title, intro, sections, notices))
    if replaced:
        told = f"{replaced} halves of surrogate pairs, which no file can hold, are shown as {REPLACEMENT}"
        html, _ = storable(_page(title, intro, sections, [*notices, told]))
    return html


def _page(title: str, intro: str, sections: Sequence[Section], notices: Sequence[str]) -> str:
    links = "".join(f'<a href="#s{place}">{escape(one.title)}</a>' for place, one in enumerate(sections))
    body = "".join(
        f'<details open id="s{place}"><summary>{escape(one.title)}</summary>{"".join(map(_item, one.items))}</details>'
        for place, one in enumerate(sections)
    )
    notes = "".join(f"<li>{escape(notice)}</li>" for notice in notices)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="note">{escape(intro)}</p><nav>{links}</nav>{body}'
        f"{f'<ul class=note>{notes}</ul>' if notes else ''}</body></html>\n"
    )


def _item(item: Grid | Picture) -> str:
    if isinstance(item, Picture):
        caption = escape(item.caption)
        return f'<figure><img src="{item.address}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    heads = "".join(f"<th>{escape(head)}</th>" for head in item.heads)
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in item.rows)
    note = f'<p class="note">{escape(item.note)}</p>' if item.note else ""
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{note}'


def _cell(text: str) -> str:
    return f"<td{' class=text' if len(text) > 40 else ''}>{escape(text)}</td>"
