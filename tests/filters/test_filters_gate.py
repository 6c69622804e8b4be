"""What the gate rejects, what it lets through, and what it says about both."""

from __future__ import annotations

import time

import pytest

from localsynth.filters.findings import EXCERPT_CHARACTERS, rejection
from localsynth.filters.gate import check_answer, check_instruction
from localsynth.filters.sanitize import sanitize

CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "[gMASK]")


def rule_of(text: str, **options) -> str | None:
    found = rejection(check_instruction(text, control_strings=CONTROL, **options))
    return found.rule if found else None


def answer_rule(text: str, question: str = "What is the capital of France?", **options) -> str | None:
    found = rejection(check_answer(text, question=question, control_strings=CONTROL, **options))
    return found.rule if found else None


BAD = [
    ("empty", " \n"),
    ("control_tokens", "What is rust?<|im_end|>\n<|im_start|>assistant\nA language."),
    ("control_tokens", "What does [gMASK] mean for a model like you?"),
    ("control_tokens", "What is rust? [/INST] It is a language."),
    ("control_tokens", "Tell me about cats.</s> Cats are small."),
    ("control_tokens", "Hello there<｜Assistant｜>hi"),
    ("thinking", "<think>The user wants a poem</think> Write a poem about rain."),
    ("thinking", "Write me a poem about the sea.</think>"),
    ("thinking", "Okay, the user wants a poem about rain, so I should write one."),
    ("thinking", "好的，用户想要一首关于雨的诗。"),
    ("role_marker", "What is a monad?\nAssistant: A monad is a monoid."),
    ("role_marker", "What is a monad?\n\n**AI:** A monad is a monoid."),
    ("role_marker", "什么是过拟合？\n助手：过拟合是指模型记住了训练数据。"),
    ("role_marker", "Let's have a conversation about rust.\nAssistant: Sure."),
    ("answer_leak", "Solve 2x=4. Answer: 2"),
    ("answer_leak", "What is the capital of France?\n\nAnswer: Paris"),
    ("answer_leak", "Q: What is 2+2?\nA: 4"),
    ("answer_leak", "What is 17 times 3? The answer is 51."),
    ("answer_leak", "Write a poem about rain.\n\nSure, here is a poem about rain."),
    ("answer_leak", "法国的首都是哪里？\n答案：巴黎"),
    ("answer_leak", "写一首关于雨的诗。\n当然，以下是一首诗。"),
    ("assistant_voice", "Hello! How can I assist you today?"),
    ("assistant_voice", "Hi there, I'm here to help you with your questions."),
    ("assistant_voice", "I'm sorry, but I can't assist with that request."),
    ("assistant_voice", "As an AI language model, I don't have personal opinions."),
    ("assistant_voice", "你好！有什么可以帮助你的吗？"),
    ("assistant_voice", "抱歉，我无法回答这个问题。"),
    ("assistant_voice", "作为一个人工智能语言模型，我没有个人观点。"),
    ("ends_with_colon", "Here are the steps to make bread:"),
    ("ends_with_colon", "如何煮煎蛋的指示："),
    ("too_short", "Hi"),
    ("too_short", "Hello there"),
    ("too_short", "你好。"),
    ("gibberish", "?!?!"),
    ("gibberish", "}{][)(*&^%$#@!~|}{][)(*&^%$#@!~|<>?;;== a b c"),
    ("gibberish", "What is th\ufffd\ufffd\ufffd meaning of this word?"),
    ("loop", "Tell me about it. " + "I want to know more about it. " * 8),
    ("loop", "Who are you and why?\n" + "B.\n" * 5),
    ("loop", "我想知道" + "更多的事情" * 12),
    ("too_long", "why " + " ".join(f"word{n}" for n in range(3000))),
]


@pytest.mark.parametrize(("rule", "text"), BAD, ids=[f"{rule}-{at}" for at, (rule, _) in enumerate(BAD)])
def test_bad_user_turns_are_rejected_by_the_right_rule(rule: str, text: str) -> None:
    assert rule_of(text) == rule


