"""DICOM radiographs: what is read and refused, grey scale, columns that may leave the file.

Imported by `radiograph`, which imports pydicom only when it is needed. To read: `reading`,
`transfer_syntax` (which decoder), `grey_scale`, `columns` and `patient_key` (nothing that tells who
it is).
"""
