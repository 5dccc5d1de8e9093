"""DICOM in: frames are read from files, put in order, and stacked to volumes.

In this folder a frame is one plane of pixels in a file (DICOM PS3.3 C.7.6.6), and a slice
is a place in space, where one frame lies or several of different times.
"""
