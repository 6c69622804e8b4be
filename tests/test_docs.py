"""The READMEs say what the code does: generated blocks, commands, options, exit codes; the Chinese one keeps step."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import get_args

import click
import pytest

from localsynth.catalog import cards
from localsynth.catalog.cards import ModelCard
from localsynth.cli.data import FORMATS
from localsynth.cli.exits import Exit
from localsynth.cli.main import cli
from localsynth.export.registry import formats
from localsynth.records import Sampling
from localsynth.tui import keymap
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.places import PLACES

ROOT = Path(__file__).resolve().parents[1]
ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEGIN, END = "<!-- begin: {} -->", "<!-- end: {} -->"


def load_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_script", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs = load_docs()
VERBS: dict[str, click.Command] = dict(docs.verbs())


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def block(text: str, name: str) -> str:
    return text.partition(BEGIN.format(name) + "\n")[2].partition(END.format(name))[0]


def bare(line: str) -> str:
    """A line of a code block without its comment; a # inside quotes or a word is none."""
    return re.sub(r"""\s+#\s(?=[^'"]*$).*""", "", line).rstrip()


def fenced(text: str) -> list[tuple[str, list[str]]]:
    """Each code block: its language and its lines without comments."""
    return [(language, [bare(line) for line in body.splitlines()]) for language, body in FENCE.findall(text)]


def typed(text: str) -> list[str]:
    """What a reader is told to type: the lines after a prompt."""
    return [line[2:] for _, lines in fenced(text) for line in lines if line.startswith("$ ")]


def headings(text: str) -> list[str]:
    return re.findall(r"^(#+) \S", FENCE.sub("", text), re.MULTILINE)


def parse(line: str) -> click.Context:
    """Parse a command line as strictly as click does, and run nothing."""
    words = shlex.split(line.partition(" > ")[0])
    if words[0] == "localsynth" and all(word.startswith("--") for word in words[1:]):
        return cli.make_context("localsynth", words[1:])
    for path, command in VERBS.items():
        if words[: len(path.split())] == path.split():
            return command.make_context(path, words[len(path.split()) :])
    raise click.UsageError(f"no command of localsynth: {line}")


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_generated_blocks_are_what_the_code_says(name: str) -> None:
    text = read(name)
    found = re.findall(r"<!-- begin: (\w+) -->", text)
    assert sorted(found) == sorted({*docs.BLOCKS, *docs.BY_HAND})
    assert docs.filled(text) == text, "run: python scripts/docs.py"


def test_filling_mends_a_block_and_leaves_the_recording_alone() -> None:
    stale = (
        "<!-- begin: exits -->\nold\n<!-- end: exits -->\n<!-- begin: recording -->\nkeep\n<!-- end: recording -->\n"
    )
    mended = docs.filled(stale)
    assert "old" not in mended
    assert "keep" in mended
    with pytest.raises(KeyError):
        docs.filled("<!-- begin: unheard -->\n<!-- end: unheard -->\n")


@pytest.mark.parametrize("path", sorted(VERBS))
def test_every_command_is_documented(path: str) -> None:
    command = VERBS[path]
    assert f"`{path}`" in block(read(ENGLISH), "commands")
    assert command.help
    assert "..." not in command.get_short_help_str(120), "its short help does not fit a line"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts[0]} has no help"


def test_exit_codes_are_all_there() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", block(read(ENGLISH), "exits"), re.MULTILINE)
    assert [int(code) for code, _ in rows] == [int(code) for code in Exit]
    assert len({meaning for _, meaning in rows}) == len(rows)


def test_export_formats_are_the_same_everywhere() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \|", block(read(ENGLISH), "formats"), re.MULTILINE)
    assert tuple(listed) == FORMATS == tuple(formats())
    for name in FORMATS:
        assert re.search(rf"^ *{name}  ", VERBS["localsynth export"].help or "", re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in typed(read(ENGLISH)) if line.split()[0] == "localsynth"])
def test_command_lines_parse(line: str) -> None:
    parse(line)


def test_a_wrong_command_line_does_not_parse() -> None:
    for line in (
        "localsynth --no-such-option",
        "localsynth generate --no-such-option",
        "localsynth exprot x",
        "localsynth export x --format csv",
    ):
        with pytest.raises(click.UsageError):
            parse(line)


