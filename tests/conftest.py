"""What all tests share: napari's settings, which they keep to themselves, and early imports."""

import importlib
import os
import pkgutil
import sys

# Before napari reads it: no file, so that nothing of the person who runs the tests is read, reset
# or written.
os.environ["NAPARI_CONFIG"] = ""


def pytest_sessionstart():
    """Import every module of the package in one thread, where slipcover measures what is reached.

    slipcover parses a module with ``ast`` when it is imported. Where a fusion's thread and the
    window import something at the same moment, two threads parse at once, and Python before 3.11.8
    then fails by chance (cpython issue 106905). Without slipcover nothing is imported early.
    """
    if "slipcover" not in sys.modules:
        return
    import napari_dip_fusion

    for module in pkgutil.walk_packages(napari_dip_fusion.__path__, "napari_dip_fusion."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
