"""A row of a table finds the image it names, or none: never another one without a word."""

from __future__ import annotations

import os
from pathlib import Path
from unicodedata import normalize

import pytest

from cxrfeat.errors import InputError
from cxrfeat.inputs import Dataset, find
from cxrfeat.tables import write_table

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)


def listed(images: Path | list[Path], *values: str) -> Dataset:
    """Find the images that a table of these paths lists; each has a label of its own."""
    table = (images if isinstance(images, Path) else images[0]).parent / "labels.csv"
    write_table(table, {"path": list(values), "label": [f"label of {v}" for v in values]})
    return find(images, table)


def joined(dataset: Dataset) -> dict[str, str]:
    """The row of the table that each image got its label from."""
    assert dataset.labels is not None
    rows = [dataset.classes[i].removeprefix("label of ") for i in dataset.labels.argmax(axis=1)]
    return dict(zip(dataset.ids, rows, strict=True))


def test_a_row_with_a_folder_never_takes_the_image_of_another_folder(folder: Path) -> None:
    put(folder, "patient1/view1.png", "patient3/view2.png")
    dataset = listed(folder, "patient2/view1.png", "patient3/view2.png")
    assert joined(dataset) == {"patient3/view2.png": "patient3/view2.png"}
    assert dataset.missing == ["patient2/view1.png"]


def test_nor_the_image_of_that_name_beside_the_folders(folder: Path) -> None:
    put(folder, "view1.png", "patient1/view1.png")
    dataset = listed(folder, "patient1/view1.png", "patient2/view1.png")
    assert joined(dataset) == {"patient1/view1.png": "patient1/view1.png"}
    assert dataset.missing == ["patient2/view1.png"]


def test_a_table_of_other_folders_alone_finds_nothing(folder: Path) -> None:
    put(folder, "patient1/view1.png")
    with pytest.raises(InputError, match=r"no image that .*'patient2/view1.png'"):
        listed(folder, "patient2/view1.png")


def test_a_bare_name_is_joined_below_the_folder_and_that_is_said(folder: Path) -> None:
    put(folder, "a/1.png", "b/2.png", "3.png")
    dataset = listed(folder, "1.png", "2", "3.png")
    assert joined(dataset) == {"3.png": "3.png", "a/1.png": "1.png", "b/2.png": "2"}
    assert dataset.joined_by_fallback == {"1.png": "a/1.png", "2": "b/2.png"}
    (note,) = [note for note in dataset.notes if "file name alone" in note]
    assert note.startswith("2 row(s)")
    assert "'1.png' is 'a/1.png'" in note


@pytest.mark.parametrize("value", ["1.png", "1"])
def test_a_bare_name_of_several_images_is_refused_with_their_names(
    folder: Path, value: str
) -> None:
    put(folder, "a/1.png", "b/1.png", "c/2.png")
    with pytest.raises(InputError, match=rf"'{value}' could be 'a/1.png' or 'b/1.png'"):
        listed(folder, value, "c/2.png")


def test_two_names_of_one_file_are_no_choice(folder: Path) -> None:
    put(folder, "a/1.png")
    (folder / "b").mkdir()
    (folder / "b" / "1.png").symlink_to(folder / "a" / "1.png")
    assert listed(folder, "1.png").ids == ["a/1.png"]


@pytest.mark.parametrize(
    "prefix",
    ["files/", "data/study/", "/data/study/", "D:\\study\\", "\\\\server\\share\\", "./x/"],
)
def test_one_prefix_is_dropped_from_the_whole_table_and_that_is_said(
    folder: Path, prefix: str
) -> None:
    put(folder, "p1/view1.png", "p2/view1.png", "p2/view2.png")
    separator = "\\" if "\\" in prefix else "/"
    names = ["p1/view1.png", "p2/view1.png", "p3/view1.png"]
    values = [prefix + name.replace("/", separator) for name in names]
    dataset = listed(folder, *values)
    assert joined(dataset) == dict(zip(names[:2], values[:2], strict=True))
    assert dataset.missing == values[2:]
    assert list(dataset.joined_by_fallback) == values[:2]
    (note,) = [note for note in dataset.notes if "dropped from the paths of" in note]
    assert "of 2 row(s)" in note


