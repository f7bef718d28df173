"""Checks whose content is made up, for what is done with checks."""

from __future__ import annotations

from collections.abc import Sequence

from cxrfeat.auditing.questions import Questions
from cxrfeat.auditing.steps import Step
from cxrfeat.results.audit import (
    Candidate,
    Check,
    Figure,
    Proof,
    Section,
    Table,
    Verdict,
)

HEADLINE = "Without seeing the lungs, the outer frame reaches 84 % of the score above chance."


def some_checks(ids: Sequence[str]) -> list[Check]:
    """One of every kind: a ladder, pairs, a ranked list, a sheet, an open question."""
    ladder = Table(
        "ladder",
        "The control ladder",
        ["Rung", "Score", "low", "high", "Seconds"],
        [
            ["majority", 0.5, None, None, 0.1],
            ["the outer frame alone, 32 x 32 pixels", 0.91, 0.87, 0.94, 1.5],
            ["full image", 0.99, 0.98, 0.999, None],
        ],
    )
    return [
        Check(
            code="best-control",
            section=Section.CONTROLS,
            question="What does as well without the lungs?",
            verdict=Verdict.FOUND,
            answer="The outer frame alone reaches 84 % of the score above chance.",
            figures=[Figure("share of the score above chance", 0.84, (0.7, 0.93))],
            detectable=0.04,
            tables=[ladder],
            remedy="Crop to the lungs, and audit again.",
        ),
        Check(
            code="identical-bytes",
            section=Section.DUPLICATES,
            question="Are there files of the same bytes?",
            verdict=Verdict.FOUND,
            answer=f"2 pairs, e.g. {ids[0]} and {ids[1]}.",
            figures=[Figure("pairs", 2), Figure("score without them", 0.97, (0.95, 0.98))],
            seen="every pair of equal files",
            proofs=[Proof("copies encoded again", 0.05, 16, 1.0, 0.94)],
            candidates=[
                Candidate(list(ids[:2]), 1.0, "equal bytes", {"classes": "clear / opaque"}),
                Candidate(list(ids[2:4]), 0.9, "equal <bytes>"),
            ],
        ),
        Check(
            code="copies-across",
            section=Section.DUPLICATES,
            question="Do copies stand on both sides of a fold?",
            verdict=Verdict.FOUND,
            answer="1 pair does",
            candidates=[Candidate([ids[1], ids[0]], 1.0, "equal bytes")],
            tables=[Table("duplicates", "Pairs", ["image", "copy"], [["a", "b"]] * 120)],
        ),
        Check(
            code="attribute:view",
            section=Section.ATTRIBUTES,
            question="Does the score use view?",
            verdict=Verdict.NOT_FOUND,
            answer="View tells nothing about the label.",
            figures=[Figure("p of the partial confounder test", 0.0004)],
        ),
        Check(
            code="label-errors",
            section=Section.LABELS,
            question="Which labels may be wrong?",
            verdict=Verdict.FOUND,
            answer="3 labels are doubted.",
            candidates=[
                Candidate([id_], 0.5, "both extractors", {"label": "clear", "suggested": "opaque"})
                for id_ in ids[:3]
            ],
        ),
        Check(
            code="outliers",
            section=Section.OUTLIERS,
            question="Which images are unlike all others?",
            verdict=Verdict.FOUND,
            answer="8 images.",
            candidates=[Candidate([id_], 3.0, "far") for id_ in ids[:8]],
        ),
        Check(
            code="pretraining",
            section=Section.PRETRAINING,
            question="Were the weights trained on these images?",
            verdict=Verdict.UNTESTED,
            answer="The sidecar does not say what the weights were trained on.",
        ),
        Check(
            code="planted-mark",
            section=Section.PROOFS,
            question="Would a corner mark have been found?",
            verdict=Verdict.FOUND,
            answer="It is named down to a rate of 20 %.",
            proofs=[Proof("a corner mark in 80 % of a class", 0.8, 120, 1.0)],
        ),
    ]


def made_up_steps(questions: Questions) -> list[Step]:
    """Answer everything with what is made up."""
    questions.headline = HEADLINE
    checks = some_checks(questions.audited.subject.study.ids)
    return [Step("everything", Section.CONTROLS, lambda told: checks)]
