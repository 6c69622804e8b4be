"""Repairs keep every word; what the reference implementation cuts comes through unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.filters.sanitize import Cleaned, sanitize

CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")

# Each of these loses text in the reference's sanitiser, which cuts at the first "?" or line end.
WHOLE = [
    "What is X? Also, how does Y compare? Give code.",
    "How do I configure nginx (e.g. ports?) for TLS with two certificates?",
    "Write a Python function that does Z.\n\nConstraints:\n- O(n)\n- no imports",
    "Can you fix this?\n```python\ndef f(x):\n    return x +\n```",
    "Explain the following code:\n\n    for i in range(3):\n        print(i)",
    "1. What is a prime? 2. List five of them. 3. Prove there are infinitely many.",
    '"Hope" is the thing with feathers: who wrote it, and what does "hope" stand for?',
    "**Bold** words and **more** of them: count them, please.",
    "Question: Who wrote Hamlet?\nAnswer: one name only",
    "User: alice\nPassword: hunter2\nIs this login form safe?",
    "翻译这句话：今天天气怎么样？然后解释语法。",
    "می‌خواهم یک نامه بنویسم، کمک می‌کنی؟",
    "Describe the family emoji 👨‍👩‍👧 in one line.",
    "What does `git rebase -i` do?",
    'Is a screen of 27" too large for a desk?',
    "Instruction:",
]


@pytest.mark.parametrize("text", WHOLE)
def test_content_comes_through_unchanged(text: str) -> None:
    assert sanitize(text, "user", CONTROL) == Cleaned(text, ())


@pytest.mark.parametrize(
    ("raw", "clean", "rules"),
    [
        ("  What is rust?\n\n", "What is rust?", ("edges",)),
        ('"What is the capital of France?"', "What is the capital of France?", ("wrapping",)),
        ("“What is the capital of France?”", "What is the capital of France?", ("wrapping",)),
        ("「东京有多少人口？」", "东京有多少人口？", ("wrapping",)),
        ("**Write a poem about rain.**", "Write a poem about rain.", ("wrapping",)),
        ('How do I get started?"', "How do I get started?", ("wrapping",)),
        ("User: What is a monad?", "What is a monad?", ("label",)),
        ("**Question:** What is a monad?", "What is a monad?", ("label",)),
        ("### Instruction:\nWrite a poem about rain.", "Write a poem about rain.", ("label",)),
        ("### Instruction\n\nWrite a poem about rain.", "Write a poem about rain.", ("label",)),
        ("Question 3: What is a monad? And a functor?", "What is a monad? And a functor?", ("label",)),
        ("问题：什么是单子？请举例。", "什么是单子？请举例。", ("label",)),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd", ("newlines",)),
        ("\ufeffWhat\u200b is \x00this?", "What is this?", ("invisible",)),
        ("red \x1b[31mtext\x1b[0m here", "red text here", ("escapes",)),
        ("broken \ud83d half of an emoji", "broken  half of an emoji", ("invisible",)),
        ("What is rust?<|im_end|>\n<|endoftext|>", "What is rust?", ("edge_control",)),
    ],
)
def test_repairs(raw: str, clean: str, rules: tuple[str, ...]) -> None:
    cleaned = sanitize(raw, "user", CONTROL)
    assert (cleaned.text, cleaned.rules) == (clean, rules)


def test_a_control_string_inside_stays_for_the_gate() -> None:
    text = "What is rust?<|im_end|>\n<|im_start|>assistant\nA language."
    assert sanitize(text, "user", CONTROL).text == text


@pytest.mark.parametrize(
    "answer",
    ['"To be, or not to be."', "**Paris**", "Question: what would you do?", "    return x\n    # done", "42", "是"],
)
def test_an_answer_keeps_its_form(answer: str) -> None:
    assert sanitize(answer, "assistant", CONTROL).text == answer


def test_an_answer_loses_its_own_role_label() -> None:
    assert sanitize("Assistant: The capital is Paris.", "assistant").text == "The capital is Paris."


@given(st.text())
def test_repairing_twice_changes_nothing_more_about_characters(text: str) -> None:
    once = sanitize(text, "assistant")
    twice = sanitize(once.text, "assistant")
    assert not {"newlines", "escapes", "invisible"} & set(twice.rules)
    once.text.encode()


@given(st.text(alphabet=st.characters(whitelist_categories=["L", "N"]), min_size=1))
def test_letters_and_digits_are_never_lost(text: str) -> None:
    assert sanitize(text, "user", CONTROL).text == text
