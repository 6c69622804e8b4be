"""Markdown from a model as styled text: blocks, lists, tables and code, with nothing in it that acts.

A link is its words and its address, an image its description, HTML is shown as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content

from localsynth.printable import one_line, printable

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

_STYLES = {"strong": "bold", "em": "italic", "s": "strike"}
_HIGHLIGHTED = 3_000  # characters of code; some languages take a second for more
_COLUMN = 40  # cells of a table's column


@lru_cache(maxsize=128)
def markdown(text: str) -> Content:
    """The text rendered. A row is drawn several times while it is looked at."""
    from markdown_it.tree import SyntaxTreeNode

    tree = SyntaxTreeNode(_parser().parse(text))
    return Content("\n").join(_blocks(tree.children, apart=True))


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _blocks(nodes: list[SyntaxTreeNode], *, apart: bool) -> list[Content]:
    """The lines of blocks; `apart`: an empty line between two."""
    lines: list[Content] = []
    for node in nodes:
        if lines and apart:
            lines.append(Content(""))
        lines += _block(node)
    return lines


def _block(node: SyntaxTreeNode) -> list[Content]:
    make = _MAKERS.get(node.type)
    return make(node) if make else _inline(node).split("\n", allow_blank=True)


def _heading(node: SyntaxTreeNode) -> list[Content]:
    return [Content.assemble((f"{node.markup} ", "bold $text-accent"), _inline(node, "bold $text-accent"))]


def _quote(node: SyntaxTreeNode) -> list[Content]:
    return [Content.assemble(("│ ", "dim"), line) for line in _blocks(node.children, apart=True)]


def _code(node: SyntaxTreeNode) -> list[Content]:
    from textual.highlight import highlight

    language = one_line(node.info.split()[0], 20) if node.info.split() else ""
    text = printable(node.content.rstrip("\n")).expandtabs(4)
    plain = len(text) > _HIGHLIGHTED or not language
    code = Content(text) if plain else highlight(text, language=language)
    lines = [Content.assemble(("▏ ", "dim"), line) for line in code.split("\n", allow_blank=True)]
    return [Content.styled(f"▏ {language}", "dim"), *lines] if language else lines


def _list(node: SyntaxTreeNode) -> list[Content]:
    number = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else None
    tight = all(child.hidden for item in node.children for child in item.children if child.type == "paragraph")
    lines: list[Content] = []
    for item in node.children:
        sign = "• " if number is None else f"{number}. "
        number = None if number is None else number + 1
        if lines and not tight:
            lines.append(Content(""))
        inner = _blocks(item.children, apart=not tight) or [Content("")]
        lines.append(Content.assemble((sign, "bold"), inner[0]))
        lines += [Content.assemble(" " * len(sign), line) for line in inner[1:]]
    return lines


def _table(node: SyntaxTreeNode) -> list[Content]:
    rows = [[_inline(cell) for cell in row.children] for part in node.children for row in part.children]
    count = max(map(len, rows))
    widths = [max(min(_COLUMN, cell_len(row[at].plain)) if at < len(row) else 0 for row in rows) for at in range(count)]
    lines = []
    for row in rows:
        parts: list[Content | str | tuple[str, str]] = []
        for at, cell in enumerate(row):
            parts += [(" │ ", "dim")] if at else []
            parts += [cell, " " * max(0, widths[at] - cell_len(cell.plain))]
        lines.append(Content.assemble(*parts))
    lines.insert(1, Content.styled("─┼─".join("─" * width for width in widths), "dim"))
    return lines


def _inline(node: SyntaxTreeNode, style: str = "") -> Content:
    return Content.assemble(*_spans(node.children, style))


def _spans(nodes: list[SyntaxTreeNode], style: str) -> Iterator[Content | tuple[str, str]]:
    for node in nodes:
        match node.type:
            case "softbreak" | "hardbreak":
                yield "\n", style
            case "code_inline":
                yield f"`{printable(node.content)}`", f"{style} $text-accent"
            case "link" | "image":
                yield from _spans(node.children, f"{style} underline")
                address = str(node.attrs.get("href") or node.attrs.get("src") or "")
                yield f" ({one_line(address, 200)})", f"{style} dim"
            case "strong" | "em" | "s":
                yield from _spans(node.children, f"{style} {_STYLES[node.type]}".strip())
            case "inline":
                yield from _spans(node.children, style)
            case _:
                yield printable(node.content), style


_MAKERS: Mapping[str, Callable[[SyntaxTreeNode], list[Content]]] = {
    "heading": _heading,
    "fence": _code,
    "code_block": _code,
    "bullet_list": _list,
    "ordered_list": _list,
    "blockquote": _quote,
    "table": _table,
    "hr": lambda _: [Content.styled("─" * 20, "dim")],
}
