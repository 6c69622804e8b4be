"""Hand-off: what is chosen on the left, the step under the cursor on the right with its command, its result below."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Resize
from textual.widgets import OptionList, Static

from localsynth.config import plan_from
from localsynth.engine.plan_toml import plan_toml
from localsynth.errors import PlanError
from localsynth.store import RunRow
from localsynth.tui import export_words, handoff_words, plan_files
from localsynth.tui.child_screen import ChildScreen
from localsynth.tui.draft import Draft
from localsynth.tui.handoff_choices import STARTS, STEPS, Handoff, Step, shard_files, step_of
from localsynth.tui.screens.choose import Choose
from localsynth.tui.screens.field import AskValue
from localsynth.tui.widgets.form_list import FormList
from localsynth.tui.widgets.reading import Reading

_NEW, _FILE = "new", "file"
_TOLD = {
    "estimate": "It generates for a minute; it ends with the UI. X cancels it.",
    "merge": "It goes on when you leave the UI; X cancels it.",
}


class HandoffPart(Vertical):
    """Each step is a child process; all but the estimate go on when the UI is left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "do", "Do the step", id="handoff.do", tooltip="Do the step that the cursor is in"),
    ]

    def __init__(self) -> None:
        super().__init__(id="handoff-part", classes="part")
        self.choices = Handoff()
        self._runs: tuple[RunRow, ...] = ()
        self._run: str | None = None

    @property
    def host(self) -> ChildScreen:
        """The screen around it."""
        return cast("ChildScreen", self.screen)

    @property
    def step(self) -> Step:
        """The step that the cursor is in."""
        return step_of(self.query_one("#handoff-form", FormList).here)

    def compose(self) -> ComposeResult:
        with Horizontal(id="handoff-top"):
            yield FormList(id="handoff-form")
            with Reading("Step", id="handoff-step"):
                yield Static("", id="handoff-command", markup=False)
        with Reading("Result", id="handoff-result"):
            yield Static("", id="handoff-outcome", markup=False)

    def on_mount(self) -> None:
        self.query_one("#handoff-result").display = False

    def on_resize(self, event: Resize) -> None:
        del event
        self.show_step()

    def copy_text(self) -> str:
        """The result where the focus is on it, else the command of the step."""
        focused = self.screen.focused
        if focused is not None and focused.id == "handoff-result":
            return str(self.query_one("#handoff-outcome", Static).content)
        return self.choices.command(self.step, self.host.ui.store)

    def show_runs(self, runs: tuple[RunRow, ...]) -> None:
        """Take the plan as it is now; `runs` are those that have one, newest first."""
        self._runs = runs
        if not self.choices.plan_file:
            self._use_plan(self._run)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.show_step()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        match event.option_id or "":
            case "plan":
                runs = [(row.id, f"the plan of {export_words.run_name(row)}") for row in self._runs]
                plans = [(_NEW, "the plan on the screen New run"), (_FILE, "a file ..."), *runs]
                self.app.push_screen(Choose("Plan", "What is to be made.", plans, self._run or _NEW), self._plan_chosen)
            case "start":
                starts = list(STARTS.items())
                choose = Choose("Start", "What happens on the host.", starts, self.choices.start)
                self.app.push_screen(choose, lambda value: self._change(start=value) if value else None)
            case "follow":
                self._change(follow=not self.choices.follow)
            case line if line in STEPS:
                self.action_do()
            case setting:
                self._type(setting)

    def action_do(self) -> None:
        step = self.step
        job = self.host.jobs.get(key_of(step))
        missing = self.choices.missing(step)
        if job is not None and job.state == "running":
            self.host.ui.say(f"{job.title}: it is at work; X cancels it.")
        elif missing:
            self.host.ui.say(missing[:1].upper() + missing[1:])
        elif step == "merge" and not self.choices.follow:
            self.host.ask("shards", partial(shard_files, self.choices), partial(self._start, step))
        else:
            self._start(step, [])

    def show_step(self) -> None:
        """Show the step under the cursor and how it went."""
        step, choices = self.step, self.choices
        box = self.query_one("#handoff-step", Reading)
        box.border_title = handoff_words.TITLES[step]
        command = choices.command(step, self.host.ui.store)
        self.query_one("#handoff-command", Static).update(handoff_words.step(step, command, choices.missing(step)))
        job, result = self.host.jobs.get(key_of(step)), self.query_one("#handoff-result", Reading)
        result.display = job is not None
        if job is not None:
            result.border_title = job.title
            width = max(40, self.screen.size.width - 4)
            text = handoff_words.outcome(step, job, self.host.ui.store.name, width)
            self.query_one("#handoff-outcome", Static).update(text)

    def _start(self, step: Step, shards: list[Path]) -> None:
        choices, store = self.choices, self.host.ui.store
        titles = {
            "estimate": "Estimating the time",
            "pack": f"Packing {choices.target.name}",
            "submit": f"Copying {choices.target.name} to {choices.host}",
            "fetch": f"Fetching from {choices.host}",
            "merge": f"Merging into {store.name}",
        }
        arguments = choices.arguments(step, store, shards)
        text = "" if choices.plan_file else choices.plan_text
        self.host.start_job(key_of(step), titles[step], arguments, text=text, outlives=step != "estimate")
        self.host.ui.say(_TOLD.get(step, "It goes on when you leave the UI; X cancels it."))

    def _use_plan(self, run: str | None) -> None:
        """The plan of a run, or New run's."""
        row = next((row for row in self._runs if row.id == run), None)
        self._run = row.id if row is not None else None
        text, name = self.host.ui.plan or Draft().text, "as on New run (2)"
        if row is not None:
            try:
                text, name = plan_toml(plan_from(row.plan)), f"as run {row.number}"
            except PlanError as error:
                self._run = None
                self.host.ui.complain(error)
        self._change(plan=name, plan_text=text, plan_file="")

    def _plan_chosen(self, value: str | None) -> None:
        if value == _FILE:
            ask = AskValue("Plan", "A plan.toml.", self.choices.plan_file or "plan.toml", plan_files.wrong_source)
            self.app.push_screen(ask, self._file_chosen)
        elif value is not None:
            self._use_plan(None if value == _NEW else value)

    def _file_chosen(self, typed: str | None) -> None:
        if typed is not None:
            path = str(plan_files.named(typed).absolute())
            self._change(plan=path, plan_file=path, plan_text="")

    def _type(self, setting: str) -> None:
        titles = {
            "price": ("GPU price", "What one GPU costs an hour; nothing: no cost."),
            "parameters": ("Model size", "Billions of parameters, where the model's card is silent."),
            "shards": ("Shards", "Parts that run on their own."),
            "folder": ("Folder", "The packed job: a new folder to pack, or one that was packed."),
            "host": ("Host", "HOST or USER@HOST, as in your ssh configuration."),
            "place": ("There", "The folder on the host."),
            "source": ("Shards", "Stores, job/shards/*.db, or a folder; nothing: the packed folder's."),
        }
        now = getattr(self.choices, setting)
        shown = "" if now is None else f"{now:g}" if isinstance(now, float) else str(now)
        ask = AskValue(*titles[setting], shown, partial(_wrong, setting))
        self.app.push_screen(ask, partial(self._typed, setting))

    def _typed(self, setting: str, text: str | None) -> None:
        if text is None:
            return
        value: Any = text.strip()
        if setting in {"price", "parameters"}:
            value = float(value) if value else None
        elif setting == "shards":
            value = int(value) if value else Handoff.__dataclass_fields__["shards"].default
        self._change(**{setting: value or "job" if setting == "folder" else value})

    def _change(self, **values: Any) -> None:
        self.choices = replace(self.choices, **values)
        self.query_one("#handoff-form", FormList).show(self.choices.lines(self.host.ui.store.name))
        self.show_step()


def key_of(step: Step) -> str:
    """The key of a step's job."""
    return f"handoff {step}"


def _wrong(setting: str, text: str) -> str:
    """What is wrong with a value, "" for nothing."""
    value = text.strip()
    if setting == "shards" and value and not (value.isdecimal() and 1 <= int(value) <= 100_000):
        return "type a whole number from 1 to 100,000"
    if setting in {"price", "parameters"} and value:
        try:
            return "" if float(value) >= 0 else "type a number of 0 or more"
        except ValueError:
            return "type a number"
    return ""
