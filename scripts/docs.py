"""Fills the generated blocks of the READMEs from the code: `python scripts/docs.py` writes, the tests compare."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = ("README.md", "README.zh-CN.md")
_BLOCK = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def commands() -> str:
    """Every verb with its one line of help."""
    import click

    from localsynth.cli.main import cli

    context = click.Context(cli, info_name="localsynth")
    rows = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        rows.append(f"| `localsynth {name}` | {command.get_short_help_str(100)} |")
    return "| command | what it does |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def exits() -> str:
    """Exit codes with their meaning, from the comments beside them."""
    source = (ROOT / "localsynth/cli/exits.py").read_text(encoding="utf-8")
    rows = re.findall(r"^    [A-Z]+ = (\d+)(?:  # (.+))?$", source, re.MULTILINE)
    words = {"0": "done", "130": "interrupted by the user"}
    return "| code | meaning |\n| --- | --- |\n" + "".join(
        f"| {code} | {meaning or words[code]} |\n" for code, meaning in rows
    )


def schema() -> str:
    """The store's tables."""
    from localsynth.store import schema_markdown

    return schema_markdown().rstrip() + "\n"


def topics() -> str:
    """The ready topics in both languages."""
    from localsynth.methods.topics import topics as all_topics

    return "".join(f"- `{topic.id}`: {topic.title}\n" for topic in all_topics())


def formats() -> str:
    """The export formats."""
    from localsynth.export.registry import formats as all_formats

    rows = "".join(f"| `{name}` | {text} |\n" for name, text in all_formats().items())
    return "| format | what it is |\n| --- | --- |\n" + rows


BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "exits": exits,
    "schema": schema,
    "topics": topics,
    "formats": formats,
}


def filled(text: str) -> str:
    """`text` with every generated block as the code says now."""
    return _BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]]()}{match[3]}", text)


def main() -> int:
    """Write the files anew."""
    for name in FILES:
        path = ROOT / name
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
