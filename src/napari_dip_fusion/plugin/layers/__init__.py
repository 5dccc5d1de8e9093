"""napari layers: what of them is fused, and the layers that results become."""
