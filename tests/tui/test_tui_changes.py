"""Edits beside what they were: word by word where that takes no time, in larger parts where it would."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_tui_review_say import Stored
from tui_stage import press, settle, shown

from localsynth.records import Review, Sample
from localsynth.store import Store
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.widgets import changes as comparing
from localsynth.tui.widgets import conversation as drawing
from localsynth.tui.widgets.changes import changes
from localsynth.tui.widgets.conversation import View, conversation, rendered

WORDS = " ".join(f"w{n}" for n in range(300))
SENTENCES = " ".join(f"This is sentence {n}." for n in range(300))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a b c", "a x c", "a [-b-]{+x+} c"),
        ("", "new", "{+new+}"),
        ("a a a", "a a", "a a[- a-]"),
        (f"{WORDS} old {WORDS}", f"{WORDS} new {WORDS}", f"{WORDS} [-old-]{{+new+}} {WORDS}"),
        (f"One. {SENTENCES} One.", f"Two. {SENTENCES} Two.", f"[-One.-]{{+Two.+}} {SENTENCES}[- One.-]{{+ Two.+}}"),
        ("x\n" * 1000 + "a", "y\n" + "y\nx\n" * 500 + "a", None),
    ],
)
def test_an_edit_reads_word_by_word_and_in_larger_parts_where_it_is_long(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str, expected: str | None
) -> None:
    compared: list[int] = []

    class Counting(difflib.SequenceMatcher):
        def __init__(self, junk: None, old: list[str], new: list[str], *, autojunk: bool) -> None:
            compared.append(max(len(old), len(new)))
            super().__init__(junk, old, new, autojunk=autojunk)

    monkeypatch.setattr(comparing, "difflib", SimpleNamespace(SequenceMatcher=Counting))
    changes.cache_clear()
    found = changes(before, after).plain
    assert found == (expected or f"[-{before[:-3]}-]{{+{after[:-3]}+}}x\na")
    assert all(count <= 400 for count in compared)


def test_only_little_is_compared_or_coloured_within_a_key_press(
    path: Path, run: str, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: list[str] = []
    monkeypatch.setattr(drawing, "changes", lambda before, after: slow.append(before) or changes(before, after))
    monkeypatch.setattr(drawing, "markdown", lambda text: slow.append(text) or text)
    code = "```makefile\n" + "a" * 600 + "\n```"
    with Store.open(path) as store:
        store.save([Review(Sample(run, 0).id, "accept", edits={1: code})])
    row = stored(run, 0)
    first = conversation(row, View(differences=True)).plain
    assert (slow, "being compared" in first, "aaaa" in first) == ([], True, True)
    found = rendered(row)
    slow.clear()
    assert "{+```makefile" in conversation(row, View(differences=True, rendered=found)).plain
    conversation(row, View(rendered=found))
    assert slow == []


async def test_the_changes_of_a_long_edit_are_shown_before_it_is_saved(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "D")
        row = app.screen.list.row
        app.screen._verdicts.give = lambda review: None
        app.screen.edit_row(row, {1: "Anew. " + "long " * 200})
        while app.screen._busy or len(app.workers):
            await pilot.pause()
        await pilot.pause()
        assert "{+Anew" in shown(app)
        app.screen.pending.clear()
