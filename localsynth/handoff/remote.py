"""A packed job on another machine, over the system's own ssh and rsync: nothing of ours listens or stores a key."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from localsynth.errors import DataError, MissingPackage, PlanError
from localsynth.handoff.job import SHARDS, Job
from localsynth.store.shards import snapshot

Start = Literal["run", "slurm", "no"]
_HOST = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9][\w.-]*", re.ASCII)
# Relative to the home there, or absolute; nothing that a shell or ssh reads as more than a name.
_PATH = re.compile(r"/?[A-Za-z0-9_][\w.-]*(?:/[A-Za-z0-9_][\w.-]*)*", re.ASCII)
_SNAPSHOTS = "snapshots"
# What belongs to one machine only.
_LEFT_OUT = (".venv", "home", SHARDS, _SNAPSHOTS, ".installing", ".installed", "*.log")
# Where run.sh installed: VENV may have named another place.
_PYTHON = '"$(cat .installed 2>/dev/null || echo .venv)/bin/python"'
_STARTS = {
    "run": "(nohup bash run.sh >> run.log 2>&1 < /dev/null & echo started, process $!)",
    "slurm": "sbatch slurm.sh",
    "no": "true",
}


def submit(host: str, job: Job, where: str | None, start: Start) -> str:
    """Copy the folder to `host` and start it there; what the other side said. Doing it again copies what changed.

    PlanError for a host or a path that is none, DataError when ssh or rsync fail.
    """
    place = _place(host, job, where)
    _call(["ssh", "--", host, f"mkdir -p {place}/{SHARDS}"])
    left_out = [f"--exclude=/{name}" for name in _LEFT_OUT]
    _call(["rsync", "-a", *left_out, "--", f"{job.folder}/", f"{host}:{place}/"])
    return _call(["ssh", "--", host, f"cd {place} && {_STARTS[start]}"])


def fetch(host: str, job: Job, where: str | None) -> list[Path]:
    """Bring the shards' stores, as they are now, into the folder's `shards`; the stores that are there then.

    The other side makes the copies: a store that is being written to cannot be copied file by file. A shard that this
    host has replaces the one that is here, from whatever host that came.
    """
    place = _place(host, job, where)
    shards = job.folder / SHARDS
    if live := sorted(log for log in shards.glob("*-wal") if log.stat().st_size):
        raise DataError(f"{live[0].name} shows a run at work in {shards}", "fetch into a copy of the packed folder")
    _call(["ssh", "--", host, f"cd {place} && {_PYTHON} -m localsynth handoff snapshot ."])
    shards.mkdir(exist_ok=True)
    _call(["rsync", "-a", "--", f"{host}:{place}/{_SNAPSHOTS}/", f"{shards}/"])
    return sorted(shards.glob("shard-*.db"))


def take_snapshots(job: Job) -> list[Path]:
    """Write a whole copy of each shard's store into `snapshots`, beside runs that go on; the copies."""
    folder = job.folder / _SNAPSHOTS
    folder.mkdir(exist_ok=True)
    found = []
    for store in map(job.shard_store, range(1, job.shards + 1)):
        if store.exists():
            snapshot(store, folder / store.name)
            found.append(folder / store.name)
    return found


def _place(host: str, job: Job, where: str | None) -> str:
    if not _HOST.fullmatch(host):
        raise PlanError(f"{host!r} is no name of a host", "write HOST or USER@HOST, as in your ssh configuration")
    place = where or f"localsynth/{job.id}"
    if not _PATH.fullmatch(place):
        raise PlanError(f"{place!r} is no folder for the other machine", "use letters, digits, and . _ - in its names")
    return place


def _call(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        raise MissingPackage(
            f"{command[0]} is not on this machine", f"install {command[0]}, or copy the folder by hand"
        )
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise DataError(f"{command[0]} failed: {said[:300]}", f"see whether {command[0]} reaches it by hand")
    return done.stdout.strip()
