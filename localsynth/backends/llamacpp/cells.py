"""What the key and value cache of each slot holds, and where a new prompt can start from cells that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from localsynth.backends.llamacpp.library import library
from localsynth.backends.llamacpp.saved import Saved, SavedRows

# Copying takes a whole cache; below this many tokens, computing them again is quicker.
_WORTH_A_COPY = 16
_WORTH_RESTORING = 2


@dataclass(slots=True)
class Slot:
    """One sequence. `tokens`: what its cells were computed from, the first `pieces` of them as pieces of a prompt and
    the others one at a time."""

    number: int
    tokens: list[int] = field(default_factory=list)
    pieces: int = 0
    live: bool = False


class Cells:
    """The slots of one context.

    A token that was decoded beside others one at a time has other last bits in its cells than the same token read as
    part of a prompt, so with `exact` a prompt takes over only cells that were computed as its own would be: a row then
    never depends on what ran before it. `partial`: whether the model's memory can be cut at any token (recurrent ones
    cannot). `length`: tokens that one slot holds; `spare`: bytes for rows that will be continued.
    """

    def __init__(self, context: int, slots: int, length: int, *, exact: bool, partial: bool, spare: int) -> None:
        self._llama: Any = library()
        self._memory = self._llama.llama_get_memory(context)
        self._length = length
        self._exact, self._partial = exact, partial
        self._saved = SavedRows(context, spare if partial else 0)
        self.slots = [Slot(number) for number in range(slots)]

    def take(self, prompt: Sequence[int], pieces: int) -> Slot:
        """Make a free slot live whose cells hold as much of the prompt as can be had; the rest is cut off.

        `pieces`: how many of its tokens are to be read as pieces; the others are decoded one at a time.
        """
        idle = [slot for slot in self.slots if not slot.live]
        if not self._partial:
            chosen = idle[0]
            self._cut(chosen, 0)
        else:
            chosen = self._best(idle, prompt, pieces)
        chosen.live = True
        return chosen

    def _best(self, idle: list[Slot], prompt: Sequence[int], pieces: int) -> Slot:
        shared = [self._shared(slot, prompt, pieces) for slot in self.slots]
        chosen = max(idle, key=lambda slot: shared[slot.number])
        donor = max(self.slots, key=lambda slot: shared[slot.number])
        # An idle slot with little to lose takes what comes from elsewhere.
        target = min(idle, key=lambda slot: (len(slot.tokens), slot.number))
        length = shared[chosen.number]
        kept = max(self._saved, key=lambda row: self._shared(row, prompt, pieces), default=None)
        in_store = self._shared(kept, prompt, pieces) if kept else 0
        if kept and in_store >= max(length, shared[donor.number]) + _WORTH_RESTORING:
            chosen, length = target, in_store if self._restore(kept, target) else 0
        elif shared[donor.number] >= length + _WORTH_A_COPY:
            chosen, length = target, shared[donor.number]
            self._copy(donor, target)
        self._cut(chosen, length)
        return chosen

    def fill(self, slot: Slot, prompt: Sequence[int]) -> bool:
        """Have a live slot hold a whole prompt that is read as pieces, if need be from a slot that has read it since;
        False where none has."""
        whole = len(prompt)
        if len(slot.tokens) == whole:
            return True
        donor = max(self.slots, key=lambda each: self._shared(each, prompt, whole))
        if self._shared(donor, prompt, whole) < whole or (len(donor.tokens) > whole and not self._partial):
            return False
        self._copy(donor, slot)
        self._cut(slot, whole)
        return True

    def keep(self, slot: Slot, length: int) -> None:
        """Cut a live slot's cells to their first `length` tokens."""
        self._cut(slot, length if self._partial else 0)

    def free(self, slot: Slot, *, save: bool = False) -> None:
        """The row is over; its cells stay for a prompt that begins alike. `save`: another row takes its text up."""
        slot.live = False
        if save:
            self._saved.save(slot.number, slot.tokens, slot.pieces)

    def gap(self) -> tuple[Slot, Slot] | None:
        """The highest live slot and the lowest idle one below it.

        llama.cpp computes neighbouring sequences together; each gap between live slots costs another pass over all
        weights.
        """
        idle = next((slot for slot in self.slots if not slot.live), None)
        live = next((slot for slot in reversed(self.slots) if slot.live), None)
        return (live, idle) if idle and live and idle.number < live.number else None

    def move(self, source: Slot, target: Slot) -> None:
        """Let a live row go on in an idle slot."""
        self._copy(source, target)
        target.live, source.live = True, False

    def companions(self, live: set[int]) -> list[Slot]:
        """Idle slots that keep lone ones company.

        llama.cpp computes each run of neighbouring slots apart, and some types of weights take another path, with
        other last bits, for one row than for several; so with `exact` no row is computed alone.
        """
        if not self._exact:
            return []
        last = len(self.slots) - 1
        alone = (number for number in live if number - 1 not in live and number + 1 not in live)
        chosen = {number + 1 if number < last else number - 1 for number in alone}
        for number in chosen:
            if not self._partial or len(self.slots[number].tokens) >= self._length:
                self._cut(self.slots[number], 0)
        return [self.slots[number] for number in chosen]

    def forget_company(self, slots: list[Slot]) -> None:
        """Take back the cell that each companion was given behind its last one."""
        for slot in slots:
            self._llama.llama_memory_seq_rm(self._memory, slot.number, len(slot.tokens) or -1, -1)

    def _copy(self, source: Slot, target: Slot) -> None:
        # Between separate caches, llama.cpp copies whole sequences only.
        self._llama.llama_memory_seq_rm(self._memory, target.number, -1, -1)
        self._llama.llama_memory_seq_cp(self._memory, source.number, target.number, -1, -1)
        target.tokens, target.pieces = list(source.tokens), source.pieces

    def _restore(self, saved: Saved, target: Slot) -> bool:
        self._cut(target, 0)
        if not self._saved.restore(saved, target.number):
            self._llama.llama_memory_seq_rm(self._memory, target.number, -1, -1)
            return False
        target.tokens, target.pieces = list(saved.tokens), saved.pieces
        return True

    def _cut(self, slot: Slot, length: int) -> None:
        if len(slot.tokens) == length:
            return
        self._llama.llama_memory_seq_rm(self._memory, slot.number, length or -1, -1)
        del slot.tokens[length:]
        slot.pieces = min(slot.pieces, length)

    def _shared(self, held: Slot | Saved, prompt: Sequence[int], pieces: int) -> int:
        """How many leading cells are what the prompt's own would be."""
        length = _alike(held.tokens, prompt)
        return length if held.pieces == pieces or not self._exact else min(length, held.pieces, pieces)


def _alike(tokens: list[int], prompt: Sequence[int]) -> int:
    """How many tokens both begin with; slices compare in C, so halving beats a loop."""
    low, high = 0, min(len(tokens), len(prompt))
    if tokens[:high] == prompt[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if tokens[low:middle] == prompt[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
