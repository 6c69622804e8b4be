"""Find and replace in many rows: how many and how they would read, before anything is written."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from localsynth.engine.bulk_review import Found, Replaced, Work, find, gather
from localsynth.errors import LocalsynthError
from localsynth.filters.substitution import Substitution
from localsynth.printable import one_line
from localsynth.records import Role
from localsynth.store import Query
from localsynth.tui.asking import AskingScreen
from localsynth.tui.widgets.tick import Tick
from localsynth.tui.wording import number

_AROUND = 20  # characters of context before a difference


@dataclass(frozen=True, slots=True)
class ReplaceChoice:
    """What to replace in these samples."""

    ids: array[int]
    wanted: Substitution
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class _Looked:
    ids: array[int]
    found: Found | LocalsynthError


class ReplaceDialog(ModalScreen[ReplaceChoice]):
    """Finds first, then offers to replace; None when nothing is to be done.

    `start`: what to find and to put in its place, as it stands when the dialog opens.
    """

    CSS_PATH = ["modal.tcss", "bulk.tcss"]  # noqa: RUF012 - declared so by Textual
    HELP = (
        "enter finds and shows what would change; enter again replaces. Edits are kept beside what the model wrote, "
        "and z takes all of them back. In a regular expression \\1 stands for its first group."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="replace.cancel", tooltip="Change nothing"),
    ]

    def __init__(self, asker: AskingScreen, query: Query, about: str, start: tuple[str, str]) -> None:
        super().__init__()
        self._asker, self._query, self._about, self._start = asker, query, about, start
        self._work = Work()
        self._ids: array[int] | None = None
        self._choice: ReplaceChoice | None = None
        self._searched: tuple[Substitution, tuple[Role, ...]] | None = None

    def compose(self) -> ComposeResult:
        find_text, put = self._start
        with Vertical(classes="box wide"):
            yield Static(f"Replace in {self._about}", classes="heading", markup=False)
            with Horizontal(classes="row"):
                yield Static("find", classes="label")
                yield Input(find_text, id="find", max_length=1000, compact=True)
            with Horizontal(classes="row"):
                yield Static("put", classes="label")
                yield Input(put, placeholder="nothing: take it out", id="put", max_length=1000, compact=True)
            with Horizontal(classes="row"):
                yield Tick("answers", True, id="assistant", compact=True)
                yield Tick("questions", id="user", compact=True)
                yield Tick("regex", id="regex", compact=True)
                yield Tick("any case", id="case", compact=True)
            yield Static("", id="found", markup=False)
            yield Static("", id="examples", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Replace", id="do", variant="warning", compact=True)
            yield Static("enter finds, then replaces; tab goes on; escape changes nothing", classes="hint")

    def on_mount(self) -> None:
        self.query_one("#do").display = False
        self.query_one("#find", Input).focus()
        self.set_interval(0.25, self._show_progress)
        if self._start[0]:
            self._find()

    def on_unmount(self) -> None:
        self._work.cancel()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def on_input_changed(self) -> None:
        self._typed()

    def on_checkbox_changed(self) -> None:
        self._typed()

    def on_input_submitted(self) -> None:
        self._find()

    def on_button_pressed(self) -> None:
        if self._choice is not None:
            self.dismiss(self._choice)

    def _wanted(self) -> tuple[Substitution, tuple[Role, ...]]:
        ticked = {box.id: box.value for box in self.query(Tick)}
        wanted = Substitution(
            self.query_one("#find", Input).value,
            self.query_one("#put", Input).value,
            regex=ticked["regex"],
            ignore_case=ticked["case"],
        )
        roles: tuple[Role, ...] = ("user", "assistant")
        return wanted, tuple(role for role in roles if ticked[role])

    def _typed(self) -> None:
        if self._wanted() != self._searched:
            self._forget()

    def _forget(self) -> None:
        """What was found belongs to something else now."""
        self._work.cancel()
        self._choice = None
        button = self.query_one("#do")
        if button.has_focus:
            self.query_one("#find").focus()
        button.display = False
        self._say("", ())

    def _find(self) -> None:
        self._forget()
        self._searched = wanted, roles = self._wanted()
        try:
            wanted.compiled()
        except LocalsynthError as error:
            self._say(f"{error.message}: {error.hint}", ())
            return
        if not roles:
            self._say("tick answers, questions or both", ())
            return
        self._work = work = Work()
        self._say("reading ...", ())
        job = partial(_look, self._asker.ui.store, self._query, self._ids, (wanted, roles), work)
        self._asker.ask("bulk", job, partial(self._found, work, wanted, roles))

    def _found(
        self,
        work: Work,
        wanted: Substitution,
        roles: tuple[Role, ...],
        answer: _Looked,
    ) -> None:
        if not self.is_attached or work is not self._work or work.cancelled:
            return
        self._ids, found = answer.ids, answer.found
        if isinstance(found, LocalsynthError):
            self._say(f"{found.message}: {found.hint}", ())
            return
        self._say(f"{number(len(found.ids))} of {number(len(self._ids))} rows would change", found.examples)
        if found.ids:
            self._choice = ReplaceChoice(found.ids, wanted, roles)
            button = self.query_one("#do", Button)
            button.label = f"Replace in {number(len(found.ids))} row{'s' * (len(found.ids) != 1)}"
            button.display = True
            button.focus()

    def _show_progress(self) -> None:
        work = self._work
        if work.total and self._choice is None and not work.cancelled and work.done < work.total:
            self._say(f"{number(work.done)} of {number(work.total)} rows read, {number(work.found)} found", ())

    def _say(self, words: str, examples: tuple[Replaced, ...]) -> None:
        self.query_one("#found", Static).update(words)
        width = max(20, self.query_one("#examples").size.width - 2)
        lines = [line for example in examples for line in _shown(example, width)]
        self.query_one("#examples", Static).update(Content("\n".join(lines)))


def _shown(example: Replaced, width: int) -> tuple[str, str]:
    """Before and after, from just before they differ."""
    pairs = zip(example.before, example.after, strict=False)
    same = next((place for place, (old, new) in enumerate(pairs) if old != new), None)
    if same is None:
        same = min(len(example.before), len(example.after))
    start = same - _AROUND if same > 2 * _AROUND else 0
    lead = "…" if start else ""
    before, after = (
        one_line(lead + text[start : start + 4 * width], width) for text in (example.before, example.after)
    )
    return f"- {before}", f"+ {after}"


def _look(
    store: Path, query: Query, ids: array[int] | None, what: tuple[Substitution, tuple[Role, ...]], work: Work
) -> _Looked:
    """The rows of the query, gathered once, and what is found in them; a wrong or slow expression is an answer too."""
    if ids is None:
        ids = gather(store, query, work)
    try:
        return _Looked(ids, find(store, ids, *what, work))
    except LocalsynthError as error:
        return _Looked(ids, error)
