"""The table of all predictions: the same text as cell by cell, in bounded memory, read back."""

from __future__ import annotations

import csv
import gzip
import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrfeat.errors import InputError
from cxrfeat.evaluation.outcome import predictions_table
from cxrfeat.evaluation.outcome.label_texts import label_texts
from cxrfeat.evaluation.outcome.out_of_fold import OutOfFold
from cxrfeat.evaluation.outcome.predictions_table import predictions_csv, predictions_name
from cxrfeat.evaluation.outcome.saved_predictions import read_predictions
from cxrfeat.evaluation.statistics.metrics import METRICS, decide
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.evaluation.statistics.patient_influence import TestPatients
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor, Study
from cxrfeat.evaluation.validation.tuning import Outcome
from cxrfeat.reporting.run_folder import new_run

AWKWARD = ["plain.png", 'a "b", c.png', "line\nbreak.png", " space ", "ü|é.png", ""]


def simulated(
    n: int,
    classes: list[str],
    *,
    seed: int = 0,
    exclusive: bool = False,
    heads: int = 2,
    repeats: int = 1,
    names: list[str] | None = None,
) -> OutOfFold:
    """Predictions of two extractors on three folds; some labels unknown, some not learned."""
    random = np.random.default_rng(seed)
    labels = (random.random((n, len(classes))) < 0.3).astype(np.float32)
    if exclusive:
        labels = np.eye(len(classes), dtype=np.float32)[random.integers(0, len(classes), n)]
    else:
        labels[random.random(labels.shape) < 0.2] = np.nan
    ids = [f"{i}{(names or [''])[i % len(names or [''])]}" for i in range(n)]
    study = Study(
        ids, classes, "multiclass" if exclusive else "multilabel", labels, [""] * n, {},
        [Extractor(name, np.zeros((n, 1), np.float32), False, {}, "") for name in ("v,16", "r50")],
        [],
    )  # fmt: skip
    folds = []
    for repeat in range(repeats):
        order = random.permutation(n)
        parts = [np.sort(order[k::3]) if k else order[k::3] for k in range(3)]
        folds += [
            Fold(f"fold {k + 1}", repeat, np.setdiff1d(order, part), part)
            for k, part in enumerate(parts)
        ]
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for one in study.extractors:
        for head in range(heads):
            of = []
            for fold in folds:
                p = random.random((len(fold.test), len(classes))) ** 8
                p[random.random(p.shape) < 0.1] = 0.25
                if not exclusive:
                    p[:, random.random(len(classes)) < 0.2] = np.nan
                of.append(Outcome([], p, p[:1], np.full(len(classes), 0.25)))
            outcomes[one.name, f"head{head}"] = of
    return OutOfFold(
        study, folds, outcomes, METRICS["auroc"],
        PatientResamples(n, None, resamples=1), TestPatients(folds, None, seed=0),
    )  # fmt: skip


def cell_by_cell(found: OutOfFold) -> str:
    """What the table was when every cell was an object."""
    classes = found.study.classes

    def joined(held: np.ndarray) -> str:
        return "|".join(name for name, one in zip(classes, held, strict=True) if one)

    header = ["id", "extractor", "head", "repeat", "fold", "label", "predicted"]
    header += [] if found.exclusive else ["unknown"]
    rows: list[list[object]] = [header + [f"p_{name}" for name in classes]]
    unknown = np.isnan(found.truth)
    for (extractor, head), of_folds in found.outcomes.items():
        for fold, outcome in zip(found.folds, of_folds, strict=True):
            called = decide(np.nan_to_num(outcome.probability), found.exclusive, outcome.cuts)
            for row, decision, p in zip(fold.test, called, outcome.probability, strict=True):
                rows.append([
                    found.study.ids[row], extractor, head, fold.repeat, fold.name,
                    joined(found.truth[row] == 1), joined(decision),
                    *([] if found.exclusive else [joined(unknown[row])]),
                    *(f"{value:.6g}" if np.isfinite(value) else "" for value in p),
                ])  # fmt: skip
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@given(
    n=st.integers(3, 20),
    classes=st.lists(
        st.sampled_from(["Mass", "a,b", 'c"d', "e|f", "g\nh"]), min_size=2, unique=True
    ),
    seed=st.integers(0, 1000),
    exclusive=st.booleans(),
    repeats=st.integers(1, 2),
)
def test_the_text_is_that_of_cell_by_cell(
    n: int, classes: list[str], seed: int, exclusive: bool, repeats: int
) -> None:
    found = simulated(n, classes, seed=seed, exclusive=exclusive, repeats=repeats, names=AWKWARD)
    assert "".join(predictions_csv(found)) == cell_by_cell(found)


