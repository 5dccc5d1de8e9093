"""The napari plugin: the only folder of the package that imports napari, Qt or magicgui."""
