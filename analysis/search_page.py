"""A search's Markdown page as one self-contained HTML file: its pictures are inside, its links stay relative."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from analysis.page import whole_page


def search_html(heading: str, markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The page. markdown: links HTML pages and names pictures; pictures: PNG bytes by the name that it uses."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        for child in token.children or ():
            name = str(child.attrGet("src") or "") if child.type == "image" else ""
            if name in pictures:
                child.attrSet("src", f"data:image/png;base64,{base64.b64encode(pictures[name]).decode()}")
    body = reader.renderer.render(tokens, reader.options, {})
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    return whole_page(heading, [str(body)])
