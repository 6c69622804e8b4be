"""A row of columns made of block characters: it reads the same with and without colour."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_STEPS = len(_BLOCKS) - 1


def columns(values: Sequence[float | None], top: float, height: int = 1) -> list[str]:
    """Lines, the highest first, with a column of one cell for each value; `top` fills `height` lines but for a gap.

    None leaves its cell empty, 0 is the lowest block, and what is above 0 stands out from it.
    """
    levels = [_level(value, top, height * _STEPS - 1) for value in values]
    lines = range(height - 1, -1, -1)
    return ["".join(_BLOCKS[min(_STEPS, max(0, level - line * _STEPS))] for level in levels) for line in lines]


def _level(value: float | None, top: float, most: int) -> int:
    if value is None:
        return 0
    if value <= 0 or top <= 0:
        return 1
    return max(2, min(most, 1 + round(value / top * (most - 1))))
