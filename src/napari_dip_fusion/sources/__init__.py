"""The way from images to arrays that can be fused.

A source is an image and its place in the world; here one part of it is chosen, all sources
are brought to one grid of pixels, and their values to [0, 1].
"""

from napari_dip_fusion.sources.source import GUESSED_PLACE, Source

__all__ = ["GUESSED_PLACE", "Source"]