@pytest.mark.parametrize("name", [ENGLISH, CHINESE, "models/README.md", "CHANGELOG.md"])
def test_options_and_commands_in_the_text_exist(name: str) -> None:
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", read(name)))
    known = {option for command in VERBS.values() for parameter in command.params for option in parameter.opts}
    for span in spans:
        words = span.split()
        for word in words:
            if word.startswith("--") and words[0] in {"localsynth", word}:
                assert word in known | {"--help"}, span
        if words[0] == "localsynth" and words[1:] and words[1] != "COMMAND" and words[1][:2] != "--":
            assert any(span == path or span.startswith((path + " ", path + "|")) for path in (*VERBS, *_groups())), span


def _groups() -> set[str]:
    return {path.rpartition(" ")[0] for path in VERBS if path.count(" ") > 1}


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    named = re.findall(
        r"make ([a-z]+)\b", " ".join([*typed(read(ENGLISH)), *re.findall(r"`([^`\n]+)`", read(ENGLISH))])
    )
    assert {"demo", "test", "check"} <= set(named) <= set(targets)


def test_chinese_readme_keeps_step() -> None:
    english, chinese = read(ENGLISH), read(CHINESE)
    assert headings(chinese) == headings(english)
    assert fenced(chinese) == fenced(english)
    assert re.findall(r"\]\(([^)#]+)\)", english)[1:] == re.findall(r"\]\(([^)#]+)\)", chinese)[1:]
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", chinese), re.MULTILINE)
    assert [title for title in titles if not re.search("[一-鿿]", title)] == ["localsynth"]


def test_pictures_are_straight_and_fit_the_screen() -> None:
    drawn = 0
    text = read(ENGLISH)
    for language, lines in fenced(text.replace(block(text, "recording"), "")):
        assert max(map(len, lines)) <= 120
        boxes = [line for line in lines if language == "text" and line[:1] in "┌│└" and line]
        drawn += len(boxes)
        for line in boxes:
            edges = [at for at, character in enumerate(line) if character in "┌┐│└┘"]
            assert edges == [at for at, character in enumerate(boxes[0]) if character in "┌┐"], line
    assert drawn


def test_changelog_tells_what_is_new() -> None:
    unreleased = read("CHANGELOG.md").split("## [Unreleased]")[1].split("\n## ")[0]
    added = unreleased.split("### Added")[1]
    assert len(re.findall(r"^- ", added, re.MULTILINE)) >= 8
    for path in VERBS:
        assert re.search(rf"\b{path.split()[-1]}\b", added), f"{path} is not in the changelog"


def test_model_card_keys_are_explained() -> None:
    text = read("models/README.md")
    table = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`(\w+)`", table))
    assert named == {field.name for field in fields(ModelCard)}
    for kind in (cards.Role, cards.Quirk, cards.Source, cards.Grade):
        for value in get_args(kind):
            assert f"`{value}`" in text
    for field in fields(Sampling):
        assert f"`{field.name}`" in text
    used = {key for file in sorted((ROOT / "models").glob("*.toml")) for key in _keys(file)}
    assert used <= named


def _keys(file: Path) -> set[str]:
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    models = data.pop("model")
    return {*data, *(key for model in models for key in model)}


def test_docs_script_writes_what_it_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in docs.FILES:
        (tmp_path / name).write_text(re.sub(r"\| `.*\n", "", read(name)), encoding="utf-8")
    (tmp_path / "localsynth" / "cli").mkdir(parents=True)
    exits = "localsynth/cli/exits.py"
    (tmp_path / exits).write_text(read(exits), encoding="utf-8")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    assert docs.main() == 0
    assert block((tmp_path / CHINESE).read_text(encoding="utf-8"), "formats") == block(read(CHINESE), "formats")


def test_python_version_is_the_one_that_is_asked_for() -> None:
    wanted = tomllib.loads(read("pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    for name in (ENGLISH, CHINESE):
        assert f"Python {wanted}" in read(name)


@pytest.mark.parametrize("name", [ENGLISH, CHINESE])
def test_screens_and_settings_are_those_of_the_ui(name: str) -> None:
    text = read(name)
    rows = re.findall(r"^\| `(\d)` \| (\S[^|]*) \|", text, re.MULTILINE)
    assert [key for key, _ in rows] == [place.key for place in PLACES]
    if name == ENGLISH:
        assert [label for _, label in rows] == [place.label for place in PLACES]
    (settings,) = (tomllib.loads(body) for language, body in FENCE.findall(text) if language == "toml")
    assert keymap.usable(settings["keys"]) == (settings["keys"], [])
    assert settings["ui"]["theme"] in LocalsynthApp(ROOT / "rows.db").available_themes
