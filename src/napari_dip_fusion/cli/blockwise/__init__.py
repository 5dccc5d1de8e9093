"""The command dip-fusion fuse where images are fused block by block, as those that are large."""
