"""The layers of napari: what is read of them, and those that are added.

Layers are only touched on the GUI thread. What a worker thread needs of them is taken
beforehand as a :class:`~.plane_reader.PlaneReader` and a :class:`~.placement.Placement`, which
stay valid when layers or sliders change.
"""
