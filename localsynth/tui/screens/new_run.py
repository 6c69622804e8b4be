"""A new run: what it makes, with which models, and how; the same as a plan.toml beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, OptionList, Static

from localsynth.config import SERVED
from localsynth.engine.fitness import refuse_unfit
from localsynth.engine.planning import complete
from localsynth.errors import LocalsynthError, ModelError, PlanError
from localsynth.tui import plan_files, plan_words
from localsynth.tui.editor import edit_text
from localsynth.tui.launcher import Launcher
from localsynth.tui.plan_editing import EditingScreen
from localsynth.tui.plan_facts import Facts, find_facts
from localsynth.tui.plan_fields import SETTINGS
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.screens.field import AskValue
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.settings_list import SettingsList
from localsynth.tui.widgets.title import TitleBar

_MOST = 10_000_000
_ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class _Begun:
    """`run` "": nothing was started, because the asking model is `unfit`."""

    run: str
    target: int
    unfit: str = ""


class NewRunScreen(EditingScreen):
    """The number of pairs is all that must be known; everything else has its usual value."""

    CSS_PATH = "new_run.tcss"
    TITLE = "New run"
    HELP = (
        "Type how many pairs you want and press enter: that is all. tab goes to the settings, where enter changes one; "
        "bold values are in the plan, the others are the usual ones. The plan is saved only when you say so; the run "
        "keeps a copy of its own."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "start", "Start", id="new.start", tooltip="Start the run"),
        Binding("e", "editor", "Editor", id="new.editor", tooltip="Edit the plan in $EDITOR"),
        Binding("d", "doctor", "Doctor", id="new.doctor", tooltip="Check whether the asking model is fit: minutes"),
        Binding("t", "estimate", "Time", id="new.estimate", tooltip="Generate for a minute to say how long it takes"),
        Binding("p", "pull", "Pull", show=False, id="new.pull", tooltip="Fetch the model that the plan lacks"),
        Binding("w", "save", "Save", id="new.save", tooltip="Write the plan into a file"),
        Binding("o", "open", "Open", show=False, id="new.open", tooltip="Read a plan from a file"),
        Binding("z", "undo", "Undo", show=False, id="new.undo", tooltip="Take the last change of the plan back"),
        Binding("X", "cancel_job", "Cancel", show=False, id="new.cancel", tooltip="Cancel the job that is at work"),
        Binding("down", "settings", "Settings", show=False, id="new.settings", tooltip="Go to the settings"),
        Binding("escape", "leave", "Runs", show=False, id="new.leave", tooltip="Back to the runs; the plan stays"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._facts: Facts | None = None
        self._file: Path | None = None
        self._target_fault = ""
        self._wished = ""

    def compose(self) -> ComposeResult:
        yield TitleBar("new", self.ui.store.name)
        with Horizontal(id="top"):
            yield Static("How many pairs shall be kept?", id="question")
            yield Input("", type="integer", id="target", max_length=8, compact=True)
            yield Static("enter starts, tab: settings", id="start-hint")
        yield Static("", id="plan-state", markup=False)
        with Horizontal(id="main"):
            yield SettingsList()
            with Vertical(id="beside"):
                yield _Titled("Doctor", id="doctor")
                yield _Titled("Time", id="estimate")
                with VerticalScroll(id="toml-box"):
                    yield Static("", id="toml", markup=False)
        yield Static("", id="jobs", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one("#jobs").display = False
        self.query_one("#toml-box").border_title = "plan.toml"
        self.query_one(SettingsList).focus()
        self.plan_changed()

    def on_screen_resume(self) -> None:
        wish, self.ui.wish = self.ui.wish, None
        if wish is not None:
            field = self.query_one("#target", Input)
            field.focus()
            field.action_select_all()
            self._wished = wish
            self._grant()
        self._look_at_plan()

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "facts":
            self._take_facts(Facts(error))

    def stock_taken(self) -> None:
        self._grant()
        self._show_beside()

    def jobs_moved(self) -> None:
        self._show_beside()

    def job_ended(self) -> None:
        self._look_at_plan()

    def plan_changed(self) -> None:
        self._target_fault = ""
        self.ui.plan = self.draft.text
        field, target = self.query_one("#target", Input), str(self.draft.value("target"))
        if field.value != target:
            with self.prevent(Input.Changed):
                field.value = target
        self._facts = None
        self.query_one(SettingsList).show(self.draft, self.draft.fault())
        self.query_one("#toml", Static).update(plan_words.toml(self.draft.text))
        self._show_beside()
        self._look_at_plan()

    def on_input_changed(self, event: Input.Changed) -> None:
        typed = event.value.strip()
        target = int(typed) if typed.isdecimal() else 0
        if 1 <= target <= _MOST:
            try:
                self.draft.put("target", target, typing=True)
            except PlanError as error:
                self.ui.complain(error)
            self.plan_changed()
        else:
            self._target_fault = f"Type a number from 1 to {_MOST:,}."
            self._show_beside()

    def on_input_submitted(self) -> None:
        self.action_start()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        setting = SETTINGS.get(event.option_id or "")
        if setting is not None:
            self.edit(setting)

    def action_settings(self) -> None:
        self.query_one(SettingsList).focus()

    def action_leave(self) -> None:
        self.app.switch_mode("runs")

    def action_undo(self) -> None:
        if not self.draft.can_undo:
            self.ui.say("There is nothing to take back.")
        self.draft.undo()
        self.plan_changed()

    def action_editor(self) -> None:
        try:
            text = edit_text(self.app, self.draft.text, ".toml")
        except LocalsynthError as error:
            self.ui.complain(error)
            return
        self.draft.load(text)
        self.plan_changed()

    def action_doctor(self) -> None:
        if self.draft.value("method") != "magpie":
            self.ui.say("Imported questions need no model that asks: there is nothing to check.")
        elif missing := self._missing():
            self.ui.say(f"{missing} is not on this machine: p fetches it.")
        else:
            name = str(self.draft.value("ask.model"))
            self.check(name, self._how())

    def action_estimate(self) -> None:
        if fault := self.draft.fault():
            self.ui.complain(LocalsynthError(fault.message, fault.hint))
            return
        self.start_job(_ESTIMATE, "Measuring", ["estimate", "/dev/stdin", "--seconds", "60"], text=self.draft.text)
        self.ui.say("It generates for a minute; a run that is at work meanwhile spoils the figures. X cancels it.")

    def action_pull(self) -> None:
        missing = self._missing()
        if missing:
            self.fetch(missing)
        else:
            self.ui.say("The models of this plan are here.")

    def action_save(self) -> None:
        about = "The folder must be there. generate --plan FILE takes it too."
        ask = AskValue("Save the plan as", about, str(self._file or "plan.toml"), plan_files.wrong_target)
        self.app.push_screen(ask, self._save)

    def action_open(self) -> None:
        ask = AskValue("Open a plan", "A plan.toml.", str(self._file or "plan.toml"), plan_files.wrong_source)
        self.app.push_screen(ask, self._open)

    def action_start(self) -> None:
        fault = self.draft.fault()
        if self._target_fault:
            self.query_one("#target").focus()
            self._show_beside()
        elif fault is not None:
            self.ui.complain(LocalsynthError(fault.message, fault.hint))
        elif missing := self._missing():
            self.ui.complain(ModelError(f"{missing} is not on this machine", "p fetches it; or choose another model"))
        else:
            self._begin(forced=False)

    def _begin(self, *, forced: bool) -> None:
        job = partial(_begin, self.ui.launcher, self.draft.tables(), forced=forced)
        self.ask("start", job, self._begun, writes="the new run")

    def _begun(self, begun: _Begun) -> None:
        if begun.unfit:
            question = f"{begun.unfit}. Most of what it writes will be thrown away. Go on?"
            self.app.push_screen(Confirm(question, "Go on"), lambda sure: self._begin(forced=True) if sure else None)
            return
        self.ui.run_id = begun.run
        self.ui.say(f"A new run writes {begun.target} pairs. enter watches it, r reviews them.")
        self.app.switch_mode("runs")

    def _save(self, typed: str | None) -> None:
        if typed is None:
            return
        path = Path(typed.strip()).expanduser()
        if path.exists() and path != self._file:
            question = f"{path} is there already. Write over it?"
            self.app.push_screen(Confirm(question, "Write"), lambda sure: self._write(path) if sure else None)
        else:
            self._write(path)

    def _write(self, path: Path) -> None:
        def then(_: None) -> None:
            self._file = path
            self.ui.say(f"The plan is in {path}.")

        self.ask("save", partial(plan_files.write, path, self.draft.text), then, writes=f"the plan {path}")

    def _open(self, typed: str | None) -> None:
        if typed is None:
            return
        path = Path(typed.strip()).expanduser()

        def then(text: str) -> None:
            self._file = path
            self.draft.load(text)
            self.plan_changed()

        self.ask("open", partial(plan_files.read, path), then)

    def _grant(self) -> None:
        """Use the model that was asked for, as soon as it is known where that is."""
        if self._wished and self.stock is not None:
            wished, self._wished = self._wished, ""
            self.use_model("ask", wished)

    def _look_at_plan(self) -> None:
        if self.draft.fault() is None:
            self.ask("facts", partial(find_facts, self.ui.store, self.draft.tables()), self._take_facts)

    def _take_facts(self, facts: Facts) -> None:
        self._facts = facts
        self._show_beside()

    def _show_beside(self) -> None:
        fault = self.draft.fault()
        state = plan_words.state(fault, self._facts, self._missing())
        self.query_one("#plan-state", Static).update(self._target_fault or state)
        checkup = self.jobs.get(f"doctor {self.draft.value('ask.model')}")
        self.query_one("#doctor", Static).update(plan_words.report(self._facts, checkup))
        target = self.draft.value("target")
        measured = plan_words.estimate(target if isinstance(target, int) else 0, self._facts, self.jobs.get(_ESTIMATE))
        self.query_one("#estimate", Static).update(measured)

    def _missing(self) -> str:
        """The first model of the plan that is not on this machine and can be fetched, "" for none."""
        roles = ["ask"] if self.draft.value("method") == "magpie" else []
        roles += [] if self.draft.value("instructions_only") else ["answer"]
        for role in roles:
            name = str(self.draft.value(f"{role}.model"))
            served = str(self.draft.value(f"{role}.backend")) in {*SERVED, "scripted"}
            if name and not served and not self.draft.given(f"{role}.servers") and self.lacks(name):
                return name
        return ""

    def _how(self) -> list[str]:
        """The doctor's options for the asking model."""
        options = [("--backend", self.draft.given("ask.backend")), ("--tokenizer", self.draft.given("ask.tokenizer"))]
        servers = self.draft.given("ask.servers") or []
        options += [("--server", url) for url in servers]
        return [str(part) for name, value in options if value for part in (name, value)]


class _Titled(Static):
    def __init__(self, title: str, *, id: str) -> None:  # noqa: A002
        super().__init__("", id=id, markup=False)
        self.border_title = title


def _begin(launcher: Launcher, tables: dict[str, Any], *, forced: bool) -> _Begun:
    plan = complete(tables, lambda _: None)
    plan = replace(plan, force=True) if forced else plan
    try:
        refuse_unfit(plan)
    except ModelError as error:
        return _Begun("", plan.target, error.message[:1].upper() + error.message[1:])
    run = launcher.create(plan)
    launcher.start(run)
    return _Begun(run, plan.target)
