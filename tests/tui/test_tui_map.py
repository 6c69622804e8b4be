from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import processes
import pytest
from textual.pilot import Pilot
from tui_stage import notices, press, settle, shown

from localsynth.engine.embed import CHARACTERS, at_work
from localsynth.errors import MissingPackage, NotFound, StoreBusy
from localsynth.records import Embedding, Sample, Score, Turn
from localsynth.store import Reader, Store
from localsynth.tui import map_texts
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.embedder import Embedder, EmbedView, cost
from localsynth.tui.screens.map import MapScreen
from localsynth.tui.widgets.sample_list import SampleList

# Rows of three tight clusters, far from each other: indices by cluster.
CLUSTERS = (range(12), range(12, 19), range(19, 23))
CENTRES = np.array([[4, 0, 0, 0, 0, 0], [-2, 3, 0, 0, 0, 0], [-2, -3, 0, 0, 0, 0]])


def plant(path: Path, encoder: str = "planted", name: str | None = None, shift: float = 0.0) -> str:
    """A run of 23 rows in three clusters of 12, 7 and 4, with a topic and a score each; row 20 is rejected."""
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=23, state="finished", name=name)
        for cluster, rows in enumerate(CLUSTERS):
            for index in rows:
                sample = Sample(run, index, state="done", detail={"topic": ("rivers", "music", "food")[cluster]})
                text = f"Question {index} of [red]cluster[/red] {cluster}: 河流?"
                vector = CENTRES[cluster] + shift + 0.001 * np.sin(np.arange(6) + index)
                store.save(
                    [
                        sample,
                        Turn(sample.id, 0, "user", text, text),
                        Score(sample.id, "words", 1, float(index), None),
                        Embedding(sample.id, "instruction", encoder, "", vector.astype("<f2").tobytes()),
                    ]
                )
        store.save([Score(Sample(run, 20).id, "loops", 1, 1.0, False)])
    return run


def bare(path: Path, rows: int = 6) -> str:
    """A run without embeddings whose gate needs no model."""
    with Store.open(path) as store:
        plan = {"gate": {"encoder": CHARACTERS}}
        run = store.create_run(method="magpie", plan=plan, seed=1, target=rows, state="finished")
        for index in range(rows):
            sample, text = Sample(run, index, state="done"), f"{'river ' * (index % 3)}question {index}"
            store.save([sample, Turn(sample.id, 0, "user", text, text)])
    return run


def screen(app: LocalsynthApp) -> MapScreen:
    found = app.screen_stack[0]
    assert isinstance(found, MapScreen)
    return found


def listed(app: LocalsynthApp) -> list[int]:
    return [row.index for row in app.screen.query_one(SampleList)._rows]


def words(app: LocalsynthApp) -> str:
    """What is on the screen, wherever its lines break and whatever frames it."""
    return " ".join(re.sub("[▁-▟─-╿]", " ", shown(app)).split())


async def until(pilot: Pilot[None], question: Callable[[], object]) -> None:
    """Look again and again until a process of its own has done its part."""
    async with asyncio.timeout(60):
        while not question():
            screen(pilot.app).look()
            await settle(pilot)
            await asyncio.sleep(0.05)


async def test_a_cell_opens_its_rows_and_no_others(path: Path) -> None:
    plant(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "6")
        assert "12 rows here" in shown(app)
        assert "23 rows by planted" in shown(app)
        assert "of [red]cluster[/red] 0: 河流?" in shown(app)
        await press(pilot, "n")
        assert "7 rows here" in shown(app)
        await press(pilot, "enter")
        assert app.current_mode == "review"
        assert listed(app) == list(CLUSTERS[1])
        await press(pilot, "escape")
        assert listed(app) == list(range(23))
        await press(pilot, "6", "n", "enter")
        assert listed(app) == list(CLUSTERS[2])
        await press(pilot, "6", "N", "N", "enter")
        assert listed(app) == list(CLUSTERS[0])


