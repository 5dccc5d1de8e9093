"""OME-Zarr: versions 0.1 to 0.6 in, 0.4 and 0.5 out; lazy, with all resolutions.

The specifications are at https://ngff.openmicroscopy.org/0.4 (on Zarr 2), /0.5 (on Zarr 3) and so
on. Of the transformations of 0.6 those are read that are a matrix.
"""

ATTRIBUTE = "napari-dip-fusion"
"""Name of the attribute that holds this program's description of an image."""

GROWING = "napari-dip-fusion-growing"
"""Name of the attribute that says how an image is written of which blocks are still missing."""
