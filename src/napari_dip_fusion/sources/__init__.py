"""What is fused: sources, the part of a file that is meant, one grid for all, values in [0, 1]."""

from napari_dip_fusion.sources.source import Source

__all__ = ["Source"]
