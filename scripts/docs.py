"""Fills the generated blocks of the READMEs from the code: `python scripts/docs.py` writes, the tests compare."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
FILES = ("README.md", "README.zh-CN.md")
# Pasted from a real run by hand: it cannot be made anew from the code.
BY_HAND = frozenset({"recording"})
_BLOCK = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def verbs() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name; a group's commands stand in the group's place."""
    from localsynth.cli.main import cli

    return _verbs(cli, click.Context(cli, info_name="localsynth"))


def _verbs(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        if isinstance(command, click.Group):
            yield from _verbs(command, inner)
        else:
            yield inner.command_path, command


def commands() -> str:
    """Every verb with its one line of help."""
    rows = "".join(f"| `{path}` | {_cell(command.get_short_help_str(120))} |\n" for path, command in verbs())
    return "| command | what it does |\n| --- | --- |\n" + rows


def exits() -> str:
    """Exit codes with their meaning, from the comments beside them."""
    source = (ROOT / "localsynth/cli/exits.py").read_text(encoding="utf-8")
    rows = re.findall(r"^    [A-Z]+ = (\d+)(?:  # (.+))?$", source, re.MULTILINE)
    words = {"0": "done", "130": "interrupted by the user"}
    return "| code | meaning |\n| --- | --- |\n" + "".join(
        f"| {code} | {_cell(meaning or words[code])} |\n" for code, meaning in rows
    )


def schema() -> str:
    """The store's tables."""
    from localsynth.store import schema_markdown

    return schema_markdown().rstrip() + "\n"


def topics() -> str:
    """The ready topics."""
    from localsynth.methods.topics import topics as all_topics

    return "".join(f"- `{topic.id}`: {topic.title}\n" for topic in all_topics())


def formats() -> str:
    """The export formats."""
    from localsynth.export.registry import formats as all_formats

    rows = "".join(f"| `{name}` | {_cell(text)} |\n" for name, text in all_formats().items())
    return "| format | what it is |\n| --- | --- |\n" + rows


BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "exits": exits,
    "schema": schema,
    "topics": topics,
    "formats": formats,
}


def filled(text: str) -> str:
    """`text` with every generated block as the code says now; KeyError for a block that nothing makes."""
    return _BLOCK.sub(_fill, text)


def _fill(match: re.Match[str]) -> str:
    if match[2] in BY_HAND:
        return match[0]
    return f"{match[1]}{BLOCKS[match[2]]()}{match[3]}"


def _cell(text: str) -> str:
    """A bar would end the table's cell."""
    return text.replace("|", "\\|")


def main() -> int:
    """Write the files anew."""
    for name in FILES:
        path = ROOT / name
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
