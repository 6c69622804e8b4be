from __future__ import annotations

from localsynth.tui.widgets.columns import columns


def test_columns_tell_nothing_known_from_none_and_none_from_some() -> None:
    assert columns([None, 0, 0.001, 50, 100], 100) == [" ▁▂▄▇"]
    assert columns([0, 50, 100, 999], 100, 2) == ["  ▇▇", "▁███"]
    assert columns([None, 0], 0) == [" ▁"]
    assert columns([], 5, 2) == ["", ""]
