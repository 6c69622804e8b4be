"""A job for other machines: what is chosen, as lines of the form, and each step as `localsynth` takes it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localsynth.errors import DataError
from localsynth.handoff.job import JOB, SHARDS
from localsynth.tui import plan_files
from localsynth.tui.widgets.form_list import Line

Step = Literal["estimate", "pack", "submit", "fetch", "merge"]
STEPS: tuple[Step, ...] = ("estimate", "pack", "submit", "fetch", "merge")
STARTS = {
    "run": "run every shard in turn",
    "slurm": "hand the shards to Slurm",
    "no": "only copy",
}
# Which step a line belongs to.
_STEP_OF: dict[str, Step] = {
    "plan": "estimate", "price": "estimate", "parameters": "estimate", "folder": "pack", "shards": "pack",
    "host": "submit", "place": "submit", "start": "submit", "source": "merge", "follow": "merge",
}  # fmt: skip
_STDIN = "/dev/stdin"


@dataclass(frozen=True, slots=True)
class Handoff:
    """`plan`: how the plan is called, `plan_text` its text where it is in no file. `source` "": the folder's shards."""

    plan: str = ""
    plan_file: str = ""
    plan_text: str = ""
    price: float | None = None
    parameters: float | None = None
    folder: str = "job"
    shards: int = 4
    host: str = ""
    place: str = ""
    start: str = "run"
    source: str = ""
    follow: bool = False

    @property
    def target(self) -> Path:
        """The packed folder; absolute, as the job may outlive this process's folder."""
        return plan_files.named(self.folder).absolute()

    def arguments(self, step: Step, store: Path, shards: Sequence[Path] = ()) -> list[str]:
        """Behind `localsynth`. `shards`: the stores to merge."""
        plan, place = self.plan_file or _STDIN, ["--to", self.place] if self.place else []
        match step:
            case "estimate":
                more = ["--price-per-hour", f"{self.price:g}"] if self.price is not None else []
                more += ["--parameters", f"{self.parameters:g}"] if self.parameters is not None else []
                return ["estimate", plan, *more]
            case "pack":
                return ["handoff", "pack", plan, str(self.target), "--shards", str(self.shards), "--store", str(store)]
            case "submit":
                return ["handoff", "submit", self.host, str(self.target), *place, "--start", self.start]
            case "fetch":
                return ["handoff", "fetch", self.host, str(self.target), *place]
            case _ if self.follow:
                return ["merge", str(store), "--watch", str(self.target)]
            case _:
                return ["merge", str(store), *map(str, shards)]

    def command(self, step: Step, store: Path) -> str:
        """The same to be typed; a plan that is in no file follows as the shell's own text."""
        if step == "merge" and not self.follow:
            named = self.source or f"{shlex.quote(str(self.target))}/{SHARDS}/*.db"
            return f"localsynth merge {shlex.quote(str(store))} {named}"
        typed = f"localsynth {shlex.join(self.arguments(step, store))}".replace(" '' ", " HOST ")
        if step in {"estimate", "pack"} and not self.plan_file:
            return f"{typed} <<'PLAN'\n{self.plan_text.rstrip()}\nPLAN"
        return typed

    def missing(self, step: Step) -> str:
        """What has to be chosen before this step, "" for nothing."""
        if step in {"submit", "fetch"}:
            lacks = next((tool for tool in ("ssh", "rsync") if shutil.which(tool) is None), "")
            if lacks:
                return f"{lacks} is not on this machine: install it, or copy the folder by hand"
            if not self.host:
                return "name the host first"
        if step in {"submit", "fetch"} or (step == "merge" and self.follow):
            lacks = f"{self.target} is no packed job: pack one, or name its folder"
            return "" if plan_files.is_file(self.target / JOB) else lacks
        return ""

    def lines(self, store: str) -> Sequence[Line]:
        """The form. `store`: the name of this store."""
        tools = next((f"{tool} is not on this machine" for tool in ("ssh", "rsync") if shutil.which(tool) is None), "")
        source = self.source or f"{self.folder}/{SHARDS}/*.db"
        return (
            Line("", "How long it takes", kind="heading"),
            Line("plan", "Plan", self.plan, given=bool(self.plan_file)),
            Line("price", "GPU price", f"{self.price:g} an hour" if self.price is not None else "no cost is estimated",
                 given=self.price is not None),
            Line("parameters", "Model size", f"{self.parameters:g} billion" if self.parameters else "by its card",
                 given=bool(self.parameters)),
            Line("estimate", "Estimate: generates for a minute", kind="action"),
            Line("", "Pack it for other machines", kind="heading"),
            Line("shards", "Shards", str(self.shards), given=self.shards != 4),
            Line("folder", "Folder", self.folder, given=self.folder != "job"),
            Line("pack", f"Pack into {self.target.name}", kind="action"),
            Line("", "Send it over ssh", kind="heading"),
            Line("host", "Host", self.host or "none yet", given=bool(self.host), fault=tools),
            Line("place", "There", self.place or "localsynth/ID in your home", given=bool(self.place)),
            Line("start", "Start", STARTS[self.start], given=self.start != "run"),
            Line("submit", "Submit: copy it there and start", kind="action"),
            Line("fetch", "Fetch the shards as they are now", kind="action"),
            Line("", "Merge what came back", kind="heading"),
            Line("source", "Shards", source, given=bool(self.source)),
            Line("follow", "Follow", "until all are finished" if self.follow else "merge once", given=self.follow),
            Line("merge", f"Merge into {store}", kind="action"),
        )  # fmt: skip


def step_of(line: str) -> Step:
    """The step that a line of the form belongs to."""
    return next((step for step in STEPS if step == line), _STEP_OF.get(line, "estimate"))


def shard_files(handoff: Handoff) -> list[Path]:
    """The stores to merge: files, patterns such as job/shards/*.db, or folders. DataError: there are none."""
    found: list[Path] = []
    try:
        named = shlex.split(handoff.source) if handoff.source else [str(handoff.target)]
    except ValueError as error:
        raise DataError(f"the shards cannot be read: {error}", "quote names with blanks, as in a shell") from None
    for name in named:
        path = plan_files.named(name)
        if plan_files.is_folder(path):
            inside = path / SHARDS if plan_files.is_file(path / JOB) else path
            found += sorted(inside.glob("*.db"))
        elif any(sign in path.name for sign in "*?["):
            found += sorted(path.parent.glob(path.name))
        elif handoff.source:  # a store that is not there is told by the merge itself
            found.append(path)
    if not found:
        raise DataError(f"there are no shards in {', '.join(named)}", "run or fetch them first, or name their stores")
    return [path.absolute() for path in found]
