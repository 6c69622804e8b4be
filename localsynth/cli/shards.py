"""`localsynth run FOLDER --shard I/K`: one part of a packed job, in this process, from wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localsynth import catalog
from localsynth.cli.exits import Exit
from localsynth.cli.narration import say
from localsynth.cli.panel import status_line
from localsynth.config import SERVED, Plan, plan_data, plan_from
from localsynth.engine import runner
from localsynth.engine.corpus import SharedKeys
from localsynth.engine.lock import hold
from localsynth.engine.planning import role_table
from localsynth.errors import DataError, MissingPackage, ModelError, NotFound, StoreError
from localsynth.events import Progress
from localsynth.handoff.job import Job, parse_shard, read_job
from localsynth.store.encode import now
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow, ShardRow
from localsynth.store.shards import create_shard
from localsynth.store.store import Store


def run_shard(folder: Path, shard: str, out: Path | None, typed: Mapping[str, Any]) -> int:
    """Carry the shard out with the models and the machine that were typed; its exit code."""
    job = read_job(folder)
    number = parse_shard(shard, job.shards)

    def narrate(row: RunRow, progress: Progress) -> None:
        say(f"shard {number}/{job.shards}: {status_line(row, progress)}")

    state, reason = carry_out(job, number, typed, narrate, out=out)
    say(f"shard {number}/{job.shards} {state}{': ' + reason if reason else ''}")
    return Exit.OK if state == "finished" else Exit.INCOMPLETE


def carry_out(
    job: Job, shard: int, typed: Mapping[str, Any], narrate: runner.Narrator, *, shared: SharedKeys | None = None,
    out: Path | None = None,
) -> tuple[str, str]:  # fmt: skip
    """Carry a shard out in this process; its state at the end, and why it is not finished. `shared`: keys of others."""
    plan = _here(job, job.shard_plan(shard), typed)
    store = job.shard_store(shard, out)
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{store.parent} cannot be made: {error.strerror}", "name another folder: --out") from None
    with hold(store, job.id):  # not while another process makes it, or is at work on it
        _prepare(job, shard, plan, store)
    return runner.run(store, job.id, narrate, runner.Shard(job.known, say, shared))


def fetch_models(job: Job, backend: str) -> None:
    """Fetch what this job's models are for a backend, at the revision that was packed, where it is not here."""
    plan = _here(job, job.plan, {"backend": backend})
    for name, role in (("ask", plan.ask), ("answer", plan.answer)):
        if name not in job.models or role.backend in {"scripted", *SERVED}:
            continue
        try:
            catalog.resolve(role.model or None)
        except (ModelError, NotFound):
            kind: catalog.Backend = "vllm" if role.backend == "vllm" else "mlx" if role.backend == "mlx" else "llamacpp"
            revision = _revision(job.models[name], role.model, kind)
            say(f"fetching {role.model}{f' at {revision}' if revision else ''}")
            catalog.pull(role.model, backend=kind, revision=revision)
    _fetch_encoder(job)


def _fetch_encoder(job: Job) -> None:
    """An encoder of the catalogue; a folder of home's own was packed, and the starter's comes as a package."""
    gate = job.shard_plan(1).gate
    if not (gate.near_duplicates and gate.encoder):
        return
    try:
        catalog.encoder_path(gate.encoder)
    except MissingPackage:
        return
    except ModelError:
        say(f"fetching {gate.encoder}")
        catalog.pull(gate.encoder, backend="vllm")  # whole, as it is on the hub


def _revision(home: Mapping[str, Any], model: str, kind: str) -> str | None:
    """The commit that was packed, where it is of the repository that this kind of backend loads."""
    checked = home.get("server") or {}
    if checked.get("repository") == model:
        return checked.get("revision")
    return home.get("revision") if home.get("backend") == kind else None


def _here(job: Job, plan: Plan, typed: Mapping[str, Any]) -> Plan:
    """The plan with this machine's models and slots in place of home's."""
    given = {key: value for key, value in typed.items() if value not in (None, ())}
    table = plan_data(plan)
    for name in ("ask", "answer"):
        named = {"model": given["answer_model"]} if name == "answer" and "answer_model" in given else {}
        role = dict(table[name])
        home = job.models.get(name)
        if home and home["file"] == home["model"] and not (given.keys() & {"model", "servers"} or named):
            raise ModelError(
                f"the job's {name} model is {home['file']}, a file that only home has",
                "copy it here and say where it is: --model FILE",
            )
        if home and given.get("backend") == "vllm" and not ("model" in given or named):
            role["model"] = _for_vllm(home, role["model"])
        table[name] = role_table({**given, **named}, role)
    table["machine"] |= {key: given[key] for key in ("slots", "tensor_parallel", "threads") if key in given}
    return plan_from(table)


def _for_vllm(home: Mapping[str, Any], model: str) -> str:
    """The repository with the weights that vLLM loads: what was checked when packing, else what the card names."""
    checked = home.get("server") or {}
    if checked.get("repository"):
        return str(checked["repository"])
    card = catalog.load().get(model)
    if card is None and home["backend"] == "llamacpp":
        raise ModelError(
            f"the job's model is {model}, GGUF files that vLLM does not load",
            "name the same model's full weights: --model OWNER/NAME; or run it as it is: --backend llamacpp",
        )
    return card.hf if card else model


def _prepare(job: Job, shard: int, plan: Plan, store: Path) -> None:
    """Make the shard's store, or check that the one that is there is this shard of this job."""
    expected = {name: home for name, home in job.models.items() if name in {"ask", "answer"}}
    if not store.exists():
        part = ShardRow(job.id, shard, job.shards, job.digest, plan.target, job.plan.target, expected)
        row = RunRow(
            job.id, 1, f"shard {shard}/{job.shards}", plan.method, plan.ask.backend, plan.ask.model, None, None, None,
            plan_data(plan), plan.seed, plan.target, "created", {}, now(), None, None, None, None, None, None,
        )  # fmt: skip
        create_shard(store, row, part)
    with Reader.open(store) as reader:
        found = reader.shards(job.id)
    if [(part.shard, part.job) for part in found] != [(shard, job.digest)]:
        raise StoreError(
            f"{store} is not shard {shard} of this job: it belongs to another plan",
            "move it away, or give another folder for this job's shards: --out FOLDER",
        )
    with Store.open(store) as opened:
        opened.update_run(job.id, plan=plan_data(plan))
