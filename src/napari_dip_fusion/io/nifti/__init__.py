"""NIfTI-1 and NIfTI-2, the volumes of neuroimaging: the whole affine, and scaled values."""
