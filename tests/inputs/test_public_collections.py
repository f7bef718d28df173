"""Every recognised label table, made small with the header of the real one."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import InputError, UnknownNameError
from cxrfeat.inputs import Dataset, find
from cxrfeat.inputs.public_collections import FORMATS, recognise_format
from cxrfeat.tables import read_table, write_table

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG)


def write(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder.parent / name
    data = text.strip().encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def findings(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Per image, the findings with their value; unknown ones left out."""
    assert dataset.labels is not None
    return {
        name: {c: float(v) for c, v in zip(dataset.classes, row, strict=True) if not np.isnan(v)}
        for name, row in zip(dataset.ids, dataset.labels, strict=True)
    }


NIH_HEADERS = [
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],",
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    '"OriginalImage[Width,Height]","OriginalImagePixelSpacing[x,y]"',
]


@pytest.mark.parametrize("header", NIH_HEADERS)
@pytest.mark.parametrize("end", ["", ","])
def test_chestxray14(folder: Path, header: str, end: str) -> None:
    put(folder, "images_001/images/00000001_000.png", "images_002/images/00000002_000.png")
    table = write(
        folder,
        f"{header}\n"
        f"00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA,2682,2749,0.143,0.143{end}\n"
        f"00000002_000.png,No Finding,0,2,81,F,AP,2500,2048,0.171,0.171{end}\n"
        f"00000003_000.png,Hernia,0,3,81,F,AP,2500,2048,0.171,0.171{end}\n",
    )
    dataset = find(folder, table)
    assert dataset.kind == "multilabel"
    assert findings(dataset) == {
        "images_001/images/00000001_000.png": {"Cardiomegaly": 1, "Emphysema": 1, "Hernia": 0},
        "images_002/images/00000002_000.png": {"Cardiomegaly": 0, "Emphysema": 0, "Hernia": 0},
    }
    assert dataset.meta["group"].tolist() == ["1", "2"]
    assert dataset.meta["view"].tolist() == ["PA", "AP"]
    assert dataset.missing == ["00000003_000.png"]


def test_what_the_user_does_not_say_is_still_recognised(folder: Path) -> None:
    """A path column of their own leaves patients, labels and the choice of rows as they are."""
    put(folder, "a.png", "b.png", "c.png")
    table = write(
        folder,
        "patientid,offset,finding,modality,folder,filename,ours,location,clinical_notes\n"
        "1,0,COVID-19,X-ray,images,x.png,a.png,Rome,private\n"
        "1,3,COVID-19,CT,volumes,y.png,b.png,Rome,private\n"
        "2,0,Pneumonia,X-ray,images,z.png,c.png,Hanover,private\n",
    )
    dataset = find(folder, table, path_column="ours", keep_column=["offset"])
    assert dataset.ids == ["a.png", "c.png"]
    assert dataset.classes == ["COVID-19", "Pneumonia"]
    assert {name: column.tolist() for name, column in dataset.meta.items()} == {
        "group": ["1", "2"],
        "location": ["Rome", "Hanover"],
        "offset": ["0", "0"],
    }
    assert "images from column 'ours'" in dataset.notes
    assert any("row(s) of another modality than X-ray left out" in note for note in dataset.notes)
    with pytest.raises(UnknownNameError, match=r"kept column 'ofset'.*offset"):
        find(folder, table, path_column="ours", keep_column=["ofset"])


def test_columns_that_cannot_be_of_one_image_are_refused(folder: Path) -> None:
    put(folder, "i1.png")
    table = write(folder, "image_id,rad_id,class_name,x_min\ni1,R1,Nodule,3\ni1,R2,Nodule,4\n")
    with pytest.raises(InputError, match="--keep-column x_min: several rows"):
        find(folder, table, keep_column=["x_min"])
    with pytest.raises(InputError, match="--path-column class_name: the rows"):
        find(folder, table, path_column="class_name")


@pytest.mark.parametrize("way", ["error", "join"])
def test_an_image_of_two_patients_is_said_as_that(folder: Path, way: str) -> None:
    put(folder, "a.png", "b.png")
    table = write(folder, "image,label,patient\na.png,x,1\na.png,x,2\nb.png,y,3\n")
    with pytest.raises(InputError, match=r"several values of patient \(1, 2\) in rows 2 and 3"):
        find(folder, table, repeated_rows=way)


