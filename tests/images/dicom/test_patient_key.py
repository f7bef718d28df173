"""The key of the patients: kept where it can be, used where it lies, never drawn anew unsaid."""

from __future__ import annotations

import errno
import hmac
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cxrfeat.errors import InputError
from cxrfeat.images import named_key
from cxrfeat.images.dicom import patient_key


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.delenv("CXRFEAT_PATIENT_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    patient_key._key_once.cache_clear()
    yield tmp_path
    patient_key._key_once.cache_clear()


def another_process() -> None:
    patient_key._key_once.cache_clear()


def test_the_name_of_a_key_is_the_same_in_every_process_and_does_not_hold_it() -> None:
    first = named_key()
    secret = patient_key.key_file().read_bytes()
    another_process()
    assert named_key() == first
    assert first.lasts
    expected = hmac.new(secret, b"cxrfeat patient key id", "sha256").hexdigest()[:16]
    assert first.id == expected
    assert first.id not in secret.decode()


def test_the_content_of_the_file_in_the_variable_is_the_same_key(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, file = named_key(), patient_key.key_file()
    secret = file.read_text()
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", secret)
    assert named_key() == first
    monkeypatch.delenv("CXRFEAT_PATIENT_KEY")
    file.write_text(secret + "\n")  # as an editor ends it
    another_process()
    assert named_key() == first


def test_a_key_in_a_home_that_cannot_be_written_is_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = named_key()
    plain = os.open

    def read_only(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system")
        return plain(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", read_only)
    another_process()
    assert named_key() == first


@pytest.mark.parametrize("place", ["a file where the folder should be", "no home"])
def test_a_key_that_will_not_last_says_so(
    place: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "no home":
        monkeypatch.delenv("XDG_CONFIG_HOME")

        def homeless() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", homeless)
    else:
        (home / "cxrfeat").write_text("in the way")
    first = named_key()
    assert not first.lasts
    assert named_key() == first
    another_process()
    assert named_key().id != first.id
    monkeypatch.setenv("CXRFEAT_PATIENT_KEY", "a secret of ours")
    assert named_key().lasts


@pytest.mark.parametrize("content", ["", "0123abcd", "g" * 64, "0" * 63])
def test_a_key_file_that_is_cut_short_is_an_error_with_its_mend(home: Path, content: str) -> None:
    file = patient_key.key_file()
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(InputError, match=r"hexadecimal digits.*CXRFEAT_PATIENT_KEY"):
        named_key()
    assert file.read_text() == content


def test_a_key_file_that_cannot_be_read_is_an_error_and_not_a_new_key(home: Path) -> None:
    patient_key.key_file().mkdir(parents=True)
    with pytest.raises(InputError, match=r"cannot be read.*CXRFEAT_PATIENT_KEY"):
        named_key()


def test_where_links_are_not_known_nothing_is_left_behind(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert not named_key().lasts
    assert list((home / "cxrfeat").iterdir()) == []


def test_all_threads_have_the_same_key_even_one_that_will_not_last(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "cxrfeat").write_text("in the way")
    plain = patient_key._passing_key

    def slowly() -> bytes:
        time.sleep(0.05)  # long enough for every thread to have asked
        return plain()

    monkeypatch.setattr(patient_key, "_passing_key", slowly)
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: patient_key.patient_key(), range(4)))
    assert len(set(keys)) == 1
