"""Install localsynth into the environment that runs this: `setup.py starter`, or `setup.py dev` for its tools as well.

Nothing is done when dependencies, pins, interpreter and place are those of the last set-up. Standard library only:
nothing else is installed yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "constraints.txt"
ENVIRONMENT = Path(sys.prefix)
STAMP = ENVIRONMENT / "localsynth-setup.json"
EXTRAS = {"starter": ["starter"], "dev": ["starter", "dev"]}
# About seven minutes on two cores.
CORE_MINUTES = 14
TICK_S = 30
COMPILERS = {
    "xcode-select": "xcode-select --install",
    "apt-get": "sudo apt install build-essential",
    "dnf": "sudo dnf install gcc gcc-c++ make",
    "pacman": "sudo pacman -S base-devel",
    "zypper": "sudo zypper install gcc gcc-c++ make",
    "apk": "sudo apk add build-base",
}


def main(profile: str) -> int:
    """Set up one profile; returns the exit status."""
    key = fingerprint()
    if is_done(profile, key):
        return 0
    say(f"Setting up localsynth in {ENVIRONMENT} ({profile}).")
    if not (llama_cpp() and packages(profile)):
        return 1
    STAMP.write_text(json.dumps({"profile": profile, "key": key}), encoding="utf-8")
    say("Set-up is done.")
    return 0


def fingerprint() -> str:
    """A hash of all that decides what is installed; a linter's setting does not."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [declared["build-system"], declared["project"], PINS.read_text(encoding="utf-8"), sys.version, sys.prefix]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def is_done(profile: str, key: str) -> bool:
    """Whether this profile, or one that contains it, was set up from the same declarations."""
    try:
        last = json.loads(STAMP.read_text(encoding="utf-8"))
        return bool(last["key"] == key and set(EXTRAS[profile]) <= set(EXTRAS[last["profile"]]))
    except (OSError, ValueError, KeyError):
        return False


def llama_cpp() -> bool:
    """Install llama-cpp-python on its own, ahead of the rest: it is usually compiled, which takes minutes."""
    wanted = re.search(r"^llama[-_]cpp[-_]python==(\S+)", PINS.read_text(encoding="utf-8"), re.MULTILINE)
    if wanted is None:
        raise SystemExit(f"{PINS} does not pin llama-cpp-python")
    version = wanted[1]
    try:
        if metadata.version("llama-cpp-python") == version:
            return True
    except metadata.PackageNotFoundError:
        pass
    requirement = f"llama-cpp-python=={version}"
    if not has_wheel(requirement, version):
        if not has_compiler():
            say(no_compiler())
            return False
        cores = os.cpu_count() or 1
        say(
            f"llama-cpp-python, which runs the model, comes as source: compiling it now on {cores} core(s), about "
            f"{max(1, round(CORE_MINUTES / cores))} min. pip keeps the result, so this is done once."
        )
    return pip("llama-cpp-python", "-v", requirement)


def has_wheel(requirement: str, version: str) -> bool:
    """Whether pip has built it before or is offered a wheel, so that nothing need be compiled."""
    command = [sys.executable, "-m", "pip"]
    kept = subprocess.run([*command, "cache", "list"], capture_output=True, text=True, check=False)
    if f"llama_cpp_python-{version}-" in kept.stdout:
        return True
    look = [*command, "install", "--dry-run", "--no-deps", "--only-binary=:all:", requirement]
    return subprocess.run(look, capture_output=True, check=False).returncode == 0


def has_compiler() -> bool:
    """Whether C and C++ compile here; on a Mac without its tools the commands exist and only then fail."""
    for language, header, own, usual in (("c", "stdio.h", "CC", "cc"), ("c++", "vector", "CXX", "c++")):
        command = [*(os.environ.get(own) or usual).split(), "-x", language, "-fsyntax-only", "-"]
        try:
            tried = subprocess.run(command, input=f"#include <{header}>\n", capture_output=True, text=True, check=False)
        except OSError:
            return False
        if tried.returncode:
            return False
    return True


def no_compiler() -> str:
    """What to install on this platform, and which models and servers are here already."""
    how = next((text for tool, text in COMPILERS.items() if shutil.which(tool)), "install gcc and g++, or clang")
    lines = [
        "There is no working C and C++ compiler, and llama-cpp-python, which runs the model, comes as source.",
        f"Install one, then give the same command again:\n  {how}",
    ]
    if pip("platformdirs", "platformdirs"):
        sys.path.insert(0, str(ROOT))
        from localsynth.catalog import local_models, local_servers

        models = [f"  {model.path} ({model.origin})" for model in local_models()]
        servers = [f"  {server.name} at {server.url}" for server in local_servers()]
        lines += ["Already here, then to be used with `localsynth generate --model FILE`:", *models] if models else []
        lines += (
            ["Servers that answer here need no compiler, but localsynth does not use any yet:", *servers]
            if servers
            else []
        )
    return "\n".join(lines)


def packages(profile: str) -> bool:
    """Install localsynth in place with the extras of this profile."""
    # On Apple silicon llama.cpp is an extra, and the starter model is a GGUF file.
    extras = ",".join([*EXTRAS[profile], "gguf"])
    say("Installing the other packages; PyTorch is the largest by far.")
    return pip("packages", "--editable", f"{ROOT}[{extras}]")


def pip(name: str, *arguments: str) -> bool:
    """Run pip install into a log, with a line every 30 seconds; where it fails, show the end of the log."""
    log = ENVIRONMENT / f"setup-{name}.log"
    command = [sys.executable, "-m", "pip", "install", "--constraint", str(PINS), *arguments]
    # Where make stands in for ninja, CMake builds with one core unless told.
    env = {"CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1), **os.environ}
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env)
        while True:
            try:
                status = process.wait(timeout=TICK_S)
                break
            except subprocess.TimeoutExpired:
                minutes, seconds = divmod(round(time.monotonic() - started), 60)
                say(f"  {minutes} min {seconds:02} s  {progress(log)}")
    if status:
        ending = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        say("\n".join(f"  {line}" for line in ending))
        say(f"pip could not install {name}: the reason is above, the whole log in {log}")
    return status == 0


def progress(log: Path) -> str:
    """How far a compilation is, else the last thing that pip did."""
    for line in reversed(log.read_text(encoding="utf-8", errors="replace").splitlines()):
        if step := re.match(r"\s*\[(\d+)/(\d+)\]|\s*\[ *(\d+)%\]", line):
            return f"{step[3]} % compiled" if step[3] else f"{step[1]} of {step[2]} files compiled"
        if re.match(r"\s*(Collecting|Downloading|Building|Installing) ", line):
            return line.strip()[:90]
    return ""


def say(text: str) -> None:
    """Tell the user, at once."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