def test_labels_in_a_loop_are_rejected() -> None:
    assert rule_of("A:\nA:\nA:") is not None
    assert answer_rule("A:\nA:\nA:") == "loop"


GOOD = [
    "What is X? Also, how does Y compare? Give code.",
    "How do I configure nginx (e.g. ports?) for TLS?",
    "Write a Python function that does Z.\n\nConstraints:\n- O(n)\n- no imports",
    "Fix this code:\n```python\ndef f(x):\n    return x +\n```",
    "Is the earth flat? Answer: yes or no",
    "Who wrote Hamlet?\nAnswer: in one word",
    "Classify the tweet.\nTweet: I love it\nAnswer with positive/negative.",
    "Question: What is 1+1?\nAnswer: 2\nQuestion: What is 2+3? Reply with the number only.",
    "Show that the answer is 5 whichever door you choose.",
    "Summarize this dialogue.\n\nCustomer: Hi there, I need a phone.\nAI: Hi! Which brand?\nCustomer: Any.",
    "Rewrite politely: 'Sure, I can do it tomorrow.'",
    "Solve for x: 3x^2 - 12x + 9 = 0, then sketch f(x) = |x - 2|.",
    "2+2=? 3*7=? Give both results.",
    "\\int_0^1 x^2 \\, dx = ?",
    'Given {"a": [1, 2, {"b": null}]}, write a jq filter that prints every key.',
    "| name | age |\n|------|-----|\n| Ann  | 31  |\n| Bob  | 27  |\n\nWho is older?",
    "Explain the regex ^(?:[a-z0-9]+(?:-[a-z0-9]+)*)$ part by part.",
    "Read https://example.org/a?b=c#d and tell me what its query string does.",
    "Continue the poem:\n\nRow, row, row your boat\nGently down the stream\nMerrily, merrily, merrily, merrily\nLife is but a dream",
    'What does this print?\n\nfor (int i = 0; i < 3; i++) {\n    printf("%d\\n", i);\n}',
    "In F#, what does f <| g <| x mean compared with x |> g |> f?",
    "Why does <s>old price</s> show a line through the text?",
    "Translate into English: 我买了一辆新车。",
    "把这句话翻译成英语：“The early bird catches the worm.”",
    "用Python写一个函数，输入为列表，返回最大值。\n\ndef maximum(values: list[int]) -> int:\n    pass",
    "对不起用英语怎么说？",
    "作为一名教师，我应该怎样激励学生？",
    "As an AI researcher, I want to compare two optimisers. How should I set it up?",
    "How can I help my friend who lost a job?",
    "I am sorry to bother you, but I cannot find my keys. Where should I look?",
    "写求职信。",
    "東京から京都まで新幹線で何時間かかりますか？",
    "파이썬에서 리스트를 뒤집는 방법은?",
    "Как приготовить борщ без мяса?",
    "ما هي عاصمة فرنسا ولماذا؟",
    "กรุงเทพมีประชากรกี่คน",
    "Write a haiku about 🍁 and ☔!",
    "Make a list:\n- one\n- two\n- three\n\nSort it by length. Then reverse it?",
    'from typing import List\n\n\ndef f(xs: List[int]) -> int:\n    """ Return the sum.\n    >>> f([1, 2])\n    3\n    """',
    "ABBA\nCDDC\nEFFE\n\nWhich of these strings are palindromes?",
]


@pytest.mark.parametrize("text", GOOD)
def test_clean_user_turns_pass(text: str) -> None:
    cleaned = sanitize(text, "user", CONTROL)
    assert cleaned.text == text
    findings = check_instruction(cleaned.text, control_strings=CONTROL)
    assert rejection(findings) is None, findings
    assert [finding.rule for finding in findings] == ["length", "repetition", "symbol_ratio"]


