"""The page around the parts: headings, contents, style and script, and nothing from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.report.markup import Html, element, join

FOLDER = Path(__file__).parent


@dataclass
class Part:
    """A part of the page with its heading.

    Parameters
    ----------
    id
        What links lead to; plain letters, digits and hyphens, and no other part has it.
    title
        The heading.
    content
        What follows the heading.
    parts
        Parts below it.
    """

    id: str
    title: str
    content: Html
    parts: list[Part] = field(default_factory=list)


def page(title: str, introduction: Html, parts: Sequence[Part]) -> str:
    """Put a page together that loads nothing, which it also tells the browser."""
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    # Only this very script runs, whatever the data hold.
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(style)),
    )
    contents = element("nav", element("h2", "Contents"), _links(parts), aria_label="Contents")
    body = element(
        "body",
        element("header", element("h1", title), introduction),
        contents,
        element("main", *(_section(part, 2) for part in parts)),
        element("script", Html(script)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en-GB')}\n"


def _links(parts: Sequence[Part]) -> Html:
    items = [
        element("li", element("a", part.title, href=f"#{part.id}"), _links(part.parts) if part.parts else None)
        for part in parts
    ]
    return element("ul", *items)


def _section(part: Part, level: int) -> Html:
    heading = element(f"h{level}", part.title, id=f"{part.id}-heading")
    below = join(_section(other, level + 1) for other in part.parts)
    return element("section", heading, part.content, below, id=part.id, aria_labelledby=f"{part.id}-heading")
