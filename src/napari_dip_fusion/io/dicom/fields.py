"""The fields of a DICOM header, wherever in it they stand.

Sections such as C.7.6.2 are those of DICOM PS3.3, which defines the fields.
"""

from typing import Any

from napari_dip_fusion.io.dicom.elements import get_value, parse_number

__all__ = ["Fields"]


class Fields:
    """The fields that hold for one frame, wherever in the header they stand.

    Enhanced objects keep them in functional groups (C.7.6.16): those of each frame, and
    those that all frames share. Other objects keep them in the header itself.

    Parameters
    ----------
    header : pydicom.Dataset
        The header.
    index : int
        Index of the frame in the file.
    known : dict, optional
        What was found so far that all frames of the file share; one dict for all of them
        spares looking for it again.

    Attributes
    ----------
    places : list of pydicom.Dataset
        The functional groups of this frame, then the shared ones; empty where there are none.
    header : pydicom.Dataset
        The header.
    index : int
        Index of the frame in the file.
    """

    def __init__(self, header: Any, index: int, known: dict[Any, Any] | None = None) -> None:
        own = header.get("PerFrameFunctionalGroupsSequence") or []
        shared = header.get("SharedFunctionalGroupsSequence") or []
        self._own, self._shared = own[index : index + 1], shared[:1]
        self._known = {} if known is None else known
        self.places = [*self._own, *self._shared]
        self.header = header
        self.index = index

    def get(self, keyword: str) -> Any:
        """Return the value of a field of the header itself, None if there is none."""
        if keyword not in self._known:
            self._known[keyword] = get_value(self.header, keyword)
        return self._known[keyword]

    def find(self, group: str, keyword: str) -> Any:
        """Return the value of a field in a group or in the header, None if there is none."""
        if not group or not self.places:
            return self.get(keyword)
        for place in self._own:
            items = get_value(place, group)
            if items and keyword in items[0]:
                return items[0].get(keyword)
        if (group, keyword) not in self._known:
            items = [item for place in self._shared for item in get_value(place, group) or []]
            held = items and keyword in items[0]
            self._known[group, keyword] = items[0].get(keyword) if held else self.get(keyword)
        return self._known[group, keyword]

    def find_item(self, group: str) -> Any:
        """Return the first item of a group, of the frame or of the header; None without one."""
        for place in self.places:
            items = get_value(place, group)
            if items:
                return items[0]
        items = self.get(group)
        return items[0] if items else None

    def find_number(self, group: str, keyword: str) -> float | None:
        """Return the number in a field, the first of several; None if there is none."""
        return parse_number(self.find(group, keyword))
