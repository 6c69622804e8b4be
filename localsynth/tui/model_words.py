"""What the screens say of models, and of the jobs that fetch, check and copy them."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from localsynth.catalog import Machine
from localsynth.engine.fitness import Verdict
from localsynth.printable import one_line, printable
from localsynth.tui.jobs import JobView
from localsynth.tui.stock import Line
from localsynth.tui.wording import duration, moment, progress_bar

_GRADES = {"works": "works", "care": "with care", "untested": "untested", "unfit": "not for this"}


def size(amount: float) -> str:
    """Bytes as "98 MB" or "4.9 GB"."""
    if amount < 1e9:
        return f"{amount / 1e6:.0f} MB" if amount >= 1e6 else f"{amount / 1e3:.0f} kB"
    return f"{amount / 1e9:.1f} GB"


def where(line: Line, job: JobView | None) -> str:
    """Where a model is, or how far it is, in at most fourteen characters."""
    if job is not None and job.state == "running":
        done, whole = job.progress.get("all_done", 0), job.progress.get("all_total", 0)
        return f"↓ {100 * done // whole:.0f} % {size(whole)}" if whole else "↓ asking ..."
    if line.server is not None:
        return f"{line.server.name}?"
    entry = line.entry
    assert entry is not None
    if entry.partial is not None:
        return f"{'↓' if entry.partial.busy else '◐'} {size(entry.partial.size)}"
    return f"● {size(entry.size)}" if entry.path is not None else ""


def memory(line: Line) -> str:
    """What it takes when loaded, and whether that is there."""
    if line.server is not None:
        return "its own"
    return f"{line.memory:.1f} GB" + ("" if line.fits else " ✗")


def magpie(line: Line) -> str:
    """Whether it can do Magpie: as the doctor found here, else as the catalogue says."""
    if line.verdict is not None:
        rate = f" {line.verdict.rate:.0%}" if line.verdict.turns else ""
        return f"{ {'usable with care': 'care'}.get(line.verdict.grade, line.verdict.grade) }{rate} ✓"
    if line.card is None:
        return "" if line.server else "not checked"
    return _GRADES[line.card.magpie] if line.generates else line.card.roles[0]


def doctor(verdict: Verdict) -> Content:
    """The doctor's report."""
    when = f", {moment(verdict.at)}" if verdict.at else ""
    lost = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in verdict.causes.items())
    between = f" ({verdict.low:.0%} to {verdict.high:.0%} at 95 %)" if verdict.turns else ""
    parts: list[str | tuple[str, str]] = [
        (verdict.grade, _grade_style(verdict.grade)),
        f": {printable(verdict.reason)}{between}{when}.",
        f"\nLost: {printable(lost)}." if lost else "",
        *(f"\n“{one_line(example, 110)}”" for example in verdict.examples[:3]),
    ]
    return Content.assemble(*parts)


def job_words(job: JobView) -> Content:
    """A job in one or two lines: how far it is, or how it ended and what to do next."""
    title = one_line(job.title, 60)
    if job.state == "failed":
        return Content.assemble(
            (f"✗ {title}: ", "bold $text-error"), one_line(job.error, 300), f"\n{one_line(job.hint, 300)}"
        )
    if job.state == "cancelled":
        stays = " What was fetched stays; the same key goes on with it." if job.key.startswith("pull ") else ""
        return Content(f"{title} was cancelled.{stays}")
    if job.state == "done":
        return Content.assemble((f"✓ {title}", "bold"), f" in {duration(job.seconds)}")
    done, whole = job.progress.get("all_done", 0), job.progress.get("all_total", 0)
    if not whole:
        said = f": {one_line(job.said, 100)}" if job.said else ""
        return Content.assemble((title, "bold"), f"{said} ({duration(job.seconds)}, X cancels)")
    full, empty = progress_bar(done, whole, 16)
    left = f", {duration((whole - done) / job.rate)} left" if job.rate else ""
    return Content.assemble(
        (title, "bold"), " ", (full, "$text-success"), (empty, "$text-muted"),
        f" {size(done)} of {size(whole)}, {size(job.rate)}/s{left} (X cancels)",
    )  # fmt: skip


def card_words(line: Line, here: Machine) -> Content:
    """All that is known of a model."""
    return Content("\n").join(_about(line, here))


def _about(line: Line, here: Machine) -> Iterator[Content]:
    if line.server is not None:
        yield Content.assemble((line.server.url, "bold"), "  a server answers here")
        yield Content(
            f"By its port it may be {line.server.name}; u uses it in a new run, what it serves is asked then."
        )
        return
    entry, card = line.entry, line.card
    assert entry is not None
    title = f"{card.maker} {card.family}, {card.parameters:g} B parameters, {card.released}" if card else entry.origin
    yield Content.assemble((one_line(line.name, 100), "bold"), f"  {one_line(title, 100)}")
    if entry.path is not None:
        yield Content(f"{size(entry.size)}, {entry.origin}: {printable(str(entry.path))}")
    elif entry.partial is not None:
        busy = "a process is fetching the rest" if entry.partial.busy else "p fetches the rest"
        yield Content(f"{size(entry.partial.size)} of it are here: {busy}")
    else:
        yield Content("not on this machine: p fetches it")
    fits = "fits" if line.fits else "does not fit"
    yield Content(f"takes about {line.memory:.1f} GB when loaded: {fits} the {here.usable_gb:.1f} GB for a model here")
    if line.verdict is not None:
        yield Content.assemble("Doctor: ", doctor(line.verdict))
    elif line.generates:
        yield Content("Doctor: never checked here; d asks it for 64 questions, which takes minutes on a laptop")
    if card is not None:
        yield from _card(line)


def _card(line: Line) -> Iterator[Content]:
    card = line.card
    assert card is not None
    note = f": {printable(card.licence_note)}" if card.licence_note else ""
    yield Content(f"Licence {card.licence}{note}{' Its page asks you to accept it first.' if card.gated else ''}")
    facts = [
        f"context {card.context:,}",
        f"Magpie: {card.magpie}",
        *card.quirks,
        *(["suggested"] if line.suggested else []),
    ]
    yield Content(", ".join(facts))
    if card.note:
        yield Content(printable(card.note))
    repos = [
        card.hf,
        *([f"{card.gguf.repo}:{card.gguf.pattern}"] if card.gguf else []),
        *([card.mlx] if card.mlx else []),
    ]
    yield Content(f"{'  '.join(repos)}  seen online: {', '.join(sorted(card.checked)) or 'none'}")


def _grade_style(grade: str) -> str:
    return {"fit": "bold $text-success", "unfit": "bold $text-error"}.get(grade, "bold $text-warning")
