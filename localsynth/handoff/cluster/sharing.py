"""Duplicate keys that the shards of a job share while they run.

What is promised: an instruction that another shard was first to admit, by the time this one asks, is rejected here
before an answer is paid for: the same normalised text, or one that has nearly the same runs of four characters
(`minhash.near_limit`), where MinHash finds it. Which of two shards is first depends on their pace, so with shared
keys the rows of a shard depend on the others. Without them, or where they are out of reach, nothing else changes:
`merge` compares all shards in a fixed order and has the last word, by embeddings as well.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from localsynth.filters.duplicates import exact_duplicate, instruction_key, normalise
from localsynth.filters.findings import Finding
from localsynth.handoff.cluster.index import Entry, Held, KeyIndex
from localsynth.handoff.cluster.minhash import band_keys, shingles
from localsynth.records import sample_place
from localsynth.store.queries import Reader

_BATCH = 1000
_UNSIGNED = (1 << 64) - 1

# The life of the server that is asked, and entries; what holds them, or None where the server has begun a new life.
Ask = Callable[[str, list[Entry]], list[Held | None] | None]


def entry(sample: int, text: str, *, near: bool) -> Entry:
    """What is shared of an instruction: with `near` its MinHash bands as well as its exact key."""
    keys = (instruction_key(text) & _UNSIGNED).to_bytes(8, "little")
    plain = normalise(text)
    return Entry(sample, plain, keys + (band_keys(shingles(plain)).astype("<u8").tobytes() if near else b""))


def admitted(store: Path, *, near: bool) -> Iterator[Entry]:
    """The entries of what a shard's store admitted, by sample."""
    with Reader.open(store) as reader:
        ids = iter(sorted(sample for sample, _ in reader.instruction_keys()))
        while batch := list(islice(ids, _BATCH)):
            for row in reader.rows(batch):
                yield entry(row.id, row.instruction, near=near)


class KeyServer:
    """The shared keys of one job: one process has them, the shards ask it.

    It can die at any time: its next life begins with the keys of the shards at which nobody is at work, and every other
    shard hands in its own again when it hears of a life that it does not know.
    """

    def __init__(self, stores: Sequence[Path], *, near: bool) -> None:
        """`stores`: of all shards, whether they exist yet or not."""
        self._life, self._index = secrets.token_hex(8), KeyIndex()
        for store in stores:
            # A store that is being written has a log beside it, and may be on another machine: it is left alone.
            if store.exists() and not _log(store):
                self._index.claim(list(admitted(store, near=near)))

    def life(self) -> str:
        """Tells this server from the one before it."""
        return self._life

    def claim(self, life: str, entries: list[Entry]) -> list[Held | None] | None:
        """Take in, in order, what nothing holds yet, and say what holds the others; None for another life."""
        return self._index.claim(entries) if life == self._life else None


class SharedKeys:
    """One shard's side, what the engine asks between the rules of its own store and the answers."""

    def __init__(self, store: Path, life: Callable[[], str], ask: Ask, *, near: bool) -> None:
        """`life` and `ask` reach a KeyServer; both may raise ConnectionError, and the shard goes on alone."""
        self._store, self._near = store, near
        self._server_life, self._ask = life, ask
        self._life = ""
        self._lock = threading.Lock()

    def claim(self, samples: Sequence[int], texts: Sequence[str]) -> list[Finding | None]:
        """For each instruction that passed here: the finding where another shard has it already."""
        entries = [entry(sample, text, near=self._near) for sample, text in zip(samples, texts, strict=True)]
        try:
            with self._lock:
                held = self._held(entries)
        except ConnectionError:
            return [None] * len(entries)
        return [_finding(found) if found else None for found in held]

    def _held(self, entries: list[Entry]) -> list[Held | None]:
        held = self._ask(self._life, entries) if self._life else None
        while held is None:
            self._life = self._server_life()
            self._publish()
            held = self._ask(self._life, entries)
        return held

    def _publish(self) -> None:
        own = admitted(self._store, near=self._near)
        while batch := list(islice(own, _BATCH)):
            if self._ask(self._life, batch) is None:
                return  # it died meanwhile: the next answer says so again


def _log(store: Path) -> int:
    """Bytes in the log beside a store; who only read it leaves an empty one."""
    try:
        return store.with_name(f"{store.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _finding(held: Held) -> Finding:
    name = f"{sample_place(held.sample)[1]} of another shard"
    if held.similarity == 1.0:
        return exact_duplicate(name)
    reason = f"{held.similarity:.3f} like {name}, by runs of four characters"
    return Finding("near_duplicate", False, held.similarity, reason)
