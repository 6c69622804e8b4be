"""The llama.cpp library: loaded when it is needed, silent, with its last words kept for error messages."""

from __future__ import annotations

import ctypes
import os
import re
from collections import Counter, deque
from functools import cache
from pathlib import Path
from typing import Any

from localsynth.backends.gguf import Tensor
from localsynth.errors import MissingPackage, ModelError

_WARNING, _ERROR, _CONTINUED = 3, 4, 5
_last_words: deque[str] = deque(maxlen=3)
_keep: list[Any] = []  # C keeps pointers to these


@cache
def library() -> Any:
    """The module `llama_cpp`. MissingPackage when it is not installed or was built for another machine."""
    # llama.cpp's threads wait for each other many times a token. With libgomp's own 300,000 turns of spinning they get
    # almost nothing done as soon as another program wants a core: the encoder of this very run, or a browser.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        import llama_cpp
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        why = "is not installed" if missing else f"cannot be loaded: {error}"
        raise MissingPackage(f"llama-cpp-python {why}", "pip install 'localsynth[gguf]'") from None
    except (OSError, RuntimeError) as error:
        raise MissingPackage(
            f"llama-cpp-python cannot be loaded: {error}",
            "pip install --force-reinstall --no-cache-dir 'localsynth[gguf]'",
        ) from None

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def listen(level: int, text: bytes, _data: object) -> None:
        if level in (_WARNING, _ERROR) and text.strip():
            _last_words.append(text.decode("utf-8", "replace").strip())

    _keep.append(listen)
    llama_cpp.llama_log_set(listen, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    return llama_cpp


def version() -> str:
    """The version of the Python package, which pins the library's."""
    return str(library().__version__)


def last_words() -> str:
    """The last warnings and errors of the library, for an error message."""
    return "; ".join(_last_words) or "llama.cpp gave no reason"


def has_gpu() -> bool:
    """Whether this build can put layers on a GPU."""
    return bool(library().llama_supports_gpu_offload())


@cache
def has_amx() -> bool:
    """Whether this build would multiply with AMX tiles.

    GCC before 14 drops the stores that fill the tile configuration, and the first product of two rows or more then
    ends the process. A build does not tell its compiler, so AMX is never used.
    """
    return b"AMX_INT8 = 1" in library().llama_print_system_info()


class _Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def place_weights(params: Any, tensors: list[Tensor]) -> None:
    """Keep weights out of AMX buffers and still repack Q4_0, by naming the repacking buffer for those tensors."""
    if not has_amx():
        return
    params.use_extra_bufts = False
    repacking = _extra_buffer_types().get("CPU_REPACK")
    parts = _parts_all_of("Q4_0", tensors)
    if repacking is None or not parts:
        return
    pattern = rf"^blk\..*\.({'|'.join(map(re.escape, parts))})\.weight$"
    overrides = (_Override * 2)(_Override(pattern.encode(), repacking))
    _keep.append(overrides)
    params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)


def _parts_all_of(kind: str, tensors: list[Tensor]) -> list[str]:
    """The names, within a layer, of matrices that are of this type in every layer and can be repacked."""
    have: Counter[str] = Counter()
    fits: Counter[str] = Counter()
    for tensor in tensors:
        found = re.fullmatch(r"blk\.\d+\.(\w+)\.weight", tensor.name)
        if found:
            have[found[1]] += 1
            fits[found[1]] += tensor.type == kind and len(tensor.shape) == 2 and tensor.shape[1] % 8 == 0
    return sorted(part for part in have if have[part] == fits[part])


@cache
def _extra_buffer_types() -> dict[str, int]:
    """ggml's buffer types of the CPU beside the plain one, by name, through its registry."""
    name = "libggml"
    folder = Path(library().__file__).parent / "lib"
    files = sorted(path for path in folder.iterdir() if re.fullmatch(rf"{name}\.(so|dylib)|ggml\.dll", path.name))
    if not files:
        return {}
    ggml, pointer = ctypes.CDLL(str(files[0])), ctypes.c_void_p
    for function in ("dev_by_type", "dev_backend_reg", "reg_get_proc_address"):
        getattr(ggml, f"ggml_backend_{function}").restype = pointer
    ggml.ggml_backend_buft_name.restype = ctypes.c_char_p
    cpu = pointer(ggml.ggml_backend_dev_by_type(0))
    registry = pointer(ggml.ggml_backend_dev_backend_reg(cpu))
    address = ggml.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
    if not address:
        return {}
    listed = ctypes.CFUNCTYPE(ctypes.POINTER(pointer), pointer)(address)(cpu)
    found: dict[str, int] = {}
    for number in range(16):
        if not listed or not listed[number]:
            break
        found[ggml.ggml_backend_buft_name(pointer(listed[number])).decode()] = listed[number]
    return found


def load_model(path: Path, tensors: list[Tensor], gpu_layers: int) -> int:
    """Load the weights; returns the model's handle. ModelError with llama.cpp's own reason."""
    llama = library()
    params = llama.llama_model_default_params()
    params.n_gpu_layers = gpu_layers
    place_weights(params, tensors)
    _last_words.clear()
    model = llama.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise ModelError(
            f"llama.cpp cannot load {path.name}: {last_words()}",
            "download it again, or choose another model: `localsynth models list`",
        )
    return int(model)


def quantise(source: Path, target: Path, file_type: int, threads: int) -> None:
    """Write a copy in another quantisation. ModelError with llama.cpp's own reason."""
    llama = library()
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = file_type, True, threads
    _last_words.clear()
    if llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise ModelError(f"{source.name} cannot be requantised: {last_words()}", "use the file as it is")
