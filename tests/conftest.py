"""napari's settings, which the tests keep to themselves."""

import os

# Before napari reads it: no file, so that nothing of the person who runs the tests is read, reset
# or written.
os.environ["NAPARI_CONFIG"] = ""
