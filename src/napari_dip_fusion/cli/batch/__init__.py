"""The command dip-fusion batch, which fuses many sets of sources with the same settings."""
