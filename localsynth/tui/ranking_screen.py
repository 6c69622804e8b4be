"""The part of the review screen that ranks what to review next, learned from the decisions so far."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from localsynth.engine.next_review import EVERY, Ranking, keep_order, rank
from localsynth.errors import LocalsynthError
from localsynth.store import Query
from localsynth.store.ranking import ORDER
from localsynth.tui.bulk_screen import BulkScreen
from localsynth.tui.wording import number

if TYPE_CHECKING:
    from localsynth.filters.agreement import Agreement


class RankingScreen(BulkScreen):
    """Learns on demand, and again after every EVERY further decisions; it suggests and never decides."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "u",
            "rank",
            "Useful next",
            show=False,
            id="review.rank",
            tooltip="Most useful to review next: where a classifier learned from your decisions is least sure",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._ranking: Ranking | None = None
        self._decided = 0
        self._stop = threading.Event()

    def decided(self) -> None:
        """A person has accepted or rejected one more row."""
        self._decided += 1
        if self._decided >= EVERY and self.query_in_hand is not None:
            self._decided = 0
            self._learn(self.query_in_hand.run, asked=False)

    def action_rank(self) -> None:
        query, ranking = self.query_in_hand, self._ranking
        if query is None:
            return
        if ranking is not None and ranking.run == query.run and not self._decided:
            self._show(ranking)
        else:
            self.ui.say("Learning from your decisions ...")
            self._decided = 0
            self._learn(query.run, asked=True)

    def on_unmount(self) -> None:
        self._stop.set()

    def _learn(self, run: str, *, asked: bool) -> None:
        self._stop.set()  # what is being learned is out of date
        self._stop = threading.Event()

        def learned(answer: Ranking | LocalsynthError | None) -> None:
            if isinstance(answer, LocalsynthError):
                if asked:
                    self.ui.complain(answer)
            elif answer is not None and self.query_in_hand is not None and self.query_in_hand.run == answer.run:
                self._ranking = answer
                if asked:
                    self._show(answer)
                else:
                    self.ui.say(f"Ranked anew: u shows it. {words(answer.agreement)}")

        self.ask("ranking", partial(_rank, self.ui.store, run, self._stop), learned)

    def _show(self, ranking: Ranking) -> None:
        def kept(_: None) -> None:
            query = self.query_in_hand
            if query is not None and query.run == ranking.run:
                self.open(Query(ranking.run, "unreviewed", order=ORDER, descending=True))
                best, pool = number(len(ranking.suggestions)), number(ranking.looked_at)
                self.ui.say(f"The {best} most useful of {pool} rows come first. {words(ranking.agreement)}")

        self.ask("ranking", partial(keep_order, self.ui.store, ranking), kept, writes="the order to review in")


def words(found: Agreement) -> str:
    """How far a classifier can be trusted, beside what always saying the same would get right."""
    low, high = found.interval
    share = f"{100 * found.share:.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"
    decisions, baseline = number(found.decisions), f"{100 * found.baseline:.0f} %"
    agrees = f"it agrees with {share} of {decisions} held-out decisions"
    if not found.better:
        return f"Not better than always saying {found.constant}, which is right in {baseline}: {agrees}."
    caught = f"it finds {number(found.caught)} of your {number(found.rejected)} rejections"
    return f"By a classifier: {agrees}, always saying {found.constant} with {baseline}; {caught}."


def _rank(store: Path, run: str, stop: threading.Event) -> Ranking | LocalsynthError | None:
    try:
        return rank(store, run, stop.is_set)
    except LocalsynthError as error:
        return error
