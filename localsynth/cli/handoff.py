"""`localsynth handoff`: pack a job for other machines, send it there, and bring back what they made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from localsynth.cli.cluster import cluster
from localsynth.cli.options import json_option, store_option

if TYPE_CHECKING:
    from localsynth.config import Plan
    from localsynth.handoff.models import HomeModel
    from localsynth.handoff.remote import Start

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@click.group(short_help="Hand a large job to other machines.")
def handoff() -> None:
    """Pack a job into a folder that other machines run in shards, send it there, and bring back the shards."""


@handoff.command(short_help="Pack a plan into a folder that others run.")
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--shards", type=click.IntRange(1, 100_000), required=True, help="Parts that run on their own.")
@click.option("--check-model", metavar="MODEL", help="The model that is to run there: its turns must be the same.")
@click.option("--check-answer-model", metavar="MODEL", help="The same for another model that answers.")
@store_option
@json_option
def pack(
    plan_file: Path, out: Path, *, shards: int, check_model: str | None, check_answer_model: str | None, store: Path,
    as_json: bool,
) -> int:  # fmt: skip
    """Write the folder OUT: PLAN (a plan.toml), what its models must agree on, localsynth itself, and run.sh.

    The hashes and embeddings of what the store has already go along, so that nothing is made twice. Nothing in the
    folder names this machine. Merge the shards into the same store later.
    """
    import datetime as dt
    from dataclasses import replace

    from localsynth import catalog
    from localsynth.cli.ending import ending_cleanly
    from localsynth.cli.narration import data, data_json, say
    from localsynth.cli.plan_flags import build_plan
    from localsynth.engine.plan_toml import plan_toml
    from localsynth.handoff.pack import Packing
    from localsynth.handoff.pack import pack as write

    out = out.expanduser().absolute()
    plan = build_plan({"plan_file": plan_file})
    plan = plan if plan.date else replace(plan, date=dt.date.today().isoformat())  # noqa: DTZ011 - the user's own day
    checked = {"ask": check_model, "answer": check_answer_model or check_model}
    servers = {role: catalog.resolve(model) for role, model in checked.items() if model}
    with ending_cleanly():
        job = write(Packing(plan, _homes(plan), servers, plan_toml, store, shards), out)
    if as_json:
        data_json({"folder": str(out), "id": job.id, "shards": job.shards, "target": job.plan.target})
        return 0
    say(f"packed {job.plan.target} rows in {job.shards} shards, {_size(out):.1f} MB")
    say(f"  next: bash {out}/run.sh, there; or localsynth handoff submit HOST {out}")
    data(str(out))
    return 0


@handoff.command(short_help="Fetch a packed job's models.")
@_FOLDER
@click.option("--backend", default="auto", show_default=True, help="What will run the model.")
def pull(folder: Path, *, backend: str) -> int:
    """Fetch the models of the packed FOLDER that are not on this machine yet. run.sh calls it once."""
    from localsynth.cli.shards import fetch_models
    from localsynth.handoff.job import read_job

    fetch_models(read_job(folder), backend)
    return 0


_HOST = click.argument("host")
_WHERE = click.option("--to", metavar="PATH", help="The folder on HOST.  [default: localsynth/ID in your home there]")


@handoff.command(short_help="Copy a packed job to a host and start it.")
@_HOST
@_FOLDER
@_WHERE
@click.option(
    "--start", type=click.Choice(["run", "slurm", "no"]), default="run", show_default=True,
    help="Start every shard in turn, hand them to Slurm, or only copy.",
)  # fmt: skip
@json_option
def submit(host: str, folder: Path, *, to: str | None, start: Start, as_json: bool) -> int:
    """Copy the packed FOLDER to HOST over ssh and rsync, and start it there."""
    from localsynth.cli.ending import ending_cleanly
    from localsynth.cli.narration import data_json, say
    from localsynth.handoff import remote
    from localsynth.handoff.job import read_job

    with ending_cleanly():
        said = remote.submit(host, read_job(folder.expanduser().absolute()), to, start)
    if as_json:
        data_json({"host": host, "start": start, "said": said})
        return 0
    say(f"{host}: {said or 'copied'}")
    say(f"  next: localsynth handoff fetch {host} {folder}")
    return 0


@handoff.command(short_help="Bring a job's shards back from a host.")
@_HOST
@_FOLDER
@_WHERE
@json_option
def fetch(host: str, folder: Path, *, to: str | None, as_json: bool) -> int:
    """Bring the shards' stores from HOST into FOLDER, as they are now; they may go on meanwhile."""
    from localsynth.cli.ending import ending_cleanly
    from localsynth.cli.narration import data, data_json, say
    from localsynth.handoff import remote
    from localsynth.handoff.job import read_job

    with ending_cleanly():
        stores = remote.fetch(host, read_job(folder.expanduser().absolute()), to)
    if as_json:
        data_json({"host": host, "stores": [str(store) for store in stores]})
        return 0
    for store in stores:
        data(str(store))
    say(f"{len(stores)} shards are here")
    say(f"  next: localsynth merge MAIN.db {folder}/shards/*.db")
    return 0


@handoff.command("snapshot", short_help="Copy shards whole while they are written.")
@_FOLDER
def take_snapshots(folder: Path) -> int:
    """Copy the shards' stores of FOLDER into FOLDER/snapshots, whole, while they go on. `fetch` calls it."""
    from localsynth.cli.narration import data
    from localsynth.handoff import remote
    from localsynth.handoff.job import read_job

    for path in remote.take_snapshots(read_job(folder.expanduser().absolute())):
        data(str(path))
    return 0


handoff.add_command(cluster)


def _homes(plan: Plan) -> dict[str, HomeModel]:
    """The plan's models as they are here; only a served one is asked, the others' files are read."""
    import asyncio

    from localsynth.backends.base import BackendInfo
    from localsynth.config import RolePlan
    from localsynth.engine.building import build_backend, local_model
    from localsynth.handoff.models import from_files, from_info

    async def ask(role: RolePlan) -> BackendInfo:
        backend = build_backend(role, plan)
        try:
            await backend.open()
            return backend.info
        finally:
            await backend.aclose()

    wanted = {"ask": plan.ask} if plan.method != "imported" else {}
    wanted |= {} if plan.instructions_only else {"answer": plan.answer}
    homes = {}
    for name, role in wanted.items():
        found = local_model(role)
        homes[name] = from_files(found) if found else from_info(asyncio.run(ask(role)))
    return homes


def _size(folder: Path) -> float:
    """In MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
