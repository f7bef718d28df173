"""What `fit` says on stderr before and during the work."""

from __future__ import annotations

import pytest

from cxrfeat import display
from cxrfeat.display import progress
from cxrfeat.evaluation.validation.cross_validation import FoldDone, ToDo

NEW = ToDo(3, 5, 6, 105, {}, 4321.0, 7.26e9, 2, 1)


def test_each_task_is_a_line_with_what_it_was_and_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with display.fit_progress() as show:
        show(FoldDone("vgg16", "fold 3", 37, 105, ("logreg",), 41.3, 740.0))
        show(FoldDone("vgg16", "fold 4", 44, 105, ("logreg", "knn"), 3.25, 9000.0))
        show(FoldDone("resnet50", "fold 5", 105, 105, ("dummy",), 0.04, 0.0))
    assert capsys.readouterr().err.splitlines() == [
        "vgg16 fold 3 logreg 41 s · 37 of 105 · about 12 min left",
        "vgg16 fold 4 3.2 s · 44 of 105 · about 2.5 h left",
        "resnet50 fold 5 dummy 0.0 s · 105 of 105",
    ]


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (
            NEW,
            "105 pieces: 3 extractors x 5 folds x 6 heads and the control on shuffled labels;"
            " about 72 min and at most 7.3 GB for 2 at a time",
        ),
        (
            ToDo(1, 1, 2, 2, {"runs/fit-001": 1}, 8.4, 3e6, 1, 2),
            "2 pieces: 1 extractor x 1 fold x 2 heads; 1 of 2 pieces from runs/fit-001;"
            " about 8.4 s and at most 0.1 GB for 1 at a time",
        ),
        (
            ToDo(1, 5, 2, 10, {"runs/fit-001": 4, "runs/fit-002": 6}, 0.0, 0.0, 2, 1),
            "10 pieces: 1 extractor x 5 folds x 2 heads; 4 of 10 pieces from runs/fit-001;"
            " 6 of 10 pieces from runs/fit-002; nothing is left to compute",
        ),
    ],
)
def test_the_work_is_said_before_it_begins(work: ToDo, said: str) -> None:
    assert display.to_do(work) == said
