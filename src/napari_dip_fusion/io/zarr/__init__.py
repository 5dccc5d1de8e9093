"""OME-Zarr 0.4 and 0.5, in and out: lazy, with all resolutions.

The specifications are at https://ngff.openmicroscopy.org/0.4 (on Zarr 2) and /0.5 (on Zarr 3).
"""

ATTRIBUTE = "napari-dip-fusion"
"""Name of the attribute that holds this program's description of an image."""
