"""DICOM radiographs: what is read and refused, grey scale, columns that may leave the file.

Imported by `images.radiograph`, which imports pydicom only when it is needed.
"""
