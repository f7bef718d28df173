"""What the controls of an extractor say about its score, as questions with verdicts.

Two questions are asked of the rungs of a `Ladder`.

Does anything that sees no lungs tell the classes apart? *Found*: the score of a control that sees
no lungs is above chance, at 5 % over all such controls together (Bonferroni). *Not found*: none
is, and one that reached half of the score above chance would have been found with 80 %
probability. Otherwise, and where the full image itself is not above chance, *could not be tested*.
How much of the score it is stands in the figures; whether it can be told from the full image
stands in the answer.

Could the score be had without trained features? *Found*: some control is better than the full
image, or practically as good (not 0.01 behind, with 95 % probability). *Not found*: the full image
is better than every control (corrected t-test over the folds, Holm over the controls). Otherwise
*could not be tested*: more patients would have to decide it.
"""

from __future__ import annotations

import math

from cxrfeat.evaluation.audit.controls import HALF, LEVEL, Ladder, Rung
from cxrfeat.results.audit import Check, Figure, Section, Table, Verdict

BLIND, UNTRAINED = "controls-no-lungs", "controls-untrained"
"""Codes begin so; the extractor follows after a colon."""

SURE = 0.95


def control_checks_of(ladder: Ladder) -> list[Check]:
    """Ask both questions; the first has the table of all rungs."""
    return [_blind(ladder), _untrained(ladder)]


def untested(extractor: str, why: str) -> list[Check]:
    """Answer both questions of an extractor where there is no ladder."""
    asked = {BLIND: _blind_question(extractor), UNTRAINED: _untrained_question(extractor)}
    return [
        Check(f"{code}:{extractor}", Section.CONTROLS, question, Verdict.UNTESTED, why)
        for code, question in asked.items()
    ]


def _blind_question(extractor: str) -> str:
    return f"Does anything that sees no lungs tell the classes apart as {extractor} does?"


def _untrained_question(extractor: str) -> str:
    return f"Could the score of {extractor} be had without its trained features?"


def headline(ladder: Ladder) -> str:
    """Say in sentences to be quoted how far the best controls come."""
    if not ladder.above_chance(ladder.full, 1):
        return (
            f"{ladder.extractor} is not shown to be above chance on these images"
            f" ({_score_of(ladder, ladder.full)}; chance {ladder.chance:.3f}): there is no score of"
            " which a control could reach a share."
        )
    sentences = []
    if ladder.blind:
        best = ladder.best(ladder.blind)
        sentences.append(f"Without seeing the lungs, {_reaches(ladder, best)}.")
    if ladder.informed:
        best = ladder.best(ladder.informed)
        if not (ladder.blind and best is ladder.best(ladder.blind)):
            sentences.append(f"The best control of all, {_reaches(ladder, best)}.")
    if not sentences:
        return f"No control of {ladder.extractor} could be scored."
    return " ".join(sentences)


def _reaches(ladder: Ladder, rung: Rung) -> str:
    share, added = ladder.share_reached(rung), ladder.added(rung)
    full = ladder.full.score.mean
    numbers = f"{_score_of(ladder, rung)} against {full:.3f}; chance {ladder.chance:.3f}"
    if math.isnan(share.value):
        return f"'{rung.name}' has {numbers}: {ladder.extractor} itself is not above chance"
    if share.value <= 0:
        return f"'{rung.name}' is no better than chance ({numbers})"
    said = (
        f"'{rung.name}' reaches {_percent(share)} of the score above chance of {ladder.extractor}"
        f" ({numbers})"
    )
    if math.isnan(added.value):
        return f"{said}, which leaves nothing to add"
    if added.value <= 0:
        return f"{said}; the full image adds nothing to it"
    return f"{said}; the full image adds {_percent(added)} of what it leaves to a perfect score"


def _score_of(ladder: Ladder, rung: Rung) -> str:
    return f"{ladder.metric.title} {rung.score.mean:.3f}"


def _percent(figure: Figure) -> str:
    low, high = figure.interval
    said = f"{figure.value:.0%}"
    return said if math.isnan(low) else f"{said} (95 % interval {low:.0%} to {high:.0%})"


def _blind(ladder: Ladder) -> Check:
    blind = ladder.blind
    code = f"{BLIND}:{ladder.extractor}"
    question = _blind_question(ladder.extractor)
    if not blind:
        return Check(
            code, Section.CONTROLS, question, Verdict.UNTESTED,
            "no control that sees no lungs: the pictures are needed for it (--images)",
            tables=[_table(ladder)],
        )  # fmt: skip
    best = ladder.best(blind)
    found = [rung for rung in blind if ladder.above_chance(rung, len(blind))]
    detectable = ladder.detectable(blind)
    sees = ladder.above_chance(ladder.full, 1)
    if found:
        verdict = Verdict.FOUND
        names = ", ".join(f"'{rung.name}'" for rung in found)
        answer = f"yes: {names}; {_reaches(ladder, best)}{_told_apart(ladder, best)}"
    elif not sees:
        verdict = Verdict.UNTESTED
        answer = f"{ladder.extractor} itself is not above chance: there is no score to explain"
    elif detectable > HALF:
        verdict = Verdict.UNTESTED
        answer = (
            f"too few patients: a control would have to reach {detectable:.0%} of the score above"
            f" chance to be found, more than {HALF:.0%} of it; {_reaches(ladder, best)}"
        )
    else:
        verdict = Verdict.NOT_FOUND
        answer = f"no control that sees no lungs is above chance; {_reaches(ladder, best)}"
    return Check(
        code, Section.CONTROLS, question, verdict, answer,
        figures=_figures(ladder, best, "the best control that sees no lungs"),
        seen=(
            f"A control is found when its {ladder.metric.title} is above {ladder.chance:.3f} at"
            f" {LEVEL:.0%} over {len(blind)} controls together."
        ),
        detectable=detectable,
        tables=[_table(ladder)],
        remedy=_remedy(found),
    )  # fmt: skip


