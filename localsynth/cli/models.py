"""`localsynth models`: what there is, what is here, how to get it, and how to make it faster."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import click

from localsynth.cli.options import json_option

if TYPE_CHECKING:
    from localsynth.catalog import ModelCard, Progress


@click.group(short_help="List, pull, inspect, convert, optimise and remove models.")
def models() -> None:
    """List, pull, inspect, convert, optimise and remove models."""


@models.command("list")
@click.option("--role", type=click.Choice(["generator", "judge", "reward", "guard", "encoder"]), help="What it is for.")
@click.option("--fits", is_flag=True, help="Only what fits this machine's memory.")
@json_option
def list_models(role: str | None, *, fits: bool, as_json: bool) -> int:
    """List the catalogue, the GGUF files that other tools have put here, and the servers that answer here.

    `--model` takes the names of all of them; files of other tools are used where they are.
    """
    from localsynth import catalog
    from localsynth.cli.narration import data, data_json, say
    from localsynth.printable import one_line, printable

    here = catalog.machine()
    cards = [card for card in catalog.load() if role is None or role in card.roles]
    if fits:
        cards = [card for card in cards if card.memory_gb(here.backend) <= here.usable_gb]
    local, servers = catalog.local_models(), catalog.local_servers()
    if as_json:
        found = [{"name": m.name, "path": str(m.path), "origin": m.origin, "bytes": m.size} for m in local]
        answering = [dataclasses.asdict(server) for server in servers]
        data_json({"catalogue": [_card_data(card) for card in cards], "here": found, "servers": answering})
        return 0
    say(f"this machine: {here.usable_gb:.0f} GB for a model, {here.cores} cores")
    for card in cards:
        source = catalog.SOURCE[here.backend] if "generator" in card.roles else "hf"
        unchecked = "" if source in card.checked else " (id not checked online)"
        pick = "*" if card.pick else " "
        data(
            f"{pick} {card.id:<26} {card.parameters:>7.3g} B {card.memory_gb(here.backend):>7.1f} GB  "
            f"{card.magpie:<8} {card.licence:<16} {', '.join(card.roles)}{unchecked}"
        )
    say("* suggested    get one: localsynth models pull NAME")
    for model in local:
        name, path = one_line(model.name, 60), printable(str(model.path))
        data(f"here  {model.size / 1e9:>6.1f} GB  {model.origin:<12} {name}  {path}")
    for server in servers:
        data(f"here  server     {server.name:<12} {server.url}  (a guess by its port; use it with --server)")
    return 0


@models.command()
@click.argument("name")
@click.option(
    "--backend", type=click.Choice(["llamacpp", "mlx", "vllm"]), help="Whose kind of files; by default this machine's."
)
@json_option
def pull(name: str, backend: Literal["llamacpp", "mlx", "vllm"] | None, *, as_json: bool) -> int:
    """Fetch NAME: a catalogue name, OWNER/REPO or OWNER/REPO:FILE. Run again after a failure: it goes on.

    With --json stderr says how far it is, one JSON object a line, at most four a second.
    """
    from localsynth import catalog
    from localsynth.cli.narration import data, data_json

    if as_json:
        path = catalog.pull(name, _Lines().report, backend=backend)
    else:
        with _Bar() as bar:
            path = catalog.pull(name, bar.report, backend=backend)
    if as_json:
        data_json({"name": name, "path": str(path)})
    else:
        data(str(path))
    return 0


@models.command()
@click.argument("name", required=False)
@json_option
def info(name: str | None, *, as_json: bool) -> int:
    """Show what is known of NAME (a catalogue name or a file; the starter without one) and what its file says."""
    from localsynth import catalog
    from localsynth.cli.narration import data, data_json
    from localsynth.errors import LocalsynthError
    from localsynth.printable import one_line

    shown: dict[str, Any] = {}
    try:
        found = catalog.resolve(name)
    except LocalsynthError:
        # A model that is only in the catalogue has a card and no file.
        shown |= _card_data(catalog.load().find(name or ""))
        shown["here"] = False
    else:
        shown |= _card_data(found.card) if found.card else {}
        shown |= {"here": True, "path": str(found.path), "revision": found.revision}
        if found.kind == "gguf":
            shown |= _file_data(found.path)
    if as_json:
        data_json(shown)
        return 0
    for key, value in shown.items():
        if value not in (None, "", [], {}):
            data(f"{key:<16} {one_line(str(value), 160)}")
    return 0


@models.command()
@click.argument("name", required=False)
@click.option("--check/--no-check", default=True, show_default=True, help="Compare the yield of both files first.")
@json_option
def optimize(name: str | None, *, check: bool, as_json: bool) -> int:
    """Make a copy of a GGUF file (the starter without NAME) in a quantisation that llama.cpp repacks for this CPU.

    With --check, 300 user turns of each file are compared: a copy that loses more than 3 points of yield is said to
    be unfit and is not used by default.
    """
    from localsynth import catalog
    from localsynth.cli.narration import data, data_json, say
    from localsynth.engine.optimising import optimise

    outcome = optimise(catalog.resolve(name).path, check=check, say=say)
    if as_json:
        data_json(dataclasses.asdict(outcome) | {"path": str(outcome.path)})
    else:
        say(outcome.explain())
        data(str(outcome.path))
    return 0


@models.command()
@click.argument("source", metavar="FILE")
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@json_option
def convert(source: str, target: Path, *, as_json: bool) -> int:
    """Turn a GGUF FILE of the Llama family (or a catalogue name) into a folder OUT that MLX runs.

    The weights stay the same, bit for bit; they must be Q4_0, Q4_1, Q8_0 or 16 bits. The starter is turned by itself
    where MLX runs it.
    """
    from localsynth import catalog
    from localsynth.backends.mlx.convert import convert as turn
    from localsynth.cli.narration import data, data_json

    made = turn(catalog.resolve(source, backend="llamacpp").path, target)
    if as_json:
        data_json({"source": source, "path": str(made)})
    else:
        data(str(made))
    return 0


@models.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove(name: str, *, yes: bool, as_json: bool) -> int:
    """Delete what localsynth has of NAME (a catalogue name, a repository or a path that `models list` shows).

    Files of other tools, and what came with a package, stay.
    """
    from localsynth.catalog.shelf import disk_size, find, refuse_removal
    from localsynth.catalog.shelf import remove as delete
    from localsynth.cli.narration import data, data_json

    entry = find(name)
    refuse_removal(entry)
    size = sum(map(disk_size, entry.ours))
    if not yes:
        click.confirm(f"Remove {', '.join(map(str, entry.ours))}, {size / 1e9:.2f} GB?", err=True, abort=True)
    freed = delete(entry)
    if as_json:
        data_json({"name": entry.name, "bytes": freed, "paths": [str(path) for path in entry.ours]})
    else:
        data(f"{freed / 1e9:.2f} GB are free again")
    return 0


def _card_data(card: ModelCard) -> dict[str, Any]:
    plain = dataclasses.asdict(card)
    return plain | {"checked": sorted(card.checked), "memory_gb": {b: card.memory_gb(b) for b in ("llamacpp", "mlx")}}


def _file_data(path: Path) -> dict[str, Any]:
    from localsynth.backends.gguf import read_facts

    facts = dataclasses.asdict(read_facts(path))
    facts.pop("tokens", None)
    facts["parameters_in_file"] = facts.pop("parameters", None)
    template = facts.pop("template", None)
    return facts | {"path": str(path), "chat_template": f"{len(template)} characters" if template else "none"}


class _Bar:
    """Download progress on stderr: a bar on a terminal, nothing elsewhere."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, Any] = {}
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def report(self, progress: Progress) -> None:
        from localsynth.printable import one_line

        if progress.file not in self._tasks:
            self._tasks[progress.file] = self._bar.add_task(one_line(progress.file, 40), total=progress.total)
        self._bar.update(self._tasks[progress.file], completed=progress.done, total=progress.total)


class _Lines:
    """Download progress for a program: JSON on stderr, a line for each quarter of a second and for each file's end."""

    def __init__(self) -> None:
        self._next = 0.0

    def report(self, progress: Progress) -> None:
        from localsynth.cli.narration import say

        now = time.monotonic()
        if now >= self._next or progress.done == progress.total:
            self._next = now + 0.25
            say(json.dumps(dataclasses.asdict(progress)))
