import importlib.machinery
import subprocess
import sys
import types

import pytest

from napari_dip_fusion.plugin.running.run_events import release_memory
from napari_dip_fusion.prior.devices import torch_is_imported

LOOKS = """
import sys
import numpy as np
from napari.components import ViewerModel
from napari_dip_fusion.plugin.layers.planes import choose_level
viewer = ViewerModel()
image = np.zeros((64, 64))
layer = viewer.add_image([image, image[::2, ::2]], multiscale=True)
choose_level(layer, viewer.dims)
print("torch" in sys.modules)
"""


@pytest.fixture
def half_imported(monkeypatch):
    """Let torch look as it does while another thread imports it."""
    torch = types.ModuleType("torch")
    torch.__spec__ = importlib.machinery.ModuleSpec("torch", None)
    torch.__spec__._initializing = True
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


def test_torch_is_there_once_its_import_has_ended(half_imported, monkeypatch):
    assert not torch_is_imported()
    half_imported.__spec__._initializing = False
    assert torch_is_imported()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not torch_is_imported()
    monkeypatch.delitem(sys.modules, "torch")
    assert not torch_is_imported()


def test_giving_memory_back_does_not_touch_a_half_imported_torch(half_imported):
    release_memory()


def test_the_choice_of_a_level_does_not_import_torch():
    command = [sys.executable, "-W", "ignore", "-c", LOOKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
