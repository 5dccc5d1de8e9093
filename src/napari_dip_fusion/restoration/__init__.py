"""Restore what a source's sensor lost: by a denoiser, and by a network fitted to the source."""
