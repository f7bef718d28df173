"""Images and labels are found in folders and tables, and what is ambiguous is said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import LabelTable, find, from_folders
from cxrfeat.tables import write_table

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 200


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def labelled(dataset) -> dict[str, str]:
    names = [dataset.classes[i] for i in dataset.labels.argmax(axis=1)]
    return dict(zip(dataset.ids, names, strict=True))


def test_class_folders_are_labels_and_ids_are_sorted_paths(tmp_path: Path) -> None:
    dataset = find(touch(tmp_path, "sick/b.png", "well/a.png", "sick/a.png"))
    assert dataset.ids == ["sick/a.png", "sick/b.png", "well/a.png"]
    assert labelled(dataset) == {"sick/a.png": "sick", "sick/b.png": "sick", "well/a.png": "well"}
    assert [p.relative_to(tmp_path).as_posix() for p in dataset.paths] == dataset.ids
    assert "sick 2, well 1" in dataset.notes[0]


def test_split_folders_above_class_folders_are_splits(tmp_path: Path) -> None:
    dataset = find(touch(tmp_path, "train/sick/a.png", "train/well/a.png", "val/sick/b.png"))
    assert dataset.classes == ["sick", "well"]
    assert dataset.meta["split"].tolist() == ["train", "train", "val"]


@pytest.mark.parametrize(
    "names", [["a.png", "b.png"], ["sick/a.png", "b.png"], ["one/a.png", "one/b.png"]]
)
def test_other_layouts_have_no_labels_and_say_why(tmp_path: Path, names: list[str]) -> None:
    dataset = find(touch(tmp_path, *names))
    assert dataset.labels is None
    assert dataset.classes == []
    assert any("no labels" in note for note in dataset.notes)


def test_hidden_files_and_what_is_no_image_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".hidden.png", "without_suffix")
    (tmp_path / "notes.txt").write_text("no image")
    dataset = find(tmp_path)
    assert dataset.ids == ["a.png", "without_suffix"]
    assert "1 hidden file(s) passed over" in dataset.notes
    assert "1 file(s) that are no image passed over" in dataset.notes


def test_a_file_named_like_an_image_stays_to_be_reported(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image at all")
    assert find(tmp_path).ids == ["broken.jpg"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert find(tmp_path).ids == ["a/x.png"]


def test_names_that_are_not_utf8_become_valid_ids(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.png"))).write_bytes(PNG)
    (name,) = find(tmp_path).ids
    assert name == "\\xff\n.png"
    name.encode("utf-8")


def test_empty_or_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in"):
        find(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find(tmp_path / "absent")


def test_two_roots_are_joined_unless_their_ids_collide(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "1", "a.png"), touch(tmp_path / "2", "b.png")
    assert from_folders([one, two]).ids == ["a.png", "b.png"]
    touch(two, "a.png")
    with pytest.raises(InputError, match=r"'a.png'.*parent folder"):
        from_folders([one, two])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return touch(tmp_path / "images", "a.png", "sub/b.png", "c.png")


def write(folder: Path, **columns: list[str]) -> Path:
    path = folder.parent / "labels.csv"
    write_table(path, columns)
    return path


def test_a_table_gives_labels_patients_and_other_columns(folder: Path) -> None:
    table = write(
        folder,
        **{"Image Index": ["c.png", "a.png", "sub/b.png"]},
        label=["sick", "well", ""],
        **{"Patient ID": ["p2", "p1", "p1"]},
        age=["70", "30", ""],
    )
    dataset = find(folder, table)
    assert dataset.ids == ["a.png", "c.png", "sub/b.png"]
    assert dataset.meta["group"].tolist() == ["p1", "p2", "p1"]
    assert dataset.meta["age"].tolist() == ["30", "70", ""]
    np.testing.assert_array_equal(dataset.labels, [[0, 1], [1, 0], [np.nan, np.nan]])


def test_a_bare_file_name_is_found_below_the_root(folder: Path) -> None:
    assert find(folder, write(folder, image=["b.png", "c"])).ids == ["c.png", "sub/b.png"]


def test_joined_findings_are_multilabel(folder: Path) -> None:
    table = write(folder, path=["a.png", "c.png"], findings=["Mass|Edema", "Edema"])
    dataset = find(folder, table)
    assert (dataset.kind, dataset.classes) == ("multilabel", ["Edema", "Mass"])
    np.testing.assert_array_equal(dataset.labels, [[1, 1], [1, 0]])


def test_several_label_columns_are_multilabel_with_blanks_unknown(folder: Path) -> None:
    table = write(folder, path=["a.png", "c.png"], Edema=["1", "0.0"], Mass=["", "1"])
    dataset = find(folder, table, label_column=["Edema", "Mass"])
    assert dataset.kind == "multilabel"
    np.testing.assert_array_equal(dataset.labels, [[1, np.nan], [0, 1]])


def test_rows_without_image_are_left_out_and_counted(folder: Path) -> None:
    dataset = find(folder, write(folder, path=["a.png", "gone.png"]))
    assert dataset.ids == ["a.png"]
    assert any("1 row(s) without their image" in note for note in dataset.notes)


def test_a_table_alone_lists_images_relative_to_itself(folder: Path) -> None:
    write_table(folder / "list.csv", {"path": ["a.png"], "label": ["x"]})
    assert find(folder / "list.csv").ids == ["a.png"]


def test_a_table_that_cannot_be_used_is_refused_with_the_mend(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--path-column, one of where, label"):
        find(folder, write(folder, where=["a.png"], label=["x"]))
    with pytest.raises(UnknownNameError, match="did you mean where"):
        find(folder, write(folder, where=["a.png"]), path_column="wher")
    with pytest.raises(InputError, match="no image that"):
        find(folder, write(folder, path=["gone.png"]))
    with pytest.raises(InputError, match="more than once"):
        find(folder, write(folder, path=["a.png", "a.png"]))
    with pytest.raises(InputError, match="holds '2'"):
        find(folder, write(folder, path=["a.png"], x=["2"], y=["1"]), label_column="x,y")
    with pytest.raises(InputError, match="--labels"):
        find(folder, label_column="x")


def test_the_parts_agree_on_the_entry(folder: Path) -> None:
    table = write(folder, path=["a.png"])
    assert LabelTable(table).read(folder).ids == find([folder], table).ids
