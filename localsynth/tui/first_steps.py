"""What somebody reads who has no run yet: three steps to the first one, with the models that there are for it."""

from __future__ import annotations

from dataclasses import dataclass

from localsynth.catalog import STARTER, load, machine, recommend, resolve
from localsynth.errors import LocalsynthError
from localsynth.printable import one_line


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """`here`: the model that a run takes where none is named, or why there is none. `better`: the id of the one that
    fits this machine best, "" when nothing does; `fetched`: it is here."""

    here: str
    ready: bool
    better: str = ""
    size: str = ""
    fetched: bool = False


def find_first_steps() -> FirstSteps:
    """Look at the catalogue and at the models on disk; call it on a worker thread."""
    try:
        found = resolve(None)
        name = found.card.id if found.card else found.path.name
        here, ready = f"{name}{', the built-in starter, made to try things' * found.starter}", True
    except LocalsynthError as error:
        here, ready = f"{error.message}. {error.hint}", False
    computer = machine()
    fitting = [card for card in recommend(computer.quick_gb, computer.backend, catalogue=load()) if card.id != STARTER]
    if not fitting:
        return FirstSteps(here, ready)
    best = fitting[0]
    try:
        resolve(best.id)
        fetched = True
    except LocalsynthError:
        fetched = False
    return FirstSteps(here, ready, best.id, f"{best.memory_gb(computer.backend):.1f} GB", fetched)


def first_steps(store: str, found: FirstSteps | None) -> str:
    """The three steps; without the models while these are being looked for."""
    lines = [f"There is no run in {one_line(store, 60)} yet. Three steps to the first one:", ""]
    lines.append("  1  Press n: a new run. Its model:")
    if found is None:
        lines.append("     ...")
    else:
        lines.append(f"     {one_line(found.here, 200)}" + ("." if found.ready else ""))
        if found.better:
            get = "is here already" if found.fetched else "is fetched with p there"
            lines.append(f"     Or press m for better data: {found.better} {get}.")
            lines.append(f"     It needs {found.size} of memory, which this machine has.")
    lines += [
        "",
        "  2  Type how many pairs you want to keep.",
        "",
        "  3  Press enter. The run works in the background; these screens only",
        "     watch it, and you may leave them at any time with q.",
        "",
        "Then: 3 watches the run, 4 reviews what it keeps, ? shows all keys.",
    ]
    return "\n".join(lines)
