"""What a comparison costs is known before it begins, and it is not begun where it cannot end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cxrfeat.errors import InputError
from cxrfeat.evaluation.heads.registry import HEADS, find_heads, for_size
from cxrfeat.evaluation.heads.standardised_fold import candidates
from cxrfeat.evaluation.statistics.metrics import METRICS
from cxrfeat.evaluation.study.folds import Fold
from cxrfeat.evaluation.study.study import Extractor
from cxrfeat.evaluation.validation import cost
from cxrfeat.evaluation.validation.cost import Clock, Share, groups_of_heads, share_out, size_of
from cxrfeat.evaluation.validation.cross_validation import FoldDone, ToDo, cross_validate
from cxrfeat.evaluation.validation.pieces import SHUFFLED
from cxrfeat.evaluation.validation.side_by_side import threads_of_each
from cxrfeat.evaluation.validation.tuning import LARGE, Plan
from tests.evaluation.validation.test_side_by_side import bits, made, plan_of

NIH = 112_120
ALL = Plan(find_heads(None), METRICS["auroc"], exclusive=False)
SIZED = replace(ALL, heads=for_size(ALL.heads, NIH)[0])


def folds_of(images: int, cv: int = 5) -> list[Fold]:
    parts = np.array_split(np.arange(images), cv)
    return [
        Fold(f"fold {k + 1}", 0, np.setdiff1d(np.arange(images), test), test)
        for k, test in enumerate(parts)
    ]


def extractor(images: int, dimension: int) -> Extractor:
    """One of any size, without its numbers."""
    X = np.broadcast_to(np.float32(0), (images, dimension))
    return Extractor(str(dimension), X, False, {}, str(dimension))


def free(monkeypatch: pytest.MonkeyPatch, gigabytes: float | None, cores: int = 2) -> None:
    usable = None if gigabytes is None else int(gigabytes * 1e9)
    monkeypatch.setattr(cost, "usable_memory", lambda: usable)
    monkeypatch.setattr(cost, "available_cores", lambda: cores)


def test_every_head_has_an_estimate_of_its_own() -> None:
    assert {*HEADS, SHUFFLED} == set(cost.SECONDS) == set(cost.COPIES)


@pytest.mark.parametrize("name", [*HEADS, SHUFFLED, "elsewhere:Head"])
def test_more_images_or_numbers_never_cost_less(name: str) -> None:
    head = HEADS.get(name)
    sizes = [
        size_of(extractor(n, d), folds_of(n)[0], folds_of(n), 14, head)
        for n, d in ((3000, 64), (9000, 64), (9000, 512))
    ]
    for estimate in (cost.seconds, lambda name, size: cost.memory([name], size)):
        small, more, wide = (estimate(name, size) for size in sizes)
        assert 0 < small < more <= wide


def test_nih_with_three_extractors_fits_into_14_gb_two_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free(monkeypatch, 12.5)  # the embeddings have 1.4 GB
    share = share_out([extractor(NIH, d) for d in (512, 512, 2048)], folds_of(NIH), 14, SIZED)
    assert share.at_once == 2
    assert share.memory < 12.5e9


def test_embeddings_that_are_too_wide_are_refused_with_the_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free(monkeypatch, 12.5)
    wide = [extractor(NIH, 512), extractor(NIH, 25_088)]
    with pytest.raises(InputError, match=r"on 25088 takes about \d+\.\d GB .* 12\.5 GB are free"):
        share_out(wide, folds_of(NIH), 14, SIZED)
    assert share_out([extractor(6000, 25_088)], folds_of(6000), 14, ALL).at_once == 2


def test_tasks_at_a_time_go_by_the_memory_and_threads_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares = []
    for gigabytes in (None, 100, 9, 5):
        free(monkeypatch, gigabytes, cores=8)
        monkeypatch.setattr("cxrfeat.evaluation.validation.side_by_side.available_cores", lambda: 8)
        shares.append(share_out([extractor(NIH, 2048)], folds_of(NIH), 14, SIZED, jobs=4))
    assert [share.at_once for share in shares][:2] == [4, 4]
    assert 4 > shares[2].at_once > shares[3].at_once >= 1
    assert {share.threads for share in shares} == {2}
    assert [threads_of_each(jobs) for jobs in (None, 1, 3, 8, 16)] == [1, 8, 2, 1, 1]


def test_heads_are_worked_on_together_where_they_share_their_work() -> None:
    plan = plan_of("logreg", "knn")
    assert groups_of_heads(plan, LARGE, True) == [("logreg", "knn", SHUFFLED)]
    assert groups_of_heads(plan, LARGE + 1, False) == [("logreg",), ("knn",)]


def test_the_time_left_goes_by_what_each_head_took() -> None:
    clock = Clock({"knn": 10.0, "logreg": 40.0}, at_once=2)
    assert clock.left == 25
    clock.ended({"knn": 5.0}, took=10)  # twice as long: so will the rest, as far as is known
    assert clock.left == pytest.approx((10 + 80) / 2)
    clock.ended({"logreg": 20.0}, took=10)
    assert clock.left == pytest.approx((10 + 10) / 2)
    clock.ended({"logreg": 20.0, "knn": 5.0}, took=20)
    assert clock.left == 0


def one_by_one(seen: list[Any]) -> Any:
    def run(work: Any, tasks: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        seen.extend((task[0].name, task[2]) for task in tasks)
        for place, task in enumerate(tasks):
            yield place, work(*task)

    return run


def test_a_task_for_each_head_finds_the_same_the_dearest_first_one_extractor_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractors, y, groups, folds = made()
    plan, labels = plan_of("dummy", "logreg", "knn"), np.eye(3)[y]
    together: list[Any] = []
    found = cross_validate(extractors, labels, groups, folds, plan, run=one_by_one(together))
    every = ("dummy", "logreg", "knn", SHUFFLED)
    assert together == [(one.name, every) for one in extractors for _ in folds]
    monkeypatch.setattr(cost, "LARGE", 10)
    alone: list[Any] = []
    told: list[FoldDone] = []
    planned: list[ToDo] = []
    again = cross_validate(
        extractors, labels, groups, folds, plan, run=one_by_one(alone), share=Share(2, 1, 1e9),
        progress=told.append, planned=planned.append,
    )  # fmt: skip
    assert bits(found) == bits(again)
    assert [name for name, _ in alone] == ["all"] * 12 + ["both"] * 12
    assert [heads for _, heads in alone][9:12] == [("dummy",)] * 3
    assert [one.done for one in told] == list(range(1, 25))
    assert [one.heads for one in told] == [heads for _, heads in alone]
    assert all(one.seconds > 0 for one in told)
    assert told[-1].left == 0 < told[-2].left
    (work,) = planned
    assert (work.extractors, work.folds, work.heads, work.pieces) == (2, 3, 3, 24)
    assert (work.memory, work.at_once, work.kept) == (1e9, 2, {})
    assert work.seconds > 0


def test_neighbours_found_once_for_all_folds_are_those_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractors, y, groups, folds = made()
    plan, labels = plan_of("knn", "logreg"), np.eye(3)[y]
    here = cross_validate(extractors, labels, groups, folds, plan)
    looked: list[int] = []

    def counted(X: np.ndarray, *arguments: Any) -> Any:
        looked.append(X.shape[1])
        return candidates(X, *arguments)

    at = "cxrfeat.evaluation.validation.cross_validation"
    monkeypatch.setattr(f"{at}.CANDIDATES_FROM", len(y))
    monkeypatch.setattr(f"{at}.candidates", counted)
    assert bits(cross_validate(extractors, labels, groups, folds, plan)) == bits(here)
    assert looked == [24, 20]


def test_how_far_the_search_for_neighbours_is_is_told_tile_by_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractors, y, groups, folds = made()
    monkeypatch.setattr("cxrfeat.evaluation.validation.cross_validation.CANDIDATES_FROM", len(y))
    monkeypatch.setattr("cxrfeat.evaluation.heads.neighbours.TILE", 1 + len(y) // 2)
    told: list[FoldDone] = []
    cross_validate(
        extractors[:1], np.eye(3)[y], groups, folds, plan_of("knn"), progress=told.append
    )
    # Two halves with themselves, and one with the other.
    shares = ["neighbours 33 %", "neighbours 67 %", "neighbours 100 %"]
    assert [one.fold for one in told[:3]] == shares
    assert all(one.heads == ("knn",) and one.done == 0 < one.left for one in told[:3])
    assert [one.done for one in told[3:]] == [2, 4, 6]