CHEXPERT = """
Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,F,68,Frontal,AP,1.0,,
CheXpert-v1.0-small/train/patient00002/study2/view1_frontal.jpg,F,87,Frontal,PA,,-1.0,1.0
CheXpert-v1.0-small/valid/patient64541/study1/view2_lateral.jpg,M,83,Lateral,,0.0,0.0,
"""
CHEXPERT_IDS = [line.split(",")[0] for line in CHEXPERT.strip().splitlines()[1:]]


@pytest.mark.parametrize(
    ("uncertain", "second"),
    [
        ("ignore", {"Edema": 1}),
        ("zeros", {"Cardiomegaly": 0, "Edema": 1}),
        ("ones", {"Cardiomegaly": 1, "Edema": 1}),
    ],
)
def test_chexpert_with_each_policy(folder: Path, uncertain: str, second: dict) -> None:
    put(folder, *CHEXPERT_IDS)
    dataset = find(folder, write(folder, CHEXPERT), uncertain=uncertain)
    expected = [{"Cardiomegaly": 0, "Edema": 0}, second, {"Cardiomegaly": 0}]
    assert findings(dataset) == dict(zip(CHEXPERT_IDS, expected, strict=True))
    assert dataset.meta["group"].tolist() == ["patient00001", "patient00002", "patient64541"]
    assert dataset.meta["split"].tolist() == ["train", "train", "valid"]
    assert dataset.meta["view"].tolist() == ["AP", "PA", "Lateral"]


def test_an_uncertain_label_without_a_policy_is_asked_for(folder: Path) -> None:
    put(folder, *CHEXPERT_IDS)
    table = write(folder, CHEXPERT)
    with pytest.raises(InputError, match=r"1 labels are uncertain .*--uncertain ignore, zeros"):
        find(folder, table)
    with pytest.raises(UnknownNameError, match="zeros"):
        find(folder, table, uncertain="zero")


def test_chexpert_is_found_from_inside_its_folder_too(folder: Path) -> None:
    put(folder, *[name.removeprefix("CheXpert-v1.0-small/") for name in CHEXPERT_IDS])
    assert len(find(folder, write(folder, CHEXPERT), uncertain="ones")) == 3


def test_one_finding_can_be_chosen_from_a_known_table(folder: Path) -> None:
    put(folder, *CHEXPERT_IDS)
    table = write(folder, CHEXPERT)
    dataset = find(folder, table, label_column="Cardiomegaly", uncertain="ones")
    assert (dataset.kind, dataset.classes) == ("multiclass", ["0", "1"])
    assert findings(dataset)[CHEXPERT_IDS[1]] == {"0": 0, "1": 1}
    with pytest.raises(UnknownNameError, match="Cardiomegaly"):
        find(folder, table, label_column="Cardiomegalie")


def test_mimic_labels_are_joined_on_subject_and_study(folder: Path) -> None:
    put(folder, "files/p10/p10000032/s50414267/a.jpg", "files/p10/p10000032/s50414267/b.jpg")
    put(folder, "files/p10/p10000999/s59999999/c.jpg")
    table = write(
        folder,
        "subject_id,study_id,Cardiomegaly,Edema,No Finding\n"
        "10000032,50414267,,,1.0\n10000764,57375967,1.0,,\n",
        "mimic-cxr-2.0.0-chexpert.csv.gz",
    )
    dataset = find(folder, table)
    assert findings(dataset) == {
        f"files/p10/p10000032/s50414267/{name}.jpg": {"Cardiomegaly": 0, "Edema": 0}
        for name in "ab"
    }
    assert dataset.meta["group"].tolist() == ["10000032"] * 2
    assert dataset.rows_without_image == ["study 57375967"]
    assert "1 image(s) of no study in the table" in dataset.notes


def test_columns_asked_for_go_with_the_images_of_a_mimic_study(folder: Path) -> None:
    put(folder, "p10000032/s2/a.jpg", "p10000999/s1/b.jpg")
    table = write(
        folder,
        "subject_id,study_id,Edema,No Finding,ward\n10000999,1,1.0,,east\n10000032,2,0.0,,west\n",
    )
    dataset = find(folder, table, group_column="ward")
    assert dict(zip(dataset.ids, dataset.meta["group"].tolist(), strict=True)) == {
        "p10000032/s2/a.jpg": "west",
        "p10000999/s1/b.jpg": "east",
    }


def test_a_study_listed_twice_is_refused_or_joined(folder: Path) -> None:
    put(folder, "p10000032/s2/a.jpg", "p10000032/s2/b.jpg")
    table = write(
        folder, "subject_id,study_id,Edema,No Finding\n10000032,2,1.0,\n10000032,2,0.0,\n"
    )
    with pytest.raises(InputError, match=r"2 image\(s\).*'p10000032/s2/a.jpg' in rows 2 and 3"):
        find(folder, table)
    dataset = find(folder, table, repeated_rows="join")
    assert findings(dataset) == {name: {"Edema": 1} for name in dataset.ids}


