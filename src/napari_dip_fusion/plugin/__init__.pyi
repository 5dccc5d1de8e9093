from .scripting import fuse_layer_blocks as fuse_layer_blocks
from .scripting import fuse_layers as fuse_layers
