from .scripting import fuse_layers as fuse_layers
