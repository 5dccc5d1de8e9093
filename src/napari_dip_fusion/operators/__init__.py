"""How a source came to be less than the image sought: blur, coarse pixels and what was not seen."""
