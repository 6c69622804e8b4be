"""`localsynth doctor`: can this model, or this template, do Magpie?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from localsynth.cli.options import json_option, model_options


@click.command(short_help="Check whether a model, or a template alone, is fit for Magpie.")
@click.argument("model", required=False)
@click.option("--template", type=click.Path(path_type=Path), help="Only derive the parts of this Jinja file; no model.")
@click.option("--system", help="With this system prompt instead of the template's own default.")
@click.option("-n", "--turns", type=click.IntRange(8), default=64, show_default=True, help="User turns to ask for.")
@click.option("--language", default="any", show_default=True, help="Language that the turns must be in.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same turns.")
@model_options
@json_option
def doctor(
    *, model: str | None, template: Path | None, system: str | None, turns: int, language: str, seed: int,
    as_json: bool, **how: Any,
) -> int:  # fmt: skip
    """Show how MODEL's own template is cut into a pre-query template, ask for some user turns and grade the yield.

    A turn counts when it ended by a turn-end token, has three words (or six characters of a language without spaces),
    is in the language asked, holds no answer or role marker, does not loop and is no duplicate.

    Exit code 0 for fit and usable with care, 3 for unfit.
    """
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import data_json, say

    if template is not None:
        parts = _template_parts(template, system)
        data_json(parts) if as_json else _print_parts(parts)
        return Exit.OK
    from localsynth.engine.fitness import examine
    from localsynth.engine.planning import role_table

    ask = role_table({"model": model, **how})
    checkup = examine(ask, turns=turns, language=language, seed=seed, system=system, say=say)
    if as_json:
        data_json(checkup.as_data())
    else:
        _print_parts(checkup.parts)
        _print_yield(checkup.as_data())
    return Exit.MODEL if checkup.grade == "unfit" else Exit.OK


def _template_parts(path: Path, system: str | None) -> dict[str, object]:
    from localsynth.chat import DEFAULT, derive, describe
    from localsynth.errors import DataError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}", "give a Jinja file in UTF-8") from None
    return describe(derive(text, system=DEFAULT if system is None else system))


def _print_parts(parts: Mapping[str, object]) -> None:
    from localsynth.cli.narration import data

    for key, value in parts.items():
        if value not in (None, "", [], {}):
            data(f"{key:<16} {value!r}" if isinstance(value, str) else f"{key:<16} {value}")


def _print_yield(found: Mapping[str, Any]) -> None:
    from localsynth.cli.narration import data
    from localsynth.printable import one_line

    data("")
    interval = f"95 % interval {found['low']:.0%} to {found['high']:.0%}"
    data(f"yield            {found['yield']:.0%} of {found['turns']} turns, {interval}")
    for cause, count in found["causes"].items():
        data(f"  lost           {count:>4}  {cause.replace('_', ' ')}")
    for question in found["examples"]:
        data(f"  example        {one_line(question, 100)}")
    data(f"grade            {found['grade']}: {found['reason']}")
