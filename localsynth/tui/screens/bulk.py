"""The same said of many rows: how many and which, before anything is written."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static
from textual.widgets.option_list import Option

from localsynth.engine.bulk_review import Plan, Work, gather, survey
from localsynth.printable import fit
from localsynth.store import Query, Reader, SampleRow
from localsynth.store.bulk import BulkAction, BulkVerb
from localsynth.tui.asking import AskingScreen
from localsynth.tui.screens.choose import ChoiceList
from localsynth.tui.screens.tags import split
from localsynth.tui.widgets.tick import Tick
from localsynth.tui.wording import number

_VERBS: dict[BulkVerb, str] = {
    "accept": "Accept",
    "reject": "Reject",
    "clear": "Take your verdicts back",
    "tag": "Add a tag",
    "note": "Write a note",
}
_HELD: dict[BulkVerb, str] = {
    "accept": "also rows that you rejected",
    "reject": "also rows that you accepted",
    "clear": "also verdicts that were given just now",
    "tag": "",
    "note": "also rows that have another note",
}
EXAMPLES = 3
_WIDTH = 42  # cells of an example


@dataclass(frozen=True, slots=True)
class BulkChoice:
    """What was chosen: an action on these samples, of which `count` change."""

    ids: array[int]
    action: BulkAction
    count: int


@dataclass(frozen=True, slots=True)
class _Gathered:
    ids: array[int]
    examples: list[SampleRow]


class BulkDialog(ModalScreen[BulkChoice]):
    """Counts the rows of a query and what an action would change; None when nothing is to be done.

    `asker` does the reading, `about` says in words which rows they are.
    """

    CSS_PATH = ["modal.tcss", "bulk.tcss"]  # noqa: RUF012 - declared so by Textual
    HELP = "Nothing is written before enter. What is written is one step, which z takes back whole."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="bulk.cancel", tooltip="Change nothing"),
        Binding(
            "o", "overwrite", "Overwrite", show=False, id="bulk.overwrite", tooltip="Also where you said otherwise"
        ),
    ]

    def __init__(self, asker: AskingScreen, query: Query, about: str) -> None:
        super().__init__()
        self._asker, self._query, self._about = asker, query, about
        self._work = Work()
        self._ids: array[int] | None = None
        self._plan: Plan | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static("Counting...", id="heading", classes="heading", markup=False)
            yield Static("", id="examples", markup=False)
            yield ChoiceList(*(Option(words, id=verb) for verb, words in _VERBS.items()), id="verbs", compact=True)
            yield Input(id="text", max_length=200, compact=True)
            yield Tick("", id="overwrite", compact=True)
            yield Static("", id="reach", markup=False)
            yield Static("enter does it, escape changes nothing", classes="hint")

    def on_mount(self) -> None:
        self.query_one("#text").display = False
        self.query_one("#overwrite").display = False
        verbs = self.query_one(ChoiceList)
        verbs.highlighted = 0
        verbs.focus()
        self._asker.ask("bulk", partial(_gather, self._asker.ui.store, self._query, self._work), self._gathered)

    def on_unmount(self) -> None:
        self._work.cancel()

    @property
    def verb(self) -> BulkVerb:
        """The one under the cursor."""
        return list(_VERBS)[self.query_one(ChoiceList).highlighted or 0]

    def action_cancel(self) -> None:
        self.dismiss(None)

    def action_overwrite(self) -> None:
        box = self.query_one(Tick)
        if box.display:
            box.toggle()

    def on_option_list_option_highlighted(self) -> None:
        verb = self.verb
        field, box = self.query_one(Input), self.query_one(Tick)
        field.display = verb in {"tag", "note"}
        field.placeholder = "the tag, or some with commas between them" if verb == "tag" else "the note"
        with self.prevent(Tick.Changed):
            box.value = False
        self._count()

    def on_option_list_option_selected(self) -> None:
        field = self.query_one(Input)
        if field.display and not field.value.strip():
            field.focus()
        else:
            self._do()

    def on_input_changed(self) -> None:
        self._count()

    def on_input_submitted(self) -> None:
        self._do()

    def on_checkbox_changed(self) -> None:
        self._count()

    def _gathered(self, found: _Gathered) -> None:
        if not self.is_attached:
            return
        self._ids = found.ids
        lines = [
            f"{row.index:>6} {fit(row.instruction or '(no instruction)', _WIDTH).rstrip()}" for row in found.examples
        ]
        if len(found.ids) > len(lines):
            lines.append("     …")
        self.query_one("#heading", Static).update(f"{number(len(found.ids))} rows: {self._about}")
        self.query_one("#examples", Static).update("\n".join(lines))
        self.query_one("#examples", Static).styles.height = len(lines)
        self._count()

    def _count(self) -> None:
        """What would change is counted again: the action is another one."""
        self._plan = None
        if self._ids is None:
            return
        self._work.cancel()
        verb, text = self.verb, self.query_one(Input).value.strip()
        note, tags = text if verb == "note" else "", split(text) if verb == "tag" else ()
        action = BulkAction(verb, note, overwrite=self.query_one(Tick).value, tags=tags)
        self._say("counting what would change ...")
        self._work = Work()
        job: Callable[[], Plan] = partial(survey, self._asker.ui.store, self._ids, action, self._work)
        self._asker.ask("bulk", job, self._counted)

    def _counted(self, plan: Plan) -> None:
        if not self.is_attached:
            return
        self._plan, action = plan, plan.action
        reach, box, held = plan.reach, self.query_one(Tick), _HELD[action.verb]
        box.display = bool(held and reach.held) or action.overwrite
        box.label = Content(f"{held} (o)")
        words = f"{number(reach.changed)} will change"
        if reach.held:
            words += f"; {number(reach.held)} left as you said"
        rest = len(plan.ids) - reach.changed - reach.held
        if rest:
            unfinished = ", or unfinished" if action.verb in {"accept", "reject"} else ""
            words += f"; {number(rest)} so already{unfinished}"
        self._say(words)

    def _do(self) -> None:
        if self._plan is None:
            self._say("still counting: press enter again in a moment")
            return
        action, count = self._plan.action, self._plan.reach.changed
        if action.verb in {"tag", "note"} and not (action.text or action.tags):
            self._say(f"type the {action.verb} first")
        elif not count:
            self._say("nothing would change")
        else:
            self.dismiss(BulkChoice(self._plan.ids, action, count))

    def _say(self, words: str) -> None:
        self.query_one("#reach", Static).update(words)


def _gather(store: Path, query: Query, work: Work) -> _Gathered:
    ids = gather(store, query, work)
    with Reader.open(store) as reader:
        return _Gathered(ids, reader.rows(ids[:EXAMPLES]))
