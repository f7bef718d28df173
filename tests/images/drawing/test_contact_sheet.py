"""A contact sheet is readable however few radiographs are on it."""

from pathlib import Path

import numpy as np
from PIL import Image

from cxrfeat.images.drawing.contact_sheet import Tile, draw_sheet

TITLE = (
    "Class activation map, red: for the class, blue: against it. Research only, not for diagnosis"
)


def above_the_tiles(path: Path, count: int, title: str) -> np.ndarray:
    tile = Tile(np.zeros((8, 8), np.float32), ("caption",))
    draw_sheet([tile] * count, path, title=title)
    grey = np.asarray(Image.open(path).convert("L"))
    first = int(np.flatnonzero((grey == 0).sum(axis=1) > 200)[0])
    return grey[:first] < 128


def test_a_long_title_takes_more_lines_on_a_narrow_sheet_and_loses_no_word(tmp_path: Path) -> None:
    wide = above_the_tiles(tmp_path / "wide.png", 12, TITLE)
    narrow = above_the_tiles(tmp_path / "narrow.png", 1, TITLE)
    assert len(narrow) > len(wide)
    ink = [int(part.sum()) for part in (wide, narrow)]
    assert abs(ink[0] - ink[1]) < 0.05 * ink[0]
    assert not narrow[:, -4:].any()


def test_without_a_title_there_is_no_room_for_one(tmp_path: Path) -> None:
    assert len(above_the_tiles(tmp_path / "none.png", 1, "")) < 13
