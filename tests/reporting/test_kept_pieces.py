"""Pieces come back from their files to the bit, and a file that is damaged is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrfeat.errors import InputError, LockedError
from cxrfeat.evaluation.heads.registry import HEADS
from cxrfeat.evaluation.validation.cross_validation import Common, score_extractor
from cxrfeat.evaluation.validation.label_shuffling import shuffled_labels
from cxrfeat.evaluation.validation.pieces import SHUFFLED, FoldScores, Piece
from cxrfeat.reporting.kept_pieces import KeptPieces
from cxrfeat.reporting.run_folder import RunFolder, new_run
from tests.evaluation.validation.test_side_by_side import IMPORTED, bits, made, plan_of

KEY = "0123456789abcdef"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    opened = new_run(tmp_path / "runs" / "first")
    yield opened
    opened.leave()


def found(name: str, exclusive: bool = True) -> FoldScores:
    """What a head finds on a fold, with a label that is unknown for some images and one for all."""
    extractors, y, groups, folds = made()
    labels = np.eye(3)[y]
    if not exclusive:
        labels[::7, 1] = np.nan
        labels[folds[0].train, 2] = 0
    plan = replace(plan_of(*({name} - {SHUFFLED} or {"dummy"})), exclusive=exclusive)
    common = Common(labels, groups, folds, plan, shuffled_labels(labels, groups, 0))
    return score_extractor(common, extractors[1], 0, [name]).of(name)


@pytest.mark.parametrize("name", [*HEADS, IMPORTED, SHUFFLED])
@pytest.mark.parametrize("exclusive", [True, False], ids=["classes", "labels"])
def test_a_piece_comes_back_to_the_bit(run: RunFolder, name: str, exclusive: bool) -> None:
    scores = found(name, exclusive)
    KeptPieces(run).keep(KEY, Piece("both", 0, name), scores)
    again = KeptPieces(run).find(KEY)
    assert again is not None
    assert bits(again[0]) == bits(scores)
    assert again[1].endswith("runs/first, not finished")


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "a bit of the numbers": lambda path: flip(path, -300),
    "a bit of the checksum": lambda path: flip(path, 30),
    "another format": lambda path: path.write_bytes(path.read_bytes().replace(b" 1 ", b" 2 ", 1)),
    "not ours": lambda path: path.write_text("hello"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_piece_is_not_there_and_can_be_written_again(run: RunFolder, damage: str) -> None:
    scores = found("dummy")
    KeptPieces(run).keep(KEY, Piece("both", 0, "dummy"), scores)
    (path,) = run.folds.iterdir()
    DAMAGE[damage](path)
    kept = KeptPieces(run)
    assert kept.find(KEY) is None
    kept.keep(KEY, Piece("both", 0, "dummy"), scores)
    assert KeptPieces(run).find(KEY) is not None


def test_a_piece_under_the_key_of_another_is_not_there(run: RunFolder) -> None:
    KeptPieces(run).keep(KEY, Piece("both", 0, "dummy"), found("dummy"))
    (path,) = run.folds.iterdir()
    path.rename(path.with_stem("fedcba9876543210"))
    assert KeptPieces(run).find("fedcba9876543210") is None


def test_a_damaged_piece_of_one_run_is_taken_from_another(run: RunFolder, tmp_path: Path) -> None:
    for name in ("second", "third"):
        beside = new_run(tmp_path / "runs" / name)
        KeptPieces(beside, fresh=True).keep(KEY, Piece("both", 0, "dummy"), found("dummy"))
        beside.finish()
    DAMAGE["cut"](tmp_path / "runs" / "second" / "folds" / f"{KEY}.piece")
    assert KeptPieces(run).find(KEY)[1].endswith("runs/third")  # type: ignore[index]
    # And is in this run's folder from then on, whatever becomes of the other.
    (tmp_path / "runs" / "third" / "folds" / f"{KEY}.piece").unlink()
    assert KeptPieces(run).find(KEY)[1].endswith("runs/first, not finished")  # type: ignore[index]


def test_a_run_without_pieces_leaves_nothing_behind(tmp_path: Path) -> None:
    opened = new_run(tmp_path / "runs" / "run")
    opened.write("results.json", "{}")
    opened.leave()
    assert list(tmp_path.iterdir()) == []


def test_one_process_at_a_time_has_a_run(run: RunFolder) -> None:
    with pytest.raises(LockedError, match="being written by"):
        new_run(run.final)
    run.finish()
    with pytest.raises(InputError, match="exists already"):
        new_run(run.final.parent.joinpath("."))


def test_a_run_goes_on_in_the_first_place_that_was_asked_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = []
    for asked in ({"seed": 1}, {"seed": 2}, {"seed": 2}, {"seed": 1}):
        opened = new_run(None, asked)
        KeptPieces(opened).keep(KEY, Piece("both", 0, "dummy"), FoldScores())
        places.append(opened.final.name)
        opened.leave()
    assert places == ["fit-001", "fit-002", "fit-002", "fit-001"]
    busy = new_run(None, {"seed": 1})
    assert new_run(None, {"seed": 1}).final.name == "fit-003"
    busy.leave()