def test_memory_does_not_grow_with_the_heads() -> None:
    classes = [f"label {k}" for k in range(14)]
    peaks = []
    for heads in (1, 4):
        found = simulated(900, classes, heads=heads)
        tracemalloc.start()
        size = sum(len(block) for block in predictions_csv(found))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size > 2 * peaks[1]
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_what_is_written_is_read_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exclusive: bool, rows: int
) -> None:
    monkeypatch.setattr("cxrfeat.evaluation.outcome.saved_predictions.BLOCK", rows)
    # A bar in a name can be told from one between names where only one holds.
    classes = ["Mass", "a,b", "e|f" if exclusive else 'c"d']
    found = simulated(40, classes, exclusive=exclusive, repeats=2, names=AWKWARD)
    (tmp_path / "predictions.csv").write_text("".join(predictions_csv(found)), newline="")
    wanted = list(found.outcomes)[1:]
    truth, p = read_predictions(tmp_path, classes, found.study.ids, found.folds, wanted)
    np.testing.assert_array_equal(truth, found.truth)
    assert list(p) == wanted
    for pair in wanted:
        for read, outcome in zip(p[pair], found.outcomes[pair], strict=True):
            np.testing.assert_allclose(read, outcome.probability, rtol=1e-5)


def test_a_large_table_is_packed_and_is_the_same_bytes_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = simulated(40, ["Mass", "Effusion"])
    assert predictions_name(found) == "predictions.csv"
    monkeypatch.setattr(predictions_table, "LARGE", 4 * 40 - 1)
    assert predictions_name(found) == "predictions.csv.gz"
    packed = []
    for name in ("one", "two"):
        run = new_run(tmp_path / name)
        run.write_blocks(predictions_name(found), predictions_csv(found))
        run.finish()
        packed.append((tmp_path / name / "predictions.csv.gz").read_bytes())
    assert packed[0] == packed[1]
    assert gzip.decompress(packed[0]).decode() == cell_by_cell(found)
    ids, classes, pairs = found.study.ids, found.study.classes, list(found.outcomes)
    truth, _ = read_predictions(tmp_path / "one", classes, ids, found.folds, pairs)
    np.testing.assert_array_equal(truth, found.truth)
    (tmp_path / "two" / "predictions.csv.gz").write_bytes(packed[0][:-9])
    with pytest.raises(InputError, match="cannot be read as a table"):
        read_predictions(tmp_path / "two", classes, ids, found.folds, pairs)


def test_predictions_of_other_heads_or_folds_are_refused(tmp_path: Path) -> None:
    found = simulated(12, ["Mass", "Effusion"])
    text = "".join(predictions_csv(found))
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    ids, classes = found.study.ids, found.study.classes
    with pytest.raises(ValueError, match="no predictions of r50 with svm"):
        read_predictions(tmp_path, classes, ids, found.folds, [("r50", "svm")])
    moved = [found.folds[1], found.folds[0], found.folds[2]]
    other = [
        Fold(fold.name, 0, of.train, of.test) for fold, of in zip(found.folds, moved, strict=True)
    ]
    with pytest.raises(ValueError, match="not tested in fold"):
        read_predictions(tmp_path, classes, ids, other, list(found.outcomes))
    path.write_text(text + "one cell\n")
    with pytest.raises(InputError, match="another length"):
        read_predictions(tmp_path, classes, ids, found.folds, list(found.outcomes))


def test_labels_are_joined_by_a_bar() -> None:
    held = np.array([[0, 0, 0], [1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=bool)
    assert label_texts(["a", "b", "c"], held) == ["", "a|c", "b", "a|c"]
    assert label_texts([], held[:, :0]) == [""] * 4
    assert label_texts(["a", "b", "c"], held[:0]) == []
