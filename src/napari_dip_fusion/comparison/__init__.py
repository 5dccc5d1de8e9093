"""Several fusion methods on the same sets of sources: runs, what is kept of them, and reports."""
