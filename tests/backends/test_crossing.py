"""What goes between processes comes out as it went in: a Ray worker's errors, requests, completions and facts."""

from __future__ import annotations

import pickle

import pytest

from localsynth import errors
from localsynth.backends.base import BackendInfo
from localsynth.errors import LocalsynthError
from localsynth.records import Completion, Request, Sampling, SpecialTokens

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LocalsynthError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_kind_its_hint_and_whether_to_try_again(kind: type[LocalsynthError]):
    more = {"retry_after": 7.5, "overloaded": True} if issubclass(kind, errors.BackendError) else {}
    raised = kind("it is full", "ask later", retryable=True, **more)
    found = pickle.loads(pickle.dumps(raised))
    assert type(found) is kind
    assert str(found) == found.message == "it is full"
    assert (found.hint, found.retryable) == ("ask later", True)
    assert vars(found) == vars(raised)


@pytest.mark.parametrize(
    "record",
    [
        Request("a", Sampling(avoid_first=("I",)), 2**32 - 1, (2,), ("\n",), logprobs=True),
        Completion("é", "stop", "\n", 1, 2, 0.5, (-0.25, -9999.0)),
        BackendInfo("n", "1", "m", 4, 512, tokens=SpecialTokens(eos="<e>", control={"<e>": 2}, end_ids=(2,))),
    ],
)
def test_what_is_asked_and_answered_is_the_same(record: object):
    assert pickle.loads(pickle.dumps(record)) == record
