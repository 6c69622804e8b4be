"""Writing a packed job: everything that another machine needs, with nothing of this one's paths or secrets in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from localsynth import catalog
from localsynth.catalog import ResolvedModel
from localsynth.catalog.resolving import STARTER
from localsynth.config import Machine, Plan, RolePlan
from localsynth.errors import DataError, MissingPackage, PlanError
from localsynth.handoff.job import FORMAT, JOB, KNOWN, PLAN, SHARDS, Job, job_digest, read_job
from localsynth.handoff.models import HomeModel, describe_home
from localsynth.handoff.wheel import build_wheel, constraints
from localsynth.store.encode import now
from localsynth.store.queries import Reader
from localsynth.store.shards import write_known
from localsynth.store.store import new_run_id

_ENCODER, _INSTRUCTIONS = "encoder", "instructions"


@dataclass(frozen=True, slots=True)
class Packing:
    """What to pack. `plan` has its models found on this machine; `homes` are those, by role, and `servers` the models
    that are meant to run elsewhere, where they are here to be checked. `toml` writes a plan. `store` is what this
    machine has already; it need not exist."""

    plan: Plan
    homes: Mapping[str, HomeModel]
    servers: Mapping[str, ResolvedModel]
    toml: Callable[[Plan], str]
    store: Path
    shards: int


def pack(packing: Packing, out: Path) -> Job:
    """Write the folder `out`, which must not exist or be empty, and read it back. Nothing is left when it fails."""
    if packing.plan.target < packing.shards:
        raise PlanError(
            f"a target of {packing.plan.target} cannot be split into {packing.shards} shards",
            "pack fewer shards: --shards K",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists already", "name a new folder")
    models = {
        role: describe_home(home, packing.plan, packing.servers.get(role)) for role, home in packing.homes.items()
    }
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        _write(packing, models, part)
        out.mkdir(parents=True, exist_ok=True)
        # One stays where one stands; job.json, which makes it a job, comes last.
        for file in sorted(part.iterdir(), key=lambda file: file.name == JOB):
            file.rename(out / file.name)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror}", "choose another folder") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return read_job(out)


def _write(packing: Packing, models: Mapping[str, Any], folder: Path) -> None:
    known = _write_known(packing.store, folder / KNOWN)
    plan = _portable(packing.plan, models, folder)
    text = packing.toml(plan)
    (folder / PLAN).write_text(text, encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    run = new_run_id(_runs(packing.store))
    wheel = build_wheel(folder)
    job = {
        "format": FORMAT,
        "id": run,
        "shards": packing.shards,
        "target": plan.target,
        "packed": now(),
        "plan_sha256": digest,
        "wheel": wheel.name,
        "known": known,
        "models": models,
    }
    (folder / JOB).write_text(json.dumps(job, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / SHARDS).mkdir()
    extras = _extras(plan)
    light, heavy = constraints(extras)
    (folder / "constraints.txt").write_text("\n".join([*light, ""]))
    (folder / "constraints-models.txt").write_text("\n".join([*heavy, ""]))
    values = {
        "SHARDS": str(packing.shards),
        "TARGET": str(plan.target),
        "MODEL": ", ".join(sorted({str(model["model"]) for model in models.values()})),
        "BACKEND": _backend(plan),
        "GPU_BACKEND": "scripted" if plan.ask.backend == "scripted" else "vllm",
        "WHEEL": wheel.name,
        "EXTRAS": ",".join(extras),
        "DIGEST": job_digest(run, packing.shards, digest)[:12],
    }
    for name in ("run.sh", "slurm.sh", "README.md"):
        _fill(name, values, folder)


def _fill(name: str, values: Mapping[str, str], folder: Path) -> None:
    text = (files("localsynth.handoff") / "files" / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    (folder / name).write_text(text, encoding="utf-8")
    if name.endswith(".sh"):
        (folder / name).chmod(0o755)


def _write_known(store: Path, target: Path) -> int | None:
    """The index of what is here; None where there is nothing."""
    if not store.exists():
        return None
    count = write_known(store, target)
    if not count:
        target.unlink()
    return count or None


def _runs(store: Path) -> list[str]:
    if not store.exists():
        return []
    with Reader.open(store) as reader:
        return [row.id for row in reader.runs()]


def _portable(plan: Plan, models: Mapping[str, Any], folder: Path) -> Plan:
    """The plan with names instead of paths; files that it needs are copied into the folder."""

    def role(name: str, old: RolePlan) -> RolePlan:
        model = models.get(name, {})
        named = "" if old.backend == "scripted" or not model or model.get("file") == model["model"] else model["model"]
        return RolePlan(model=named, backend="scripted" if old.backend == "scripted" else "auto", sampling=old.sampling)

    instructions = ""
    if plan.instructions:
        source = Path(plan.instructions)
        instructions = f"{_INSTRUCTIONS}/{source.name}"
        _copy(source, folder / instructions)
    machine = Machine(
        context=plan.machine.context,
        tensor_parallel=plan.machine.tensor_parallel,
        memory_share=plan.machine.memory_share,
        quantisation=plan.machine.quantisation,
    )
    encoder = plan.gate.encoder
    if encoder and (Path(encoder).expanduser().is_dir() or os.sep in encoder):
        _copy(catalog.encoder_path(encoder), folder / _ENCODER / Path(encoder).name)
        encoder = f"{_ENCODER}/{Path(encoder).name}"
    return replace(
        plan,
        ask=role("ask", plan.ask),
        answer=role("answer", plan.answer),
        instructions=instructions,
        machine=machine,
        gate=replace(plan.gate, encoder=encoder),
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _extras(plan: Plan) -> list[str]:
    """The starter's packages where the plan uses its model or its encoder, and they are here."""
    try:
        if plan.gate.near_duplicates and not plan.gate.encoder:
            catalog.encoder_path()
            return ["starter"]
        if STARTER in {plan.ask.model, plan.answer.model}:
            catalog.starter_path()
            return ["starter"]
    except MissingPackage:
        return []
    return []


def _backend(plan: Plan) -> str:
    return "scripted" if plan.ask.backend == "scripted" else "auto"
