"""Nothing that identifies a patient leaves a DICOM file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxrfeat.errors import ImageError
from cxrfeat.images import declared_columns, read_image

IDENTIFYING = {
    "PatientName": "Quellmalz^Ottilie",
    "PatientID": "MRN-55512399",
    "PatientBirthDate": "19310517",
    "PatientAge": "094Y",
    "PatientAddress": "Lindenstrasse 77",
    "OtherPatientIDs": "OTHER-888231",
    "PatientComments": "wheelchair, deaf",
    "AccessionNumber": "ACC2026119",
    "StudyID": "STUDY-4711",
    "StudyDate": "20250303",
    "StudyTime": "101559",
    "StudyDescription": "Thorax Quellmalz",
    "InstitutionName": "Klinikum Musterstadt",
    "ReferringPhysicianName": "Arzt^Anton",
    "OperatorsName": "Operator^Olga",
    "StationName": "ROOM7XRAY",
    "DeviceSerialNumber": "SN-0099887",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.777001",
    "ViewPosition": "QUELLMALZ",
    "ImageComments": "see MRN-55512399",
}


def identified(make_dicom) -> Dataset:
    values = np.arange(64 * 64).reshape(64, 64) % 4096
    dataset = make_dicom(values, 12, **IDENTIFYING)
    nested = Dataset()
    nested.PatientID = "NESTED-7391"
    dataset.OtherPatientIDsSequence = Sequence([nested])
    block = dataset.private_block(0x0011, "ACME SECRET", create=True)
    block.add_new(1, "LO", "private Quellmalz")
    return dataset


def secrets() -> list[str]:
    values = {*IDENTIFYING.values(), "NESTED-7391", "Quellmalz", "Ottilie", "ACME SECRET", "094"}
    assert all(dictionary_VR(name) for name in IDENTIFYING)
    return sorted(values)


def found_in(text: str) -> list[str]:
    return [secret for secret in secrets() if secret.lower() in text.lower()]


def test_a_file_full_of_names_gives_none_of_them_away(make_dicom, file_bytes, tmp_path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(file_bytes(identified(make_dicom)))
    radiograph = read_image(path)
    assert found_in(repr(radiograph.meta) + repr(radiograph.steps + radiograph.warnings)) == []
    assert found_in(repr(declared_columns(path))) == []
    assert radiograph.meta["age"] == "90+"
    assert radiograph.meta["view"] == ""


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.95])
def test_failures_quote_nothing_from_the_file(
    make_dicom, file_bytes, cut: float, caplog: pytest.LogCaptureFixture, capfd
) -> None:
    data = file_bytes(identified(make_dicom))
    with pytest.raises(ImageError) as caught:
        read_image(data[: int(len(data) * cut)])
    assert found_in(str(caught.value)) == []
    assert found_in(caplog.text + "".join(capfd.readouterr())) == []


def test_the_group_follows_the_patient_and_the_key(
    make_dicom, file_bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def group(patient: str) -> str:
        dataset = make_dicom(np.zeros((4, 4), dtype=np.int64), 8, PatientID=patient)
        return read_image(file_bytes(dataset)).meta["group"]

    first = group("A1")
    assert first == group("A1") == group("A1 ")
    assert first != group("A2")
    assert group("") == ""
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "another")
    assert group("A1") != first


def test_the_key_is_kept_in_a_file_that_only_its_owner_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cxrfeat.images.dicom import patient_key

    monkeypatch.delenv("CXRFEAT_PATIENT_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    patient_key._key_once.cache_clear()
    key = patient_key.patient_key()
    patient_key._key_once.cache_clear()
    assert patient_key.patient_key() == key == patient_key.key_file().read_bytes()
    assert patient_key.key_file().stat().st_mode & 0o077 == 0
    assert [path.name for path in patient_key.key_file().parent.iterdir()] == ["patient-key"]
    patient_key._key_once.cache_clear()


@pytest.mark.parametrize(
    ("stated", "years"),
    [("007Y", "7"), ("018M", "1"), ("089Y", "89"), ("090Y", "90+"), ("104Y", "90+"), ("55 Y", "")],
)
def test_age_is_whole_years_and_the_oldest_are_one(
    make_dicom, file_bytes, stated: str, years: str
) -> None:
    dataset = make_dicom(np.zeros((4, 4), dtype=np.int64), 8, PatientAge="055Y")
    data = file_bytes(dataset).replace(b"055Y", stated.encode())
    assert read_image(data).meta["age"] == years


@pytest.mark.parametrize(
    ("declared", "warning"),
    [
        ("YES", ("burned-in annotation declared",)),
        ("", ("burned-in annotation not ruled out",)),
        ("NO", ()),
    ],
)
def test_burned_in_annotation_is_a_warning_unless_ruled_out(
    make_dicom, file_bytes, declared: str, warning: tuple[str, ...]
) -> None:
    values = np.arange(64).reshape(8, 8)
    dataset = make_dicom(values, 8, BurnedInAnnotation=declared)
    assert read_image(file_bytes(dataset)).warnings == warning
