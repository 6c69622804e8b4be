"""What a job takes on GPUs: from runs that were measured, scaled by model size and by what the GPU can do."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("gpus.toml")
_SAME_SIZE = 0.03
_BYTES = 2.0  # a bf16 weight
_DOUBT = 1.25  # what scaling leaves out: other software, other lengths, other kernels
_ROOM = 1.2  # for the key and value cache of a few requests; more of it only helps

Span = tuple[float, float, float]  # the lower end, the middle and the upper end of a range


@dataclass(frozen=True, slots=True)
class Measured:
    """A run that somebody measured: `parameters` in billions, `count` GPUs, all rows kept."""

    model: str
    parameters: float
    gpu: str
    count: int
    pairs: int
    ask_hours: float
    answer_hours: float
    tokens_per_pair: float
    cost_per_1000: float
    source: str

    @property
    def gpu_hours(self) -> float:
        """Hours of one GPU."""
        return self.count * (self.ask_hours + self.answer_hours)

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second of one GPU."""
        return self.pairs * self.tokens_per_pair / (3600 * self.gpu_hours)

    @property
    def price_per_hour(self) -> float:
        """What an hour of one GPU cost, in US dollars."""
        return self.cost_per_1000 * self.pairs / 1000 / self.gpu_hours


@dataclass(frozen=True, slots=True)
class Gpu:
    """What its maker says: GB, GB/s, and dense bf16 TFLOP/s."""

    name: str
    memory: float
    bandwidth: float
    tflops: float


@dataclass(frozen=True, slots=True)
class Job:
    """`pairs` to keep, tokens that are written for each of them, and the model's size in billions of parameters."""

    pairs: int
    tokens_per_pair: Span
    parameters: float


@dataclass(frozen=True, slots=True)
class OnGpus:
    """One line of the table. `hours` of the clock on `count` GPUs; `cost` None without a price.

    `measured`: the speed is a measured one, of this size of model on this GPU; `how` says whose, or how it was scaled.
    """

    gpu: str
    count: int
    hours: Span
    cost: Span | None
    measured: bool
    how: str


@dataclass(frozen=True, slots=True)
class Table:
    """Measured runs, all on one kind of GPU, and the GPUs to scale to."""

    measured: tuple[Measured, ...]
    gpus: tuple[Gpu, ...]

    def gpu(self, name: str) -> Gpu:
        """The GPU of that name."""
        return next(gpu for gpu in self.gpus if gpu.name == name)


def read_table(path: Path = _TABLE) -> Table:
    """The table that is packaged with localsynth."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return Table(tuple(Measured(**row) for row in found["measured"]), tuple(Gpu(**row) for row in found["gpu"]))


def on_gpus(job: Job, price_per_hour: float | None = None, table: Table | None = None) -> Iterator[OnGpus]:
    """The job on the GPUs of the measured run nearest in size, then on one (or as few as hold the model) of each kind.

    `price_per_hour`: of one GPU; without it only measured lines have a cost, at the price that was paid then.
    """
    table = table or read_table()
    nearest = min(table.measured, key=lambda run: abs(math.log(run.parameters / job.parameters)))
    yield _line(job, table, table.gpu(nearest.gpu), nearest.count, price_per_hour)
    for gpu in table.gpus:
        count = gpus_needed(job.parameters, gpu)
        if (gpu.name, count) != (nearest.gpu, nearest.count):
            yield _line(job, table, gpu, count, price_per_hour)


def gpus_needed(parameters: float, gpu: Gpu) -> int:
    """The smallest power of two that holds the weights in bf16: tensor parallelism splits evenly."""
    least = parameters * _BYTES * _ROOM / gpu.memory
    return 1 if least <= 1 else 2 ** math.ceil(math.log2(least))


def _line(job: Job, table: Table, gpu: Gpu, count: int, price: float | None) -> OnGpus:
    run = _same(job.parameters, table.measured)
    base, how = _by_size(job.parameters, table.measured)
    measured = run is not None and (run.gpu, run.count) == (gpu.name, count)
    if run is not None:
        how = f"measured with {run.model}: {run.source}" if measured else f"scaled from {run.count} x {run.gpu}"
    if gpu.name != table.measured[0].gpu:
        factor = _by_gpu(gpu, table.gpu(table.measured[0].gpu))
        base = (base[0] * factor[0], base[1] * factor[1], base[2] * factor[2])
        how += ", by memory bandwidth and by TFLOP/s"
    if not measured:
        base = (base[0] / _DOUBT, base[1], base[2] * _DOUBT)
    low, middle, high = job.tokens_per_pair
    slow, usual, fast = base
    seconds = (job.pairs * low / fast, job.pairs * middle / usual, job.pairs * high / slow)
    gpu_hours = [one / 3600 for one in seconds]
    paid = run.price_per_hour if price is None and run is not None and measured else price
    cost = None if paid is None else (gpu_hours[0] * paid, gpu_hours[1] * paid, gpu_hours[2] * paid)
    hours = (gpu_hours[0] / count, gpu_hours[1] / count, gpu_hours[2] / count)
    return OnGpus(gpu.name, count, hours, cost, measured, how)


def _same(parameters: float, runs: Sequence[Measured]) -> Measured | None:
    return next((run for run in runs if abs(run.parameters / parameters - 1) <= _SAME_SIZE), None)


def _by_size(parameters: float, runs: Sequence[Measured]) -> tuple[Span, str]:
    """Tokens a second of one measured GPU: tokens times parameters is nearly the same for all measured runs.

    Below the smallest measured model other costs than the weights take over: it may be no faster at all.
    """
    same = _same(parameters, runs)
    if same is not None:
        rate = same.tokens_per_second
        return (rate, rate, rate), ""
    rates = sorted(run.tokens_per_second * run.parameters / parameters for run in runs)
    low, high = rates[0], rates[-1]
    smallest = min(runs, key=lambda run: run.parameters)
    how = f"scaled by parameters from {' and '.join(f'{run.parameters:g} B' for run in runs)}"
    if parameters < smallest.parameters:
        low = smallest.tokens_per_second
        how = f"scaled from {smallest.parameters:g} B: between as fast and faster by the size"
    return (low, math.sqrt(low * high), high), how


def _by_gpu(gpu: Gpu, base: Gpu) -> Span:
    """How much faster one GPU is: few requests at once are bound by bandwidth, many by arithmetic."""
    low, high = sorted((gpu.bandwidth / base.bandwidth, gpu.tflops / base.tflops))
    return low, math.sqrt(low * high), high
