"""`bash run.sh` in an empty environment: installs the packed wheel without a network, runs, drains, goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from shlex import quote

import pytest
from handed import write_plan
from processes import ask, end, start, until

# A real environment that finds the packages of the tests', so that pip has nothing to fetch.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  {python} -m venv --without-pip "$3" || exit 1
  for folder in "$3"/lib/python*/site-packages; do
    printf '%s\\n' {packages} {tests} 'import slow_steps' > "$folder/tests.pth"
  done
  exit 0
fi
exec {python} "$@"
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A job that was moved to another place, and the environment of a machine that has only Python."""
    folder = tmp_path_factory.mktemp("other machine")
    plan = write_plan(folder / "plan.toml", target=1000)
    code, _, err = end(start("handoff", "pack", plan, folder / "here", "--shards", 2, "--store", folder / "no.db"))
    assert code == 0, err
    shutil.move(folder / "here", folder / "there")
    tools = folder / "bin"
    tools.mkdir()
    places = {"packages": quote(sysconfig.get_path("purelib")), "tests": quote(str(Path(__file__).parent))}
    (tools / "python3").write_text(PYTHON.format(python=sys.executable, **places))
    (tools / "python3").chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(folder), "PIP_NO_INDEX": "1", "LANG": "C.UTF-8"}
    return folder / "there", environment


def test_it_installs_runs_drains_and_goes_on(packed: tuple[Path, dict[str, str]]) -> None:
    job, environment = packed
    first, second = (job / "shards" / f"shard-{n}-of-2.db" for n in (1, 2))

    def begin(*arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(job / "run.sh"), *arguments], env=environment | more, cwd="/", text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    process = begin(SLOW_STEPS="0.5")  # a row takes a second then, and all of them more than a minute
    until(lambda: process.poll() is not None or ask(first, "SELECT count(*) FROM dataset"), "a first row")
    process.send_signal(signal.SIGTERM)
    code, out, err = end(process, 120)
    assert code == 6, out + err
    assert "shard 1/2 stopped: it was told to stop" in err
    assert not second.exists(), "nothing new begins after a signal"
    code, out, err = end(begin("1"), 120)
    assert code == 0, out + err
    code, out, err = end(begin(), 120)
    assert code == 0, out + err
    assert "Processing" not in out, "it was installed already"
    assert [ask(store, "SELECT count(*) FROM dataset") for store in (first, second)] == [500, 500]
    where = subprocess.run(
        [job / ".venv/bin/python", "-c", "import localsynth; print(localsynth.__file__)"],
        capture_output=True, text=True, check=True, cwd="/", env=environment,
    )  # fmt: skip
    assert where.stdout.startswith(str(job / ".venv"))
    assert (job / ".installed").read_text() == f"{job}/.venv\n"


def test_an_old_python_is_refused_in_a_line(packed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    job, environment = packed
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    fresh = environment | {"PYTHON": str(old), "VENV": str(tmp_path / "venv")}
    done = subprocess.run(
        ["bash", str(job / "run.sh")], env=fresh, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1
    assert done.stderr == "localsynth needs Python 3.11 or newer; name one: PYTHON=/path/to/python3.11 bash run.sh\n"


@pytest.mark.parametrize("at_once", [False, True], ids=["at work", "at once"])
def test_slurm_hands_a_preempted_shard_back(at_once: bool, packed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """The batch script with a run.sh that drains: what Slurm's own commands are told."""
    job, environment = packed
    folder = tmp_path / "job"
    folder.mkdir()
    shutil.copy(job / "slurm.sh", folder)
    (folder / "run.sh").write_text(
        "trap 'exit 6' TERM\necho shard $1 on $BACKEND > started\n"
        + ("kill -TERM $PPID\n" if at_once else "")
        + "while :; do read -t 0.05 < <(:) || :; done\n"
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {folder}/told\n')
    (tools / "scontrol").chmod(0o755)
    slurm = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "77"}
    process = subprocess.Popen(
        ["bash", str(folder / "slurm.sh")], env=environment | slurm | {"PATH": f"{tools}:{os.environ['PATH']}"},
        text=True, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    if not at_once:
        until((folder / "started").exists, "the shard's start")
        process.send_signal(signal.SIGTERM)
    code, _, err = end(process)
    assert code == 6, err
    assert (folder / "told").read_text() == "requeue 77_2\n"
    assert (folder / "started").read_text() == "shard 2 on scripted\n"