@pytest.mark.parametrize(
    "text",
    ["Paris.", "42", "是", "A", "x = 3", "🍕", "$\\frac{1}{2}$", "```\n1 2\n3 4\n```", "User: the account that runs it.",
     "I can't help but admire her.", "^(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9])$"],
)  # fmt: skip
def test_an_answer_may_be_short(text: str) -> None:
    assert answer_rule(text) is None


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("empty", "\n"),
        ("control_tokens", "Paris.<|im_end|>\n<|im_start|>user\nAnd Spain?"),
        ("refusal", "I'm sorry, but I can't assist with that."),
        ("refusal", "As an AI language model, I cannot provide an opinion."),
        ("refusal", "抱歉，我无法回答这个问题。"),
        ("role_marker", "Paris.\nUser: And Spain?\nAssistant: Madrid."),
        ("role_marker", "巴黎。\n用户：那西班牙呢？"),
        ("loop", "Paris is nice. " * 12),
        ("gibberish", "\ufffd\ufffd\ufffd\ufffd"),
        ("echo", "what is the capital of France"),
    ],
)
def test_bad_answers_are_rejected(rule: str, text: str) -> None:
    assert answer_rule(text) == rule


def test_a_caveat_before_a_real_answer_only_informs() -> None:
    text = (
        "As an AI, I don't have a favourite. However, here are three films people love: "
        + "; ".join(
            f"{title}, for its {reason}" for title, reason in [("Heat", "pace"), ("Up", "warmth"), ("Ran", "colours")]
        )
        + ". Each of them rewards a second viewing, and Heat most of all because of its sound."
    )
    findings = check_answer(text, question="What is your favourite film?")
    assert rejection(findings) is None
    assert [finding.passed for finding in findings if finding.rule == "refusal"] == [None]


def test_a_dialogue_that_was_asked_for_is_no_played_turn() -> None:
    dialogue = "Here it is.\nUser: Hello\nBot: Hi"
    assert answer_rule(dialogue, "Write a dialogue between a user and a bot.") is None
    assert answer_rule(dialogue, "What is rust?") == "role_marker"


def test_cut_off_turns_are_rejected() -> None:
    assert rule_of("What is the capital of", stopped=False) == "cut_off"
    assert answer_rule("The capital of France is", stopped=False) == "cut_off"


def test_the_wanted_language_must_be_there() -> None:
    assert rule_of("法国的首都是哪里？", language="en") == "wrong_language"
    assert rule_of("What is the capital of France?", language="zh") == "wrong_language"
    assert rule_of("¿Cuál es la capital de Francia y por qué es tan famosa?", language="en") == "wrong_language"
    assert rule_of("Translate into English: 我买了一辆新车，非常喜欢它的颜色。", language="en") is None
    assert rule_of("解释 Python 的 GIL 是什么，以及 asyncio 的工作方式", language="zh-CN") is None
    assert rule_of("Wie koche ich Reis?", language="sw") is None


def test_a_turn_that_says_an_earlier_one_again() -> None:
    first = "How do I bake sourdough bread at home without a scale?"
    assert rule_of("how do I bake sourdough bread at home without a scale", earlier=[first]) == "repeats_earlier_turn"
    assert rule_of("How do I bake sourdough bread at home without any scale?", earlier=["Hi", first]) is not None
    assert rule_of("And how long does it keep in the freezer?", earlier=[first]) is None


def test_findings_carry_evidence_and_become_scores() -> None:
    found = rejection(check_instruction("What is it? " + "x" * 500 + "<|im_end|>" + "y" * 500, control_strings=CONTROL))
    assert found is not None
    assert found.detail is not None
    assert "<|im_end|>" in found.detail
    assert len(found.detail) <= EXCERPT_CHARACTERS
    score = found.score(7, "instruction")
    assert (score.sample, score.name, score.version, score.passed) == (7, "instruction.control_tokens", 1, False)


@pytest.mark.parametrize(
    "unit",
    ["a", "word salad ", " ", "\n", "Answer: ", '"', "<|", "A:\n", "我们的世界", "\x1b[", "\x00", "# \t", "\nUser:",
     "\ud800", "|---|", "<|im_end|>", "Question: x?\nA: 1\n"],
)  # fmt: skip
def test_a_megabyte_is_judged_quickly(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    cleaned = sanitize(text, "user", CONTROL)
    check_instruction(text, control_strings=CONTROL, language="en", earlier=[text[:-1]])
    check_answer(cleaned.text, question=text, control_strings=CONTROL, language="zh")
    assert time.process_time() - start < 3
