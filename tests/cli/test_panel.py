"""The live panel and its one-line form: 80 columns, whatever a model wrote."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from localsynth.cli.panel import duration, eta, panel, rule_name, status_line
from localsynth.cli.runs import _details
from localsynth.events import Pace, Progress
from localsynth.printable import fit, one_line
from localsynth.store.rows import RunRow

HOSTILE = "\x1b[31m[bold red]red[/]\x1b]0;title\x07 [link=http://x]x[/link]\u202eevil\n\n机器学习" * 40
ROW = RunRow(
    "01J", 3, None, "magpie", "scripted", "some-model", None, None, None, {}, 7, 20, "running", {}, "", None, None,
    None, None, None, None,
)  # fmt: skip
PROGRESS = Progress(
    state="running", kept=12, target=20, asked=31, rejected={"instruction.too_short": 4, "answer.cut_off": 2},
    answering=5, waiting=3, slots=8, slots_used=8, tokens=5000, tokens_per_second=321.4, tokens_saved=900,
    duplicate_rate=0.031, elapsed=75, eta_low=40, eta_high=70, live=HOSTILE, last_instruction=HOSTILE,
    last_response=HOSTILE,
)  # fmt: skip


def drawn(progress: Progress | None, note: str = "", height: int = 24) -> str:
    screen = Console(file=io.StringIO(), width=80, height=height, force_terminal=False, color_system=None)
    screen.print(panel(ROW, progress, note, screen.size))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_hostile_text_neither_acts_nor_breaks_the_frame() -> None:
    text = drawn(PROGRESS, "finishing what is in flight")
    lines = text.splitlines()
    assert len(lines) <= 24
    assert all(character not in text for character in "\x1b\x07\u202e")
    assert "[bold red]red[/]" in text
    widths = {cell_len(line) for line in lines}
    assert widths == {80}
    for words in ("run 3: some-model", "12 of 20 kept", "40 s to 1 min 10 s left", "question too short 4",
                  "answer cut off 2", "321 tokens/s", "900 tokens saved", "3% duplicates", "8/8 slots", "last kept",
                  "finishing what is in flight"):  # fmt: skip
        assert words in text


def test_wide_characters_do_not_make_the_panel_higher() -> None:
    narrow, wide = (
        drawn(dataclasses.replace(PROGRESS, last_instruction=text, last_response=text, live=text))
        for text in ("a" * 200, "机器学习" * 50)
    )
    assert len(wide.splitlines()) == len(narrow.splitlines())


def test_before_the_first_progress_the_model_loads() -> None:
    assert "loading the model" in drawn(None)
    assert status_line(ROW, None) == "run 3: running, loading the model"


def test_the_line_says_the_same() -> None:
    assert status_line(ROW, PROGRESS) == (
        "run 3: running, 12/20 kept, 6 rejected, 321 tokens/s, 900 tokens saved by the gate, 40 s to 1 min 10 s left"
    )


def test_the_time_left() -> None:
    assert eta(Progress("running", 1, 5)) == "time left not known yet"
    assert eta(Progress("finished", 5, 5, elapsed=3)) == "took 3 s"
    assert [duration(s) for s in (5, 65, 1200, 7260)] == ["5 s", "1 min 5 s", "20 min", "2 h 1 min"]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("instruction.too_short", "question too short"),
        ("follow_up_2.loop", "follow up 2 loop"),
        ("review", "review"),
        ("answer.\x1b[2J", "answer \ufffd[2J"),
    ],
)
def test_rules_have_names(rule: str, name: str) -> None:
    assert rule_name(rule) == name


@pytest.mark.parametrize("text", ["", "abc", "机器学习是什么", "e\u0301" * 30, HOSTILE, "a" * 99])
def test_a_fitted_text_takes_exactly_its_columns(text: str) -> None:
    for width in (1, 7, 20):
        fitted = fit(text, width)
        assert cell_len(fitted) == width
        assert "\n" not in fitted
    assert fit("abc", 5) == "abc  "
    assert one_line("a\nb", 9) == "a b"


def test_details_leave_out_what_only_charts_need() -> None:
    found = {"run": 3, "state": "finished"} | dataclasses.asdict(
        dataclasses.replace(PROGRESS, latest=(1, 2), pace=Pace(75.0, kept=12))
    )
    names = [line[:18].strip() for line in _details(found)]
    assert "tokens saved" in names
    assert not {"pace", "latest"} & set(names)
