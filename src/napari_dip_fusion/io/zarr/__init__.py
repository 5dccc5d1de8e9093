"""OME-Zarr in and out."""
