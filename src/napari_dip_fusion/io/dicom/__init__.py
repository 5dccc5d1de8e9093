"""DICOM in: the slices of a file, their order in space, and what may be told of a patient."""
