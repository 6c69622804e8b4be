"""A packed job: a folder that holds all that another machine needs to run its shards. Written by `pack`, read here.

    job.json     what is below, and the chat formats that the models must have
    plan.toml    the plan of the whole job; paths in it are relative to the folder
    known.db     hashes and embeddings of what the packing machine had already, where it had something
    shards/      one store for each shard, made when it starts

Shard I of K asks the indices I-1, I-1+K, I-1+2K, ... of one run id: rows of different shards have different
identities, and a row has the identity, the seed and the prompt that it would have in a run on one machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localsynth.config import Plan, plan_from, read_plan
from localsynth.errors import DataError, PlanError

FORMAT = 1
JOB, PLAN, KNOWN, SHARDS = "job.json", "plan.toml", "known.db", "shards"
_RUN = re.compile(r"[0-9A-Z]{26}")
_AGAIN = "pack it again: localsynth handoff pack PLAN OUT --shards K"


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was packed. `digest` tells it from every other one; `plan` is the whole job's.

    `models`: by role, what wrote at home (name, repository, revision, sha256, quantisation, template hash) and its
    `formats`, the parts of its chat format for each system prompt of the plan. `known` is None where nothing was known.
    """

    folder: Path
    id: str
    shards: int
    digest: str
    plan: Plan
    models: Mapping[str, Any]
    known: Path | None

    def shard_plan(self, shard: int) -> Plan:
        """The plan of one shard, 1 to `shards`: its share of the target and of the tokens, the whole job's limits of
        indices and of minutes, as shards run beside each other."""
        plan = self.plan
        share = plan.target // self.shards + (shard <= plan.target % self.shards)
        tokens = -(-plan.limits.tokens // self.shards)
        limits = replace(plan.limits, attempts=plan.attempts(), tokens=tokens)
        instructions = str(self.folder / plan.instructions) if plan.instructions else ""
        encoder = plan.gate.encoder
        if encoder and (self.folder / encoder).is_dir():
            encoder = str(self.folder / encoder)
        return replace(
            plan, target=share, limits=limits, instructions=instructions, gate=replace(plan.gate, encoder=encoder)
        )

    def shard_store(self, shard: int, out: Path | None = None) -> Path:
        """Where a shard's rows go: into the folder's `shards`, or into `out`."""
        return (out or self.folder / SHARDS) / f"shard-{shard}-of-{self.shards}.db"


def read_job(folder: Path) -> Job:
    """Read a packed folder. DataError: it is none, of a newer version, or was changed after it was packed."""
    try:
        data = json.loads((folder / JOB).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} is no packed job: it has no {JOB}", _AGAIN) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / JOB} cannot be read: {error}", _AGAIN) from None
    version = data.get("format") if isinstance(data, dict) else None
    if version != FORMAT:
        raise DataError(f"{folder} is a job of format {version}; this localsynth reads {FORMAT}", _AGAIN)
    try:
        run, shards, digest, models = data["id"], data["shards"], data["plan_sha256"], data["models"]
        known = data["known"]
    except KeyError as error:
        raise DataError(f"{folder / JOB} lacks {error}", _AGAIN) from None
    if not (_RUN.fullmatch(str(run)) and isinstance(shards, int) and shards >= 1 and isinstance(models, dict)):
        raise DataError(f"{folder / JOB} is not what `pack` wrote", _AGAIN)
    plan_file = folder / PLAN
    plan = plan_from(read_plan(plan_file))
    if hashlib.sha256(plan_file.read_bytes()).hexdigest() != digest:
        raise DataError(f"{plan_file} was changed after the job was packed", _AGAIN)
    if known is not None and not (folder / KNOWN).is_file():
        raise DataError(f"{folder} lacks {KNOWN}, by which duplicates of home are found", "copy the whole folder")
    return Job(folder, run, shards, job_digest(run, shards, digest), plan, models, folder / KNOWN if known else None)


def job_digest(run: str, shards: int, plan_sha256: str) -> str:
    """What every shard of one job carries, and no shard of another."""
    return hashlib.sha256(f"{run}/{shards}/{plan_sha256}".encode()).hexdigest()[:32]


def parse_shard(text: str, shards: int) -> int:
    """The I of "I/K" or "I", 1 to `shards`. PlanError when the job has no such shard."""
    found = re.fullmatch(r"(\d{1,9})(?:/(\d{1,9}))?", text.strip())
    if not found:
        raise PlanError(f"--shard {text!r} is no shard", f"write I/{shards}, with I from 1 to {shards}")
    number, of = int(found[1]), int(found[2] or shards)
    if of != shards:
        raise PlanError(f"--shard {text} is of {of} shards; this job has {shards}", f"write I/{shards}")
    if not 1 <= number <= shards:
        raise PlanError(f"there is no shard {number}: this job has {shards}", f"write I/{shards}, I from 1 to {shards}")
    return number
