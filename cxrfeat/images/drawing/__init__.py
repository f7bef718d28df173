"""Pictures that are made: thumbnails, contact sheets, overlays, synthetic radiographs.

Imported by `commands` and `reporting`.
"""
