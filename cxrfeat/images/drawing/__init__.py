"""Pictures that are made: synthetic radiographs, thumbnails, contact sheets, overlays.

Imports `images`; imported by commands, `prediction` and `reporting`. One file each: `phantom`,
`thumbnails`, `contact_sheet`, `overlay`.
"""