async def test_moving_and_zooming(path: Path) -> None:
    plant(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "6")
        plot, whole = screen(app).plot, screen(app).plot.frame.view
        at = plot.cursor
        await press(pilot, "k", "h")
        assert plot.cursor == (at[0] - 1, at[1] - 1)
        assert "no row here" in shown(app)
        assert "Question" in shown(app)  # the nearest one
        await press(pilot, "enter")
        assert any("No row of ours lies in this cell" in notice for notice in notices(app))
        await press(pilot, "l", "j", "plus")
        assert plot.count == 12
        assert plot.frame.view.width == pytest.approx(whole.width / 1.5)
        assert "zoom 1.5x" in shown(app)
        await press(pilot, "minus", "minus")
        assert plot.frame.view.width == pytest.approx(whole.width * 1.5)
        assert plot.count == 12
        await press(pilot, "g", "L")
        assert plot.frame.view.x == pytest.approx(whole.x + whole.width / 2)
        await press(pilot, "ctrl+u")
        assert plot.frame.view.y == pytest.approx(whole.y + whole.height / 2)
        await press(pilot, "g", *["l"] * 90)
        assert plot.frame.view.x > whole.x  # at the edge the map moves
        await press(pilot, "g", *["minus"] * 12)
        assert plot.frame.view.width < 8 * whole.width
        await press(pilot, "g", "n")
        await pilot.resize_terminal(120, 40)
        await settle(pilot)
        assert (plot.frame.width, plot.frame.height) == (plot.size.width, plot.size.height) == (118, plot.size.height)
        await press(pilot, "n")
        assert plot.count == 12


async def test_the_mouse(path: Path) -> None:
    plant(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "6")
        plot = screen(app).plot
        view, dense = plot.frame.view, plot.cursor
        await pilot.mouse_down("#plot", offset=(40, 8))
        await pilot.hover("#plot", offset=(50, 8))
        await pilot.mouse_up("#plot", offset=(50, 8))
        await settle(pilot)
        assert plot.frame.view.x == pytest.approx(view.x - 10 / plot.frame.width * view.width)
        await press(pilot, "g")
        await pilot.click("#plot", offset=(dense[0], dense[1]))
        await settle(pilot)
        assert (plot.cursor, plot.count) == (dense, 12)
        await pilot.click("#plot", offset=(dense[0], dense[1]), times=2)
        await settle(pilot)
        assert listed(app) == list(CLUSTERS[0])


async def test_colours_and_one_class_at_a_time(path: Path) -> None:
    plant(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "6", "v")
        assert any("c tells them apart" in notice for notice in notices(app))
        await press(pilot, "c")
        assert "run  A run 1 (23)" in shown(app)
        await press(pilot, "c")
        assert "topic  A rivers (12)  B music (7)  C food (4)" in shown(app)
        grid = screen(app).plot.grid
        assert sorted(zip(grid.counts[grid.counts > 0], grid.classes[grid.counts > 0], strict=True)) == [
            (4, 2), (7, 1), (12, 0)
        ]  # fmt: skip
        await press(pilot, "v", "v")
        assert "[B music (7)]" in shown(app)
        assert screen(app).plot.grid.counts.sum() == 7
        await press(pilot, "v", "n", "d", "d")
        assert "[C food (4)]" in shown(app)
        assert "C" in shown(app).splitlines()[screen(app).plot.region.y + screen(app).plot.cursor[1]]
        await press(pilot, "V", "V", "V", "c")
        assert "verdict  A kept (22)  B rejected (1)" in shown(app)
        await press(pilot, "c")
        assert "words  A up to 6 (7)  B up to 11 (5)  C up to 17 (6)  D over 17 (5)" in shown(app)
        await press(pilot, "c", "d")
        assert "rows a cell" in shown(app)
        assert "█" in shown(app)
        await press(pilot, "s")
        await press(pilot, "j", "k", "enter")
        assert screen(app).kind == "score"


