"""The half of the new run's screen that changes settings; the other half shows the plan and starts it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from localsynth.config import plan_from
from localsynth.engine.planning import topic_language, usual
from localsynth.errors import LocalsynthError, PlanError
from localsynth.importing.reader import instructions, locate
from localsynth.methods.topics import topics
from localsynth.records import Sampling
from localsynth.tui.draft import Draft
from localsynth.tui.job_screen import JobScreen
from localsynth.tui.plan_fields import Setting, as_typed, typed
from localsynth.tui.screens.choose import Choose
from localsynth.tui.screens.field import AskValue
from localsynth.tui.screens.figures import Figures
from localsynth.tui.screens.pick_model import PickModel
from localsynth.tui.screens.topics import ChooseTopics
from localsynth.tui.servers import served_models

_CARD, _OWN = "card", "own"


class EditingScreen(JobScreen):
    """Asks for the value of a setting in the way that suits it, and writes it into the draft."""

    def __init__(self) -> None:
        super().__init__()
        self.draft = Draft()

    def plan_changed(self) -> None:
        """Called when the draft is another than it was."""
        raise NotImplementedError

    def edit(self, setting: Setting) -> None:
        """Change one setting."""
        match setting.kind:
            case "switch":
                self.put({setting.key: not self.draft.value(setting.key)})
            case "choice":
                now = str(self.draft.value(setting.key))
                choose = Choose(setting.label, setting.about, [(each, each) for each in setting.choices], now)
                self.app.push_screen(choose, partial(self._chosen, setting))
            case "model":
                self._edit_model(setting)
            case "sampling":
                self._edit_sampling(setting)
            case "topics":
                self._edit_topics()
            case _:
                ask = AskValue(
                    setting.label, setting.about, as_typed(setting, self.draft), partial(self._wrong, setting)
                )
                self.app.push_screen(ask, partial(self._typed, setting))

    def put(self, values: Mapping[str, Any]) -> None:
        """Write values into the draft, in one step."""
        try:
            self.draft.change(values)
        except PlanError as error:
            self.ui.complain(error)
        self.plan_changed()

    def use_model(self, role: str, name: str) -> None:
        """Make a model of this name ask or answer. Who answers follows whoever asks as long as they are the same."""
        line = self.stock.line(name) if self.stock is not None else None
        if line is not None and line.server is not None:
            url = line.server.url
            backend = "ollama" if line.server.name == "Ollama" else "openai"
            self.ask("served", partial(_served, url), lambda names: self._pick_served(role, backend, url, names))
            return
        values = {"model": name or None, "backend": None, "servers": None, "tokenizer": None}
        self._put_role(role, values)
        if name and self.lacks(name):
            self.fetch(name)

    def _put_role(self, role: str, values: Mapping[str, Any]) -> None:
        follows = role == "ask" and all(
            self.draft.given(f"ask.{key}") == self.draft.given(f"answer.{key}") for key in values
        )
        roles = ("ask", "answer") if follows else (role,)
        self.put({f"{each}.{key}": value for each in roles for key, value in values.items()})

    def _chosen(self, setting: Setting, value: str | None) -> None:
        if value is not None:
            self.put({setting.key: value})

    def _typed(self, setting: Setting, text: str | None) -> None:
        if text is None:
            return
        value = typed(setting, text)
        self.put({setting.key: value})
        if setting.kind == "file" and value:
            self.ask("count", partial(_count, str(value)), self._counted)

    def _counted(self, count: int) -> None:
        self.put({"target": count})
        self.ui.say(f"The file has {count:,} instructions: all of them are to be answered.")

    def _wrong(self, setting: Setting, text: str) -> str:
        """What would be wrong with this value, "" for nothing; faults of other settings do not matter here."""
        before = self.draft.fault()
        try:
            trial = Draft()
            trial.load(self.draft.text)
            trial.put(setting.key, typed(setting, text))
            plan_from(usual(trial.tables()))
        except ValueError as error:
            return str(error)
        except PlanError as error:
            return "" if before is not None and before.message == error.message else error.message
        return ""

    def _edit_model(self, setting: Setting) -> None:
        if self.stock is None:
            self.ui.say("Still looking at what there is: try again in a moment.")
            return
        role = setting.key.partition(".")[0]
        title = "Who asks" if role == "ask" else "Who answers"
        pick = PickModel(title, self.stock, str(self.draft.value(setting.key)))
        self.app.push_screen(pick, partial(self._picked, role))

    def _picked(self, role: str, name: str | None) -> None:
        if name is not None:
            self.use_model(role, name)

    def _pick_served(self, role: str, backend: str, url: str, names: list[str]) -> None:
        def take(name: str | None) -> None:
            if name is not None:
                self._put_role(role, {"model": name, "backend": backend, "servers": [url], "tokenizer": None})

        if names:
            self.app.push_screen(Choose("Model", f"{url} serves these.", [(name, name) for name in names], ""), take)
        else:
            ask = AskValue(
                "Model", f"{url} does not tell what it serves: what does it call the model?", "", lambda _: ""
            )
            self.app.push_screen(ask, take)

    def _edit_sampling(self, setting: Setting) -> None:
        role, now = setting.key.partition(".")[0], self.draft.given(setting.key)
        choices = [(_CARD, "as the model's card says"), (_OWN, "figures of your own ...")]
        if role == "ask":
            choices[1:1] = [
                ("air", "air: the paper's mix for Magpie-Air"),
                ("pro", "pro: the paper's mix for Magpie-Pro"),
            ]
        current = now if isinstance(now, str) else _OWN if now else _CARD
        choose = Choose("Sampling", setting.about, choices, current)
        self.app.push_screen(choose, partial(self._sampled, setting, role))

    def _sampled(self, setting: Setting, role: str, how: str | None) -> None:
        if how is None:
            return
        if how == _OWN:
            figures = Figures(role, _first(self.draft.given(setting.key), role))
            self.app.push_screen(figures, lambda found: self.put({setting.key: [found]}) if found else None)
        else:
            self.put({setting.key: None if how == _CARD else how})

    def _edit_topics(self) -> None:
        note = ""
        try:
            ready = topics(topic_language(str(self.draft.value("language"))), int(self.draft.value("turns")))
        except (LocalsynthError, ValueError) as error:
            ready, note = [], str(error)
        systems = self.draft.value("systems")
        chosen = [each for each in systems if isinstance(each, Mapping)] if isinstance(systems, list) else []
        self.app.push_screen(ChooseTopics(ready, chosen, note), self._topics_chosen)

    def _topics_chosen(self, systems: list[dict[str, Any]] | None) -> None:
        if systems is not None:
            self.put({"systems": systems or None})


def _first(value: Any, role: str) -> Mapping[str, Any]:
    """The figures to begin with."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return value[0]
    usual_one = Sampling(max_tokens=512) if role == "ask" else Sampling(temperature=0.0, max_tokens=1024)
    return (
        value
        if isinstance(value, Mapping)
        else {"temperature": usual_one.temperature, "max_tokens": usual_one.max_tokens}
    )


def _count(path: str) -> int:
    return max(1, sum(1 for _ in instructions(locate(path))))


def _served(url: str) -> list[str]:
    """None told is no error: the name can be typed."""
    try:
        return served_models(url)
    except LocalsynthError:
        return []