def test_padchest(folder: Path) -> None:
    put(folder, "0/a_1.png", "1/b_1.png", "c_1.png")
    table = write(
        folder,
        ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,"
        "ViewPosition_DICOM,Projection,Labels\n"
        "0,a_1.png,0,20140915,S1,P1,1930,F,POSTEROANTERIOR,PA,\"['nodule', 'scoliosis', '']\"\n"
        "1,b_1.png,1,20140915,S2,P1,1930,F,LATERAL,L,['normal']\n"
        "2,c_1.png,2,20140915,S3,P2,1950,M,LATERAL,L,\n",
    )
    dataset = find(folder, table)
    assert findings(dataset) == {
        "0/a_1.png": {"nodule": 1, "scoliosis": 1},
        "1/b_1.png": {"nodule": 0, "scoliosis": 0},
        "c_1.png": {},
    }
    assert dataset.meta["group"].tolist() == ["P1", "P1", "P2"]
    assert dataset.meta["view"].tolist() == ["PA", "L", "L"]


def test_vindr_boxes_are_decided_by_most_readers(folder: Path) -> None:
    put(folder, "train/a.dicom", "train/b.dicom")
    rows = [
        ("a", "Cardiomegaly", "3", "R9"),
        ("a", "Cardiomegaly", "3", "R9"),
        ("a", "Cardiomegaly", "3", "R8"),
        ("a", "Nodule/Mass", "8", "R8"),
        ("a", "No finding", "14", "R7"),
        *(("b", "No finding", "14", reader) for reader in ("R7", "R8", "R9")),
    ]
    text = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
    table = write(folder, text + "\n".join(",".join(row) + ",,,," for row in rows))
    dataset = find(folder, table)
    assert findings(dataset) == {
        "train/a.dicom": {"Cardiomegaly": 1, "Nodule/Mass": 0},
        "train/b.dicom": {"Cardiomegaly": 0, "Nodule/Mass": 0},
    }
    assert "group" not in dataset.meta
    assert any("6 readings of 2 images, 3 each" in note for note in dataset.notes)


def test_vindr_readings_are_decided_by_most_readers(folder: Path) -> None:
    put(folder, "a.png", "b.png")
    table = write(
        folder,
        "image_id,rad_id,Aortic enlargement,Cardiomegaly,No finding\n"
        "a,R1,1,0,0\na,R2,1,1,0\na,R3,0,0,0\nb,R1,0,0,1\nb,R2,0,0,1\nb,R3,0,1,0\n",
    )
    assert findings(find(folder, table)) == {
        "a.png": {"Aortic enlargement": 1, "Cardiomegaly": 0},
        "b.png": {"Aortic enlargement": 0, "Cardiomegaly": 0},
    }


def test_rsna_boxes_become_one_row_per_image_and_no_patients(folder: Path) -> None:
    put(folder, "stage_2_train_images/0004cfab.dcm", "stage_2_train_images/000db696.dcm")
    table = write(
        folder,
        "patientId,x,y,width,height,Target\n0004cfab,,,,,0\n"
        "000db696,264.0,152.0,213.0,379.0,1\n000db696,562.0,152.0,256.0,453.0,1\n",
    )
    dataset = find(folder, table)
    assert dataset.classes == ["Lung Opacity", "No Lung Opacity"]
    assert dataset.labels is not None
    np.testing.assert_array_equal(dataset.labels, [[0, 1], [1, 0]])
    assert "group" not in dataset.meta


def test_rsna_detailed_classes(folder: Path) -> None:
    put(folder, "0004cfab.dcm", "000db696.dcm")
    table = write(
        folder,
        "patientId,class\n0004cfab,No Lung Opacity / Not Normal\n000db696,Lung Opacity\n"
        "000db696,Lung Opacity\n",
    )
    assert find(folder, table).classes == ["Lung Opacity", "No Lung Opacity / Not Normal"]


def test_rsna_classes_that_contradict_each_other_are_refused(folder: Path) -> None:
    put(folder, "0004cfab.dcm")
    table = write(folder, "patientId,class\n0004cfab,Normal\n0004cfab,Lung Opacity\n")
    with pytest.raises(InputError, match=r"'0004cfab.dcm' in rows 2 and 3"):
        find(folder, table)