def _told_apart(ladder: Ladder, rung: Rung) -> str:
    pair = ladder.against_full[ladder.rungs.index(rung)]
    if pair.p_holm < LEVEL and pair.difference > 0:
        return "; the full image is better than it"
    if pair.p_holm < LEVEL:
        return "; it is better than the full image"
    return "; it cannot be told from the full image on these patients"


def _remedy(found: list[Rung]) -> str:
    if not found:
        return ""
    return (
        "Say beside every score what this control reaches. Look at what the classes have in common"
        " outside the lungs: sources, views, marks, borders, file formats. Test on a source that"
        " no image was learned from."
    )


def _untrained(ladder: Ladder) -> Check:
    code = f"{UNTRAINED}:{ladder.extractor}"
    question = _untrained_question(ladder.extractor)
    if not ladder.informed:
        return Check(
            code, Section.CONTROLS, question, Verdict.UNTESTED,
            "no control but the majority: the pictures are needed for it (--images)",
        )  # fmt: skip
    best = ladder.best(ladder.informed)
    pairs = [
        pair
        for rung, pair in zip(ladder.rungs, ladder.against_full, strict=True)
        if rung in ladder.informed
    ]
    of_best = ladder.against_full[ladder.rungs.index(best)]
    as_good = [
        pair.second
        for pair in pairs
        if (pair.p_holm < LEVEL and pair.difference < 0) or pair.same + pair.worse >= SURE
    ]
    if as_good:
        verdict = Verdict.FOUND
        said = f"practically as good as the full image, or better: {', '.join(as_good)}"
    elif all(pair.p_holm < LEVEL for pair in pairs):
        verdict, said = Verdict.NOT_FOUND, "the full image is better than every control"
    else:
        verdict = Verdict.UNTESTED
        said = (
            f"'{best.name}' and the full image cannot be told apart; a difference of"
            f" {of_best.detectable:.3f} would have been found: more patients are needed"
        )
    low, high = of_best.interval
    difference = (
        f"{of_best.difference:+.3f} {ladder.metric.title} (95 % interval {low:+.3f} to {high:+.3f})"
    )
    return Check(
        code, Section.CONTROLS, question, verdict,
        f"{said}; over '{best.name}' the full image is ahead by {difference}",
        figures=[
            Figure(f"full image ahead of {best.name}", of_best.difference, of_best.interval),
            *_figures(ladder, best, "the best control"),
        ],
        detectable=of_best.detectable,
        remedy=(
            ""
            if verdict is Verdict.NOT_FOUND
            else "The data do not show what these features are good for: name the control beside"
            " the score, or take a question that grey values alone do not answer."
        ),
    )  # fmt: skip


def _figures(ladder: Ladder, best: Rung, whose: str) -> list[Figure]:
    share, added = ladder.share_reached(best), ladder.added(best)
    title = ladder.metric.title
    return [
        Figure(f"share of the score above chance that {whose} reaches", *_of(share)),
        Figure(f"share of what {whose} leaves that the full image adds", *_of(added)),
        Figure(f"{title} of {best.name}", best.score.mean, best.score.interval),
        Figure(
            f"{title} of {ladder.extractor}", ladder.full.score.mean, ladder.full.score.interval
        ),
        Figure(f"{title} by chance", ladder.chance),
    ]


def _of(figure: Figure) -> tuple[float, tuple[float, float]]:
    return figure.value, figure.interval


def _table(ladder: Ladder) -> Table:
    rows: list[list[str | float | int | None]] = []
    for rung, pair in zip(ladder.rungs, ladder.against_full, strict=True):
        share, added = ladder.share_reached(rung), ladder.added(rung)
        rows.append(
            [
                rung.name, rung.sees, rung.score.mean, *rung.score.interval,
                share.value, *share.interval, added.value, *added.interval,
                pair.difference, *pair.interval, pair.p_holm, round(rung.seconds, 1),
            ]
        )  # fmt: skip
    full = ladder.full
    nothing = [None] * 10
    rows.append(
        [full.name, full.sees, full.score.mean, *full.score.interval, *nothing,
         round(full.seconds, 1)]
    )  # fmt: skip
    return Table(
        f"controls-{ladder.extractor}",
        f"What controls reach of the {ladder.metric.title} of {ladder.extractor}",
        [
            "control", "sees", ladder.metric.name, "low", "high",
            "share above chance", "share low", "share high",
            "full adds", "adds low", "adds high",
            "full ahead by", "ahead low", "ahead high", "p (Holm)", "seconds",
        ],
        rows,
    )  # fmt: skip
