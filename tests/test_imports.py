"""What is light stays light: the heavy libraries are loaded by the module made for each, and only when it is used."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("localsynth").origin).parent

# The modules made for each heavy library; a name ending in a dot is a package, with all its modules.
HOMES: dict[str, tuple[str, ...]] = {
    "torch": ("embedding.encoders",),
    "transformers": ("embedding.encoders",),
    "sentence_transformers": ("embedding.encoders",),
    "llama_cpp": ("backends.llamacpp.",),
    "mlx": ("backends.mlx.",),
    "mlx_lm": ("backends.mlx.",),
    "vllm": ("backends.vllm.",),
    "ray": ("handoff.cluster.",),
    "huggingface_hub": ("catalog.pulling", "importing.hub"),
    "datasets": (),
    "pyarrow": ("export.parquet", "importing.reader"),
    "textual": ("tui.",),
    "textual_serve": ("tui.serving",),
}
# The terminal UI is one room around its library; its doors import it inside functions.
AT_THE_TOP = {"textual"}

LIGHT = """
import json, sys
try:
    {body}
except SystemExit:
    pass
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})), file=sys.stderr)
"""


def loaded_by(body: str, *arguments: str) -> set[str]:
    command = [sys.executable, "-c", LIGHT.format(body=body), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


COMMAND = "from localsynth.cli.main import main; main(sys.argv[1:])"


@pytest.mark.parametrize(
    ("body", "arguments", "also"),
    [
        ("import localsynth", [], {"numpy", "click", "rich"}),
        (COMMAND, ["--help"], {"numpy", "sqlite_utils", "jinja2"}),
        (COMMAND, ["generate", "--help"], {"numpy", "sqlite_utils", "jinja2"}),
        (COMMAND, ["ls"], {"numpy"}),
    ],
    ids=["import", "help", "generate-help", "ls"],
)
def test_light_doors_load_nothing_heavy(
    body: str, arguments: list[str], also: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOCALSYNTH_STORE", str(tmp_path / "rows.db"))
    if arguments == ["ls"]:
        from localsynth.store import Store

        Store.open(tmp_path / "rows.db").close()
    loaded = loaded_by(body, *arguments)
    assert "localsynth" in loaded
    assert loaded & (HOMES.keys() | also) == set()


def test_python_m_is_the_command():
    command = [sys.executable, "-m", "localsynth", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: localsynth")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        yield name, ast.parse(file.read_text(encoding="utf-8"))


def imports(node: ast.AST, *, deferred: bool = False) -> Iterator[tuple[str, bool]]:
    """Each library that is imported below a node, and whether that waits for a call (or is for type checkers)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name.split(".")[0], deferred) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module.split(".")[0], deferred
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            yield from imports(child, deferred=deferred or function or typing_only)


def at_home(library: str, module: str) -> bool:
    return any(module == home or (home.endswith(".") and module.startswith(home)) for home in HOMES[library])


def faults(module: str, tree: ast.AST) -> list[str]:
    found = []
    for library, deferred in imports(tree):
        if library in HOMES and not at_home(library, module):
            found.append(f"{module} imports {library}, which is for {HOMES[library]}")
        if library in HOMES and not deferred and library not in AT_THE_TOP:
            found.append(f"{module} imports {library} at the top")
    return found


def test_heavy_libraries_are_imported_at_home_and_inside_functions():
    assert [fault for name, tree in modules() for fault in faults(name, tree)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "def f():\n    import transformers.models",
        "import llama_cpp",
        "class C:\n    from pyarrow import parquet",
        "if x:\n    import sentence_transformers",
        "def f():\n    from textual.app import App",
    ],
)
def test_the_check_finds_faults(source: str):
    assert faults("engine.runner", ast.parse(source))


def test_the_check_allows_a_deferred_import_at_home():
    source = "if TYPE_CHECKING:\n    import llama_cpp\ndef f():\n    import llama_cpp"
    assert faults("backends.llamacpp.library", ast.parse(source)) == []