def test_ieee8023_leaves_out_other_modalities(folder: Path) -> None:
    put(folder, "images/a.jpg", "images/b.jpg", "volumes/c.jpg")
    table = write(
        folder,
        "patientid,offset,sex,age,finding,view,modality,folder,filename\n"
        "2,0,M,65,Pneumonia/Viral/COVID-19,PA,X-ray,images,a.jpg\n"
        "2,3,M,65,todo,AP,X-ray,images,b.jpg\n"
        "4,0,F,50,Pneumonia/Viral/COVID-19,Axial,CT,volumes,c.jpg\n",
    )
    dataset = find(folder, table)
    assert findings(dataset) == {
        "images/a.jpg": {"Pneumonia/Viral/COVID-19": 1},
        "images/b.jpg": {},
    }
    assert dataset.meta["group"].tolist() == ["2", "2"]
    assert "1 row(s) of another modality than X-ray left out" in dataset.notes
    assert find(folder, table, where=["modality=CT"]).ids == ["volumes/c.jpg"]
    with pytest.raises(InputError, match=r"no row has the modality X-ray.*--where modality"):
        find(folder, table, where=["view=Axial"])


def test_covid_radiography_lists(folder: Path) -> None:
    put(folder, "COVID/images/COVID-1.png", "COVID/images/COVID-2.png")
    table = write(
        folder,
        "FILE NAME,FORMAT,SIZE,URL\nCOVID-1,PNG,256*256,https://a.example\n"
        "COVID-2,PNG,256*256,https://a.example\n",
    )
    dataset = find(folder, table)
    assert dataset.classes == ["COVID"]
    assert len(dataset) == 2


def test_covid_radiography_folders_without_their_masks(folder: Path) -> None:
    for name in ("COVID", "Viral Pneumonia"):
        put(folder, f"{name}/images/{name}-1.png", f"{name}/masks/{name}-1.png")
    dataset = find(folder)
    assert [name.split("/")[1] for name in dataset.ids] == ["images", "images"]
    assert dataset.classes == ["COVID", "Viral Pneumonia"]
    assert "2 lung mask(s) beside their images passed over" in dataset.notes


def test_a_table_with_two_columns_of_labels_is_asked_about(folder: Path) -> None:
    put(folder, "a.png")
    table = folder.parent / "t.csv"
    write_table(table, {"path": ["a.png"], "label": ["x"], "diagnosis": ["y"]})
    with pytest.raises(InputError, match=r"'label', 'diagnosis' could each be meant"):
        find(folder, table)
    assert find(folder, table, label_column="diagnosis").classes == ["y"]


def test_naming_the_path_column_that_is_recognised_changes_nothing(folder: Path) -> None:
    put(folder, *CHEXPERT_IDS)
    table = write(folder, CHEXPERT)
    named = find(folder, table, path_column="Path", uncertain="ones")
    assert findings(named) == findings(find(folder, table, uncertain="ones"))
    assert named.meta["group"].tolist() == ["patient00001", "patient00002", "patient64541"]


def test_formats_do_not_shadow_each_other(folder: Path) -> None:
    for name, entry in FORMATS.items():
        columns = {column: ["x"] for column in entry.header}
        assert recognise_format(columns) == name
    assert recognise_format(read_table(write(folder, "path,label\na,b\n"))) is None


def test_a_finding_of_the_collection_that_no_image_has_is_said(folder: Path) -> None:
    put(folder, "1.png", "2.png")
    rows = "1.png,Cardiomegaly|Mass,0,1\n2.png,No Finding,0,2\n3.png,Hernia,0,3\n"
    table = write(folder, "Image Index,Finding Labels,Follow-up #,Patient ID\n" + rows)
    (said,) = (note for note in find(folder, table).notes if "no image has" in note)
    assert said.startswith("of the findings of this collection no image has: Atelectasis, Effusion")
    assert said.endswith("Hernia")
    assert "Mass" not in said
    chosen = find(folder, table, label_column="Finding Labels")
    assert not any("no image has" in note for note in chosen.notes)


def test_a_known_table_of_windows_paths_keeps_patients_and_splits(folder: Path) -> None:
    put(folder, *CHEXPERT_IDS)
    head, *rows = CHEXPERT.strip().splitlines()
    windows = ["D:\\data\\" + row.replace("/", "\\") for row in rows]
    dataset = find(folder, write(folder, "\n".join([head, *windows])), uncertain="ones")
    assert dataset.ids == CHEXPERT_IDS
    assert dataset.meta["group"].tolist() == ["patient00001", "patient00002", "patient64541"]
    assert dataset.meta["split"].tolist() == ["train", "train", "valid"]
