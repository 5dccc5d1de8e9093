"""The tree in ARCHITECTURE.md is the tree of the package.

``python tests/test_architecture.py`` writes it anew, after a module came, went or changed its
first sentence.
"""

import ast
import re
from pathlib import Path

import pytest

import napari_dip_fusion

PACKAGE = Path(napari_dip_fusion.__file__).parent
PAGE = Path(__file__).parents[1] / "ARCHITECTURE.md"
WIDTH = 100
BLOCK = re.compile(r"(?<=<!-- tree -->\n```\n).*?(?=```\n<!-- end of the tree -->)", re.DOTALL)

# The modules of these folders stand in the order of the method, others by name.
ORDER = {
    "napari_dip_fusion": "errors config record sources operators sensor prior restoration "
    "metrics methods fusion samples io blocks comparison cli plugin",
    "sources": "source units views parts resample coverage matching grid scaling color prepare",
    "sensor": "threads strips windows stacks noise denoising leading gains consensus field "
    "bands coherence undershoot model analysis",
    "operators": "separable convolution degradation",
    "prior": "devices network optimizer fit crops stopping memory",
    "restoration": "denoiser network training restorer",
    "fusion": "control result events observing preparation frames iterations series run steps "
    "timing figures",
    "blocks": "layout cutting samples statistics survey learning fitting halo plan parts work "
    "manifest output schedule events run whole",
    "comparison": "labels events store runs report",
    "plugin": "widget commands readers writers sample_data scripting layers running forms tabs",
}


def first_sentence(file: Path) -> str:
    """Return the first sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(re.split(r"\.(?=\s|$)", text, maxsplit=1)[0].replace("``", "").split())


def sort_key(path: Path) -> tuple[int, str]:
    """Return the place of a module among those of its folder."""
    order = ORDER.get(path.parent.name, "").split()
    return (order.index(path.stem) if path.stem in order else len(order), path.stem)


def list_folder(folder: Path, depth: int) -> list[tuple[str, str]]:
    """Return name and first sentence of everything in a folder, indented."""
    lines = []
    modules = (p for p in folder.glob("*.py") if p.name not in ("__init__.py", "__main__.py"))
    folders = (p.parent for p in folder.glob("*/__init__.py"))
    for path in sorted([*modules, *folders], key=sort_key):
        indent = "  " * depth
        if path.is_dir():
            lines.append((f"{indent}{path.name}/", first_sentence(path / "__init__.py")))
            lines += list_folder(path, depth + 1)
        else:
            lines.append((f"{indent}{path.stem}", first_sentence(path)))
    return lines


def draw_tree() -> str:
    """Return the tree of the package as text, one line a module."""
    lines = list_folder(PACKAGE, 0)
    column = max(len(name) for name, _ in lines) + 2
    return "".join(_cut(f"{name:{column}}{sentence}") + "\n" for name, sentence in lines)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3].rsplit(' ', 1)[0]} ..."


@pytest.mark.skipif(not PAGE.is_file(), reason="the page is not a part of the installed package")
def test_the_picture_of_the_tree_is_the_tree() -> None:
    found = BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[0] == draw_tree(), "run python tests/test_architecture.py"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: draw_tree(), page), encoding="utf-8")
