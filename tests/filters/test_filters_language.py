"""Scripts, profiles and the language guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.filters.language import CHARACTERS, WORDS, guess_language, lacks_language, length_of, measure


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "What is the best way to learn how to cook?"),
        ("es", "¿Cuál es la mejor manera de aprender a cocinar en casa para los niños?"),
        ("fr", "Quelle est la meilleure façon de cuisiner des légumes pour une famille ?"),
        ("de", "Wie kann ich das beste Brot mit der Hand backen und was ist nötig?"),
        ("pt", "Qual é a melhor forma de aprender uma língua com os amigos?"),
        ("it", "Qual è il modo più semplice di cucinare gli spaghetti per una famiglia?"),
        ("nl", "Wat is het beste recept voor een taart en hoe maak ik deze?"),
        ("zh", "如何学习做饭？请给出三个建议。"),
        ("ja", "料理を学ぶ一番いい方法は何ですか？"),
        ("ko", "요리를 배우는 가장 좋은 방법은 무엇인가요?"),
        ("th", "วิธีที่ดีที่สุดในการเรียนทำอาหารคืออะไร"),
        ("ru", "Как лучше всего научиться готовить?"),
        ("ar", "ما هي أفضل طريقة لتعلم الطبخ؟"),
        ("hi", "खाना बनाना सीखने का सबसे अच्छा तरीका क्या है?"),
    ],
)
def test_the_main_language_is_guessed(code: str, text: str) -> None:
    assert guess_language(text) == code
    assert lacks_language(text, code) is None
    assert lacks_language(text, "ja" if code == "en" else "en") is not None


@pytest.mark.parametrize("text", ["x = 3", "42", "Foobar baz!", ""])
def test_too_little_gives_no_guess(text: str) -> None:
    assert guess_language(text) is None
    assert lacks_language(text, "en") is None


@pytest.mark.parametrize(
    ("text", "profile", "size"),
    [
        ("What is love?", WORDS, 3),
        ("Solve 2x+3=7", WORDS, 4),
        ("它是什么？", CHARACTERS, 5),
        ("用Python写一个快速排序", CHARACTERS, 14),
        ("파이썬 질문", CHARACTERS, 5),
        ("กรุงเทพ", CHARACTERS, 7),
        ("Translate '你好' for me please", WORDS, 5),
    ],
)
def test_length_is_counted_in_the_texts_own_unit(text: str, profile: object, size: int) -> None:
    shape = measure(text)
    assert shape.profile is profile
    assert length_of(text, shape) == size


@given(st.text())
def test_every_character_is_counted_once_at_most(text: str) -> None:
    shape = measure(text)
    assert 0 <= shape.symbol_ratio <= 1
    assert min(shape[:-1]) >= 0
    assert shape.letters + shape.digits + shape.symbols <= len(text)
