"""What may import what, proved in fresh processes."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import napari_dip_fusion

PACKAGE = Path(napari_dip_fusion.__file__).parent
NAME = "napari_dip_fusion"
FACES = ("__init__.py", "__init__.pyi")

ROOMS = (
    "errors",
    "interruption",
    "config",
    "record",
    "sources",
    "operators",
    "sensor",
    "prior",
    "restoration",
    "metrics",
    "methods",
    "fusion",
    "samples",
    "io",
    "blocks",
    "comparison",
    "cli",
    "plugin",
)
"""The rooms of the package in the order of ARCHITECTURE.md: each imports only what is before it."""

PLUGIN_ROOMS = ("layers", "running", "forms", "tabs")
"""The same inside the plugin, whose doors at the top may import all of them."""

WITHOUT_TORCH = (
    "blocks.engine",
    "blocks.run",
    "cli",
    "config",
    "fusion",
    "io.claimed",
    "io.files",
    "io.formats",
    "metrics",
    "operators.degradation",
    "record",
    "restoration.denoiser",
    "samples",
    "sensor.analysis",
    "sources.grid",
    "sources.prepare",
)
LEAVES = (
    "errors",
    "operators.separable",
    "prior.network",
    "prior.optimizer",
    "prior.stopping",
    "sensor.denoising",
    "sensor.noise",
    "sources.resample",
    "sources.units",
    "sources.views",
)
LEAF_ROOMS = ("config", "metrics")
FOUNDATIONS = {f"{NAME}.interruption", f"{NAME}.sensor.strips", f"{NAME}.sensor.threads"}
"""What loops over large images are made with, in leaves too: they ask there whether to go on."""


def module_name(file: Path) -> str:
    """Return the dotted name of a module; of a package, for its two faces."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join([NAME, *(p for p in parts if p != "__init__")])


FILES = sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")])
MODULES = {module_name(file) for file in FILES}


def imports_of(file: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever the import stands.

    An import of a name counts as one of the module that holds it, and of the face of the
    package that the module is in only where the face itself gives the name.
    """
    package = module_name(file) if file.name in FACES else module_name(file).rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in MODULES else base)
    return (found & MODULES) - {module_name(file)}


@cache
def import_graph() -> dict[str, set[str]]:
    """Return what each module of the package imports."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for file in FILES:
        graph[module_name(file)] |= imports_of(file)
    return graph


def reached_from(start: str, graph: dict[str, set[str]]) -> set[str]:
    """Return the modules that a module imports, directly or through others."""
    reached: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph[name]
    return reached


def rank(name: str, rooms: tuple[str, ...]) -> int:
    """Return the place of a module's room; what stands in no room comes after all of them."""
    room = name.partition(".")[0]
    return rooms.index(room) if room in rooms else len(rooms)


def inside(package: str) -> dict[str, set[str]]:
    """Return the import graph within a package, with names relative to it."""
    start = f"{package}."
    return {
        name.removeprefix(start): {i.removeprefix(start) for i in found if i.startswith(start)}
        for name, found in import_graph().items()
        if name.startswith(start)
    }


def test_no_two_modules_import_each_other_directly_or_in_a_circle() -> None:
    graph = import_graph()
    assert sum(map(len, graph.values())) > 200  # the imports were found
    assert [name for name in sorted(graph) if name in reached_from(name, graph)] == []


@pytest.mark.parametrize(
    ("package", "rooms"), [(NAME, ROOMS), (f"{NAME}.plugin", PLUGIN_ROOMS)], ids=["all", "plugin"]
)
def test_no_room_imports_one_that_stands_after_it(package: str, rooms: tuple[str, ...]) -> None:
    wrong = [
        f"{name} imports {other}"
        for name, found in inside(package).items()
        for other in found
        if rank(other, rooms) > rank(name, rooms)
    ]
    assert wrong == []


def test_every_module_stands_in_a_room() -> None:
    # Beside them stands what makes the package a program.
    assert {name.partition(".")[0] for name in inside(NAME)} == {*ROOMS, "__main__"}
    in_plugin = {name.partition(".")[0] for name in inside(f"{NAME}.plugin") if "." in name}
    assert in_plugin == set(PLUGIN_ROOMS)


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh process holds after `code`."""
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return {name.partition(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


def test_nothing_outside_the_plugin_loads_napari_or_qt_and_nothing_distributed() -> None:
    names = sorted(n for n in MODULES if not n.startswith(f"{NAME}.plugin"))
    loaded = loaded_after("\n".join(f"import {n}" for n in names))
    assert "distributed" not in loaded
    assert not loaded & {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "PyQt6", "PySide6"}


def test_light_modules_do_not_load_torch() -> None:
    code = "\n".join(f"import napari_dip_fusion.{name}" for name in WITHOUT_TORCH)
    assert "torch" not in loaded_after(code)


def test_import_is_lazy_and_loads_next_to_nothing() -> None:
    loaded = loaded_after("import napari_dip_fusion; dir(napari_dip_fusion)")
    # An environment may load modules at the start of every process.
    foreign = loaded - loaded_after("pass") - sys.stdlib_module_names
    assert foreign == {NAME, "lazy_loader"}


def test_public_names_are_there() -> None:
    for name in napari_dip_fusion.__all__:
        assert getattr(napari_dip_fusion, name).__name__ == name
    assert napari_dip_fusion.__version__
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = napari_dip_fusion.nothing


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_modules_import_no_other_module_of_the_package(leaf: str) -> None:
    assert import_graph()[f"{NAME}.{leaf}"] - FOUNDATIONS == set()


@pytest.mark.parametrize("room", LEAF_ROOMS)
def test_leaf_rooms_import_no_other_room(room: str) -> None:
    inner = (name for name in MODULES if f"{name}.".startswith(f"{NAME}.{room}."))
    found = {other for name in inner for other in import_graph()[name]}
    others = {other for other in found if not other.startswith(f"{NAME}.{room}")}
    assert others - FOUNDATIONS == set()
