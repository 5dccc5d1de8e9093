"""A fit beside Mesa's OpenGL and triton, whose two copies of LLVM must not meet."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

# Only a process of its own can die without taking the tests along, or has not loaded LLVM yet.
FIT_AFTER_OPENGL = """
import ctypes
import json
import sys

from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

application = QGuiApplication([])
surface = QOffscreenSurface()
surface.create()
context = QOpenGLContext()
current = context.create() and context.makeCurrent(surface)

import numpy as np
from napari_dip_fusion import FusionConfig, fuse

sources = np.random.default_rng(2).random((2, 32, 32), dtype=np.float32)
config = FusionConfig(
    iterations=2, width=4, depth=2, threads=1, device="cpu", restore="never"
)
result = fuse(sources, config)
print(json.dumps({
    "opengl": current,
    "llvm": hasattr(ctypes.CDLL(None), "LLVMContextCreate"),
    "triton": "triton" in sys.modules,
    "iterations": result.record["iterations"],
}))
"""


@pytest.fixture
def environment_with_triton():
    """Return an environment in which triton can be imported."""
    folder = os.environ.get("DIP_FUSION_TRITON")
    if folder:
        return os.environ | {"PYTHONPATH": folder}
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed; .ci/run installs it on Linux in a folder of its own")
    return dict(os.environ)


@pytest.mark.skipif(sys.platform != "linux", reason="triton and Mesa meet on Linux only")
def test_a_fit_survives_opengl_and_triton(environment_with_triton):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", FIT_AFTER_OPENGL],
        env=environment_with_triton,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    if not found["opengl"] or not found["llvm"]:
        pytest.skip("OpenGL is drawn without a shared LLVM here, so that nothing can crash")
    assert found["iterations"] == 2
    assert not found["triton"]
