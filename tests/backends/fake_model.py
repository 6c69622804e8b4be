"""What the fake server serves: a real tokenizer made of the scripted texts' words, and texts that follow from a seed."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from localsynth.backends.scripted_texts import answer, question
from localsynth.records import derive_seed

BOS, START, END = "<|startoftext|>", "<|im_start|>", "<|im_end|>"
BOS_ID, START_ID, END_ID = 0, 1, 2
MODEL = "tiny-chat"
CONTEXT = 4096
TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
ASK = f"{BOS}{START}system\nYou are a helpful assistant.{END}\n{START}user\n"
ANSWER = f"{ASK}Tell me about honey bees.{END}\n{START}assistant\n"


def write_model(folder: Path) -> Path:
    """tokenizer.json and tokenizer_config.json: bytes, and every word that the scripted texts hold."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [question(seed) for seed in range(300)] + [answer(seed, ANSWER) for seed in range(100)]
    words = sorted({word for text in texts for word, _ in level.pre_tokenize_str(text)})
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [BOS, START, END, *alphabet, *(word for word in words if len(word) > 1)]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, [], ignore_merges=True))
    tokenizer.pre_tokenizer, tokenizer.decoder = level, decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in (BOS, START, END)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": BOS, "eos_token": END, "chat_template": TEMPLATE, "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Written:
    """A text as the model wrote it. `ids` hold the stop token where one ended it; `reason` is a stop text or id."""

    text: str
    ids: list[int]
    pieces: list[str]
    finish: str
    reason: int | str | None
    logprobs: list[float]


class FakeModel:
    """Texts by prompt and seed, as tokens of a real tokenizer."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.folder = folder
        self._pieces = lru_cache(maxsize=10_000)(self._split)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def write(
        self,
        prompt: str,
        *,
        seed: int,
        greedy: bool,
        most: int,
        stop: tuple[str, ...] = (),
        stop_ids: tuple[int, ...] = (),
        never: frozenset[int] = frozenset(),
    ) -> Written:
        """The text that continues `prompt`; what of it is written already is found behind the last header."""
        head, _, begun = prompt.rpartition("\n") if START in prompt else (prompt, "", "")
        text = self._choose(head, begun, derive_seed(head, "greedy" if greedy else seed), never)
        ids, pieces = self._pieces(text)
        ids, pieces, finish, reason = list(ids), list(pieces), "stop", None
        for at, number in enumerate(ids):
            if number in stop_ids:
                ids, pieces, reason = ids[: at + 1], pieces[:at], number
                break
        else:
            ids.append(END_ID)
        if len(ids) > most:
            ids, pieces, finish, reason = ids[:most], pieces[:most], "length", None
        whole = "".join(pieces)
        found = min(((whole.index(one), one) for one in stop if one in whole), default=None)
        if found is not None:
            count = next(n for n in range(len(pieces) + 1) if found[1] in "".join(pieces[:n]))
            ids, pieces, finish, reason = ids[:count], _cut(pieces, found[0]), "stop", found[1]
        dice = random.Random(derive_seed(head, seed))
        return Written("".join(pieces), ids, pieces, finish, reason, [-dice.expovariate(1.0) for _ in range(len(ids))])

    def _choose(self, head: str, begun: str, seed: int, never: frozenset[int]) -> str:
        for attempt in range(400):
            text = answer(seed + attempt, head) if head.endswith("assistant") else question(seed + attempt)
            rest = text.removeprefix(begun)
            if text.startswith(begun) and not (never and self.encode(rest)[0] in never):
                return rest
        return " something else."

    def _split(self, text: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        ids = self.encode(text)
        return tuple(ids), tuple(self.decode([number]) for number in ids)


def _cut(pieces: list[str], length: int) -> list[str]:
    kept: list[str] = []
    for piece in pieces:
        kept.append(piece[: max(0, length - len("".join(kept)))])
    return [piece for piece in kept if piece]