def test_rows_that_lack_the_prefix_of_the_others_are_missing(folder: Path) -> None:
    put(folder, "a.png", "b.png", "c.png")
    dataset = listed(folder, "files/a.png", "files/b.png", "other/c.png")
    assert dataset.ids == ["a.png", "b.png"]
    assert dataset.missing == ["other/c.png"]


def test_prefixes_that_would_make_one_image_of_two_rows_are_refused(folder: Path) -> None:
    put(folder, "view1.png", "view2.png")
    with pytest.raises(InputError, match=r"'patient1/' and 'patient2/' could each be dropped"):
        listed(folder, "patient1/view1.png", "patient1/view2.png", "patient2/view1.png")


def test_prefixes_of_equal_right_are_refused(folder: Path) -> None:
    put(folder, "b/x.png", "x.png")
    with pytest.raises(InputError, match=r"'a/' and 'a/b/' could each be dropped"):
        listed(folder, "a/b/x.png")


def test_paths_from_a_folder_above_the_images_are_as_good_as_from_within(folder: Path) -> None:
    put(folder, "train/a.png", "b.png")
    dataset = listed(folder, "images/train/a.png", "images/b.png", "elsewhere/b.png")
    assert dataset.ids == ["b.png", "train/a.png"]
    assert dataset.missing == ["elsewhere/b.png"]
    assert dataset.joined_by_fallback == {}


def test_several_folders_are_told_apart_by_their_own_names(tmp_path: Path) -> None:
    put(tmp_path, "siteA/1.png", "siteB/1.png", "siteB/2.png")
    roots = [tmp_path / "siteA", tmp_path / "siteB"]
    dataset = listed(roots, "siteA/1.png", "siteB/2.png", "siteC/2.png")
    assert dataset.paths == [roots[0] / "1.png", roots[1] / "2.png"]
    assert dataset.missing == ["siteC/2.png"]
    with pytest.raises(InputError, match=r"'1.png' could be '.*siteA/1.png' or '.*siteB/1.png'"):
        listed(roots, "1.png")


def test_a_table_of_images_that_are_named_one_by_one(folder: Path) -> None:
    put(folder, "1.png", "2.png", "3.png")
    dataset = listed([folder / "1.png", folder / "2.png"], "1.png", f"{folder}/2.png", "3.png")
    assert dataset.ids == ["1.png", "2.png"]
    assert dataset.missing == ["3.png"]


def test_a_path_without_its_suffix_is_found_in_its_folder_only(folder: Path) -> None:
    put(folder, "p1/view1.png", "p2/view1.jpg", "p2/view2.jpg", "p2/view2.png")
    dataset = listed(folder, "p1/view1", "p2/view1", "p3/view1")
    assert joined(dataset) == {"p1/view1.png": "p1/view1", "p2/view1.jpg": "p2/view1"}
    assert dataset.missing == ["p3/view1"]
    with pytest.raises(InputError, match=r"'p2/view2' could be 'p2/view2.jpg' or 'p2/view2.png'"):
        listed(folder, "p2/view2")


def test_a_folder_is_no_image_of_that_name(folder: Path) -> None:
    put(folder, "case1/x.png", "scans/case1.png")
    assert listed(folder, "case1").ids == ["scans/case1.png"]


@pytest.mark.parametrize(
    "written", ["./p1/a.png", "p1//a.png", "p1/./a.png", "p1/../p1/a.png", "p1\\a.png"]
)
def test_ways_to_write_one_path_are_one_path(folder: Path, written: str) -> None:
    put(folder, "p1/a.png", "p2/b.png")
    dataset = listed(folder, written, "p2/b.png")
    assert joined(dataset) == {"p1/a.png": written, "p2/b.png": "p2/b.png"}
    assert dataset.joined_by_fallback == {}


