"""The localsynth wheel of this installation, be it a checkout or a wheel, and the versions of what it runs with."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from localsynth import paths
from localsynth.errors import DataError

_NAME = "localsynth"
_DATE = (2020, 1, 1, 0, 0, 0)  # the same files, the same wheel
# Engines for GPUs pin these and what they bring; a second opinion on their versions would break the engine.
_OF_ENGINES = frozenset({"sentence-transformers", "numpy", "huggingface-hub", "llama-cpp-python", "mlx-lm"})
_OF_PYTHON = frozenset({"pip", "setuptools"})  # belong to the environment that installs


def build_wheel(folder: Path) -> Path:
    """Write the wheel of the running package into `folder`. DataError when localsynth is not installed."""
    try:
        installed = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:
        raise DataError("localsynth runs without being installed, so no wheel can be made", "pip install .") from None
    info = f"{_NAME}-{installed.version}.dist-info"
    described = installed.read_text("METADATA") or ""
    entries = installed.read_text("entry_points.txt") or ""
    members = {
        f"{info}/METADATA": described.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: localsynth\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entries.encode(),
    }
    for file in installed.files or ():
        if ".dist-info/licenses/" in str(file):
            members[f"{info}/licenses/{file.name}"] = Path(str(file.locate())).read_bytes()
    package = Path(__file__).resolve().parents[1]
    members |= _files(package, _NAME) | _files(paths.catalogue_dir(), f"{_NAME}/models")
    wheel = folder / f"{_NAME}-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(members.items())]
        members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
        for name, data in sorted(members.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return wheel


def constraints(extras: Iterable[str]) -> tuple[list[str], list[str]]:
    """Pins ("name==version") of everything installed here that localsynth runs with, `extras` included.

    First what every machine can take, then what an engine such as vLLM pins by itself.
    """
    core = _needed(_NAME, {""})
    extra = [name for name in _needed(_NAME, set(extras)) if name not in core]
    light = _closure([name for name in core if name not in _OF_ENGINES])
    light |= {name: version for name, version in _closure(extra).items() if name in extra}
    heavy = {name: pin for name, pin in _closure([*core, *extra]).items() if name not in light}
    return _pins(light), _pins(heavy)


def _files(folder: Path, target: str) -> dict[str, bytes]:
    found = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {
        f"{target}/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in found
        if "__pycache__" not in file.parts and file.suffix != ".pyc"
    }


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _pins(versions: dict[str, str]) -> list[str]:
    return [f"{name}=={version}" for name, version in sorted(versions.items()) if name not in _OF_PYTHON]


def _closure(names: Iterable[str]) -> dict[str, str]:
    """Versions of these distributions and of all that they need, as far as they are installed here."""
    found: dict[str, str] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        try:
            # A version such as 2.5.1+cpu is of one index only; elsewhere the same release goes without its label.
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
        pending += _needed(name, {""})
    return found


def _needed(name: str, extras: set[str]) -> list[str]:
    """The names of what a distribution asks for on this machine."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    wanted: list[str] = []
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            wanted.append(canonicalize_name(requirement.name))
    return wanted
