"""What a merge found, in words: for the command line and the terminal UI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def report_lines(main: str, report: Mapping[str, Any]) -> Iterator[str]:
    """A merge's report, as `localsynth merge --json` prints it, in lines. `main`: the store that was merged into."""
    for shard in report["shards"]:
        clash = f", {shard['conflicts']} conflicts" if shard["conflicts"] else ""
        yield f"shard {shard['shard']:<5} {shard['state']:<9} {shard['new']:>8} new {shard['known']:>8} known{clash}"
    kept, target = report["kept"], report["target"]
    yield (
        f"run {report['run']}: {kept} of {target} kept, {report['rejected']} rejected, of them "
        f"{report['exact']} duplicates and {report['near']} near duplicates among the shards and {main}"
    )
    if kept > target:
        yield f"{kept - target} more than the target: a shard was made on two machines"
    elif kept < target and not report["missing"] and not report["unfinished"]:
        yield f"{target - kept} fewer than the target: what was rejected here is not made again"
        yield f"  next: localsynth generate -n {target - kept} --store {main}; or pack them as another job"
    if report["conflicts"]:
        some = ", ".join(str(number) for shard in report["shards"] for number in shard["conflicting"][:3])
        yield f"{report['conflicts']} rows were here with other words and stay as they are: localsynth show {some}"
    if report["not_judged"]:
        yield f"{report['not_judged']} rows are not judged by the thresholds in force in {main}"
        yield f"  next: localsynth threshold apply --store {main}"
    if report["missing"]:
        yield f"missing: shard {_numbers(report['missing'])}"
    if report["unfinished"]:
        yield f"not finished: shard {_numbers(report['unfinished'])}; run it again, then merge again"


def _numbers(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return ", ".join(map(str, numbers[:10])) + more
