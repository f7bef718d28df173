"""What a run holds of each image is little, however many there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cxrfeat import inputs
from cxrfeat.extraction.plan import plan
from cxrfeat.extraction.ray_supply import Supply
from cxrfeat.extraction.sources import FileSource, ImageSource, Stamp
from cxrfeat.images import ReadingOptions
from cxrfeat.inputs import PlaceList
from tests.benchmark import benchmark

million = benchmark("million")
DIMENSION = 4


def test_an_extraction_holds_less_than_a_kilobyte_of_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first run, which computes, and in the second, which has nothing to do."""
    monkeypatch.setattr(million, "BATCH", 64)
    peaks: dict[int, list[int]] = {}
    for images in (10, 1000, 2000):
        folder = tmp_path / str(images)
        sha256 = million.draw(folder, range(images))
        tried = []
        for out in ("one", "other"):  # what is loaded once only is not of the images
            tried.append([])
            for computed in (images, 0):
                tracemalloc.start()
                found = million.extract(folder, folder / out, 4, sha256)
                tried[-1].append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
                assert (found["images"], found["computed"]) == (images, computed)
        peaks[images] = [min(both) for both in zip(*tried, strict=True)]
    first, second = ((peaks[2000][run] - peaks[1000][run]) / 1000 for run in (0, 1))
    assert max(first, second) < 700, peaks


def test_paths_are_kept_as_text_and_come_back_as_they_were(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", Path("é/b.png"), Path("\udcff.png"), Path("x")]
    places = PlaceList(paths)
    assert places == paths
    assert places[-1] == Path("x")
    assert places[1:3] == paths[1:3]
    assert places.taken([2, 0]) == [paths[2], paths[0]]
    with pytest.raises(IndexError):
        places[4]


def test_folders_are_walked_to_the_same_paths_however_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images" / "a b" / "c").mkdir(parents=True)
    for name in ("x.png", "a b/y.png", "a b/c/z.png"):
        (tmp_path / "images" / name).touch()
    monkeypatch.chdir(tmp_path / "images")
    wanted = ["a b/c/z.png", "a b/y.png", "x.png"]
    for root in (".", "./", "../images", tmp_path / "images", f"{tmp_path}/images//"):
        found = inputs.find(root)
        assert found.ids == wanted
        assert [path.resolve() for path in found.paths] == [
            tmp_path / "images" / name for name in wanted
        ]


class Counted(Mapping[str, ImageSource]):
    """Sources of images that are nowhere, and how many of them were made."""

    def __init__(self, ids: list[str]) -> None:
        self.ids, self.made = ids, 0

    def __getitem__(self, id: str) -> ImageSource:
        self.made += 1
        return Placed(id, Path(id))

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


class Placed(FileSource):
    def stamp(self) -> Stamp:
        return Stamp(1, 1)


def test_work_for_other_machines_is_made_as_it_is_sent() -> None:
    sources = Counted([f"{number}.png" for number in range(5000)])
    work = plan(sources, {"vgg16": sources.ids})
    with ThreadPoolExecutor(1) as readers:
        supply = Supply(work, ReadingOptions.max_bytes, readers, 32)
        assert supply.left() == 157
        asked = supply.take("node")
        assert [one.item.source.id for one in asked] == sources.ids[:32]
        assert sources.made <= 64
        while supply.left():
            asked += supply.take("node")
    assert [one.item.source.id for one in asked] == sources.ids