async def test_classes_are_letters_where_there_is_no_colour(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    plant(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "6", "c", "c")
        plot = screen(app).plot
        rows = shown(app).splitlines()[plot.region.y : plot.region.bottom]
        assert sorted("".join(rows).split()) == ["A", "B", "C"]
        assert {strip.cell_length for strip in app.screen._compositor.render_strips()} == {80}


async def test_rows_that_come_in_and_other_encoders(path: Path) -> None:
    run = plant(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "6")
        before = screen(app).plot.frame.view
        sample = Sample(run, 40, state="done")
        with Store.open(path) as store:
            vector = CENTRES[2].astype("<f2").tobytes()
            store.save([sample, Embedding(sample.id, "instruction", "planted", "", vector)])
            store.save([Embedding(Sample(run, 0).id, "instruction", "other", "", vector)])
        screen(app).look_anew()
        await settle(pilot)
        assert "24 rows by planted; 1 by other (m)" in shown(app)
        assert screen(app).plot.frame.view == before
        await press(pilot, "m", "j", "enter")
        assert "1 rows by other" in shown(app)
        assert "1 row here" in shown(app)


async def test_another_run_is_laid_under_it(path: Path) -> None:
    first, second = plant(path), plant(path, name="mine", shift=0.001)
    with Store.open(path) as store:  # the third cluster of the first run lies where the second has nothing
        far = np.array([0, 0, 0, 0, 9, 9]).astype("<f2").tobytes()
        store.save([Embedding(Sample(first, index).id, "instruction", "planted", "", far) for index in CLUSTERS[2]])
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "6")
        assert app.run_id == second
        await press(pilot, "o", "enter")
        assert "+ only run 1  underlined: both" in shown(app)
        assert "23 rows of each: ours reach 67 % of the cells of run 1, it reaches 67 % of ours" in words(app)
        assert "within cosine 0.8 of the other set: 83 % of its rows, 83 % of ours" in words(app)
        plot = screen(app).plot
        assert (plot.grid.under & (plot.grid.counts == 0)).sum() == 1
        assert sum(line.count("+") for line in shown(app).splitlines()[plot.region.y : plot.region.bottom]) == 1
        await press(pilot, "o", "enter")
        assert "underlined" not in shown(app)
        await press(pilot, "r")
        assert "46 rows by planted" in shown(app)
        await press(pilot, "n", "enter")
        assert any("those of run 2" in notice for notice in notices(app))


async def test_embedding_what_has_none_then_a_file_to_compare_with(path: Path, tmp_path: Path) -> None:
    run = bare(path)
    file = tmp_path / "others.jsonl"
    file.write_text("".join(json.dumps({"instruction": f"river question {n}"}) + "\n" for n in range(5)))
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "6")
        assert "6 rows could have one" in shown(app)
        await press(pilot, "e")
        assert "6 rows of run 1 have no embedding. Embed them by char-2-4?" in words(app)
        await press(pilot, "n", "e", "y")
        await until(pilot, lambda: screen(app).plot.grid is not None and not at_work(path))
        with Reader.open(path) as reader:
            assert reader.encoders() == {CHARACTERS: 6}
        assert "6 rows by char-2-4" in shown(app)
        await press(pilot, "plus")
        assert "zoom 1.5x" in shown(app)

        await press(pilot, "o")
        app.screen.query_one("#file").value = str(tmp_path / "none.jsonl")
        await press(pilot, "tab" if app.focused.id != "file" else "end", "enter")
        assert any("No such file" in notice for notice in notices(app))
        await press(pilot, "o")
        app.screen.query_one("#file").value = str(file)
        await press(pilot, "tab" if app.focused.id != "file" else "end", "enter")
        assert "none of them into your data" in words(app)
        await press(pilot, "y")
        await until(pilot, lambda: screen(app).figures)
        assert "5 rows of each" in shown(app)
        assert "+ only others.jsonl" in shown(app)
        with Reader.open(path) as reader:
            assert [row.id for row in reader.runs()] == [run]
            assert len(reader.samples()) == 6


