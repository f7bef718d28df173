"""Which images were hard, and their labels in words: as if looked at one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from cxrfeat.evaluation.outcome.image_difficulty import (
    Answers,
    confidently_wrong,
    hardest,
    label_names,
)
from cxrfeat.evaluation.outcome.saved_run import SavedRun


@pytest.mark.parametrize("labels", [1, 3, 11])
def test_labels_in_words_are_those_that_hold(labels: int) -> None:
    random = np.random.default_rng(labels)
    held, tested = random.random((60, labels)) < 0.3, random.random(60) < 0.8
    names = [f"label {k}" for k in range(labels)]
    run = SavedRun({"classes": names}, [], None, [], np.zeros((0, labels)), {}, {})
    words = ["|".join(np.array(names)[row]) or "none" for row in held]
    assert label_names(run, held, np.ones(60, dtype=bool)) == words
    shown = [word if one else "" for word, one in zip(words, tested, strict=True)]
    assert label_names(run, held, tested) == shown


def test_the_hardest_come_first_and_what_was_not_tested_never() -> None:
    agreement = np.array([0.9, 0.2, np.nan, 0.2, 0.5])
    assert hardest([agreement], 3) == [1, 3, 4]
    assert hardest([agreement], 9) == [1, 3, 4, 0]
    assert hardest([agreement, np.array([0.0, 0.2, 0.0, 0.1, 0.5])], 2) == [3, 1]
    wrong = np.array([False, True, False, True, True])
    of = Answers(np.zeros((5, 1)), [], agreement, wrong)
    assert confidently_wrong(of, 2) == [1, 3]
    assert confidently_wrong(of, 9) == [1, 3, 4]
