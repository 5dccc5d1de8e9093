"""TIFF in and out: plain pages, OME-TIFF, and fusion bundles."""