async def test_what_cannot_be_embedded_says_why(path: Path, tmp_path: Path) -> None:
    bare(path)
    with Store.open(path) as store:
        sample = Sample(
            store.create_run(method="magpie", plan={"gate": {"encoder": str(tmp_path)}}, seed=1, target=1), 0
        )
        store.save([Sample(sample.run, 0, state="done"), Turn(sample.id, 0, "user", "Why?", "Why?")])
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "6", "e")
        assert any("holds no sentence encoder" in notice for notice in notices(app))


async def test_an_empty_store(path: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "6", "e", "o", "c", "n", "enter", "plus", "j")
        assert "No run yet: press 1" in shown(app)
        assert any("no rows to embed" in notice for notice in notices(app))


HOLD = """
import sys, time
from pathlib import Path
from localsynth.engine.lock import hold
with hold(Path(sys.argv[1]), "", "localsynth embed", "embed.lock") as tell:
    tell({"encoder": "mini", "done": 3, "total": 6, "left": 12.0})
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that embeds the rows of a store, as far as anyone can see."""
    bare(path)
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


async def test_embedding_that_was_started_elsewhere_is_shown_and_ended(
    path: Path, elsewhere: subprocess.Popen[str]
) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "6")
        assert "Embedding: 3 of 6 rows, 12 s left  (e ends it; what is done stays)" in shown(app)
        await press(pilot, "e")
        assert "End the embedding?" in words(app)
        await press(pilot, "n")
        assert elsewhere.poll() is None
        await press(pilot, "e", "y")
        await until(pilot, lambda: elsewhere.poll() is not None)
        assert elsewhere.returncode == -signal.SIGTERM
        await until(pilot, lambda: "Embedding:" not in shown(app))


def ended(embedder: Embedder, store: Path) -> EmbedView | None:
    """How the work stands when it is over."""
    processes.until(lambda: not ((view := embedder.look(store)) and view.live), "the work is over")
    return embedder.look(store)


def test_a_job_that_fails_says_so_and_starts_no_other(path: Path, tmp_path: Path) -> None:
    bare(path)
    embedder = Embedder()
    other = ("embed", "--encoder", CHARACTERS, "--store", str(path))
    embedder.start(path, [("import", str(tmp_path / "none.jsonl"), "--store", str(path)), other], "others")
    view = ended(embedder, path)
    assert view.trouble.startswith(f"there is no file {tmp_path}")
    assert "others failed: there is no file" in map_texts.work(view).plain
    with Reader.open(path) as reader:
        assert reader.encoders() == {}
    embedder.start(path, [other], "again")
    with pytest.raises(StoreBusy, match="being embedded already"):
        embedder.start(path, [other], "twice")
    assert ended(embedder, path) is None
    with Reader.open(path) as reader:
        assert reader.encoders() == {CHARACTERS: 6}
    assert embedder.leave() == []


def test_what_embedding_costs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare(path, 600)
    found = cost(path, None)
    assert (found.rows, found.encoder, found.name, found.missing) == (600, CHARACTERS, CHARACTERS, "")
    assert found.seconds == pytest.approx(6, abs=0.1)

    def absent(_: str) -> Path:
        raise MissingPackage("the starter encoder is not installed", "install it")

    monkeypatch.setattr("localsynth.catalog.encoder_path", absent)
    found = cost(path, "all-minilm-l6-v2")
    assert (found.encoder, found.name) == (CHARACTERS, CHARACTERS)
    question = map_texts.question(found, "run 1")
    assert question.startswith("The starter encoder is not installed. 600 rows of run 1 have no embedding.")
    assert "which needs no model" in question
    with pytest.raises(NotFound, match="not known where the encoder planted is"):
        cost(path, "planted")
