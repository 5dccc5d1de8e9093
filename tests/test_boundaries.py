"""What may import what, proved in fresh processes."""

import ast
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import napari_dip_fusion

PACKAGE = Path(napari_dip_fusion.__file__).parent
MODULES = sorted(
    "napari_dip_fusion." + ".".join(p.relative_to(PACKAGE).with_suffix("").parts)
    for p in PACKAGE.rglob("*.py")
    if "plugin" not in p.relative_to(PACKAGE).parts
)
WITHOUT_TORCH = ("metrics", "gains", "sources", "config", "io", "record", "samples", "cli")
LEAVES = (
    "align",
    "config",
    "denoising",
    "errors",
    "gains",
    "metrics",
    "network",
    "noise",
    "optimizer",
    "samples",
    "stopping",
)


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh process holds after `code`."""
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return {name.partition(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


def test_nothing_outside_the_plugin_loads_napari_or_qt() -> None:
    names = [n.removesuffix(".__init__") for n in MODULES]
    loaded = loaded_after("\n".join(f"import {n}" for n in names))
    assert not loaded & {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PyQt6", "PySide6"}


def test_light_modules_do_not_load_torch() -> None:
    code = "\n".join(f"import napari_dip_fusion.{name}" for name in WITHOUT_TORCH)
    assert "torch" not in loaded_after(code)


def test_import_is_lazy_and_quick() -> None:
    loaded = loaded_after("import napari_dip_fusion; dir(napari_dip_fusion)")
    assert not loaded & {"torch", "napari", "numpy", "scipy", "skimage"}

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    pairs = [(seconds("import napari_dip_fusion"), seconds("pass")) for _ in range(5)]
    assert min(p[0] for p in pairs) - min(p[1] for p in pairs) < 0.2


def test_public_names_are_there() -> None:
    for name in napari_dip_fusion.__all__:
        assert getattr(napari_dip_fusion, name).__name__ == name
    assert napari_dip_fusion.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = napari_dip_fusion.nothing


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_modules_import_no_other_module_of_the_package(leaf: str) -> None:
    tree = ast.parse((PACKAGE / f"{leaf}.py").read_text(encoding="utf-8"))
    imported = {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_dip_fusion")
    }
    assert not {n for n in imported if not n.startswith("napari_dip_fusion._")}