def test_absolute_paths_have_the_ids_of_their_folder_however_it_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, "p1/a.png")
    link = folder.parent / "link"
    link.symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    for root in (folder, link, Path("images")):
        assert find(root, _table(folder, f"{folder}/p1/a.png")).ids == ["p1/a.png"]


def _table(folder: Path, *values: str) -> Path:
    write_table(folder.parent / "t.csv", {"path": list(values)})
    return folder.parent / "t.csv"


def test_upper_and_lower_case_are_different_but_said(folder: Path) -> None:
    put(folder, "p1/a.png", "p1/B.png")
    dataset = listed(folder, "p1/A.PNG", "p1/B.png")
    assert dataset.missing == ["p1/A.PNG"]
    assert any("upper and lower case" in note and "'p1/a.png'" in note for note in dataset.notes)
    with pytest.raises(InputError, match=r"no image that .*upper and lower case.*'p1/a.png'"):
        listed(folder, "p1/A.PNG")


NAME = "Sánchez/Über.png"


@pytest.mark.parametrize(("disk", "table"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
@pytest.mark.parametrize("value", [NAME, "Über.png", "files/Sánchez/Über.png", "images/" + NAME])
def test_a_name_is_the_same_in_both_unicode_forms(
    folder: Path, disk: str, table: str, value: str
) -> None:
    put(folder, normalize(disk, NAME))
    dataset = listed(folder, normalize(table, value))
    assert dataset.ids == [normalize("NFC", NAME)]
    assert dataset.paths[0].is_file()
    assert find(folder).ids == dataset.ids


def test_an_exact_name_wins_over_the_other_unicode_form(folder: Path) -> None:
    put(folder, normalize("NFC", "é.png"))
    if (folder / normalize("NFD", "é.png")).exists():
        pytest.skip("this disk holds both forms to be one file")
    put(folder, normalize("NFD", "é.png"))
    with pytest.raises(InputError, match="rename one"):
        find(folder)
    for form in ("NFC", "NFD"):
        dataset = listed(folder, normalize(form, "é.png"))
        assert dataset.paths == [folder / normalize(form, "é.png")]


def test_class_folders_and_labels_in_both_unicode_forms_are_one_class(folder: Path) -> None:
    for form, split in (("NFC", "train"), ("NFD", "val")):
        put(folder, f"{split}/{normalize(form, 'Fußweg-Rötung')}/1.png", f"{split}/clear/2.png")
    assert find(folder).classes == [normalize("NFC", "Fußweg-Rötung"), "clear"]
    table = folder.parent / "t.csv"
    write_table(
        table,
        {
            "path": ["train/clear/2.png", "val/clear/2.png"],
            "label": [normalize("NFC", "Rötung"), normalize("NFD", "Rötung")],
            "patient": [normalize("NFC", "Özil"), normalize("NFD", "Özil")],
        },
    )
    dataset = find(folder, table)
    assert dataset.classes == ["Rötung"]
    assert set(dataset.meta["group"].tolist()) == {normalize("NFC", "Özil")}


def test_a_long_table_is_joined_in_one_walk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"p{i // 10}/{i}.png" for i in range(300)]
    put(folder, *names)
    walks = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *a, **k: walks.append(a) or walk(*a, **k))
    dataset = listed(folder, *(f"files/{name}" for name in names), "files/none.png")
    assert len(dataset) == 300
    assert len(walks) == 1


def test_a_drive_is_the_same_in_either_case(folder: Path) -> None:
    put(folder, "a.png", "b.png")
    dataset = listed(folder, "D:\\study\\a.png", "d:\\study\\b.png")
    assert dataset.ids == ["a.png", "b.png"]
