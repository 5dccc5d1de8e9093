"""TIFF in and out, in three dialects: plain TIFF, OME-TIFF, and bundles of a whole fusion."""
