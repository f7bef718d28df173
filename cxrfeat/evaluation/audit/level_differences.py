"""How a figure differs between the levels of a column, and what is answered to that.

Each level is compared with all other images. P-values are adjusted over all levels of all columns
of a call (Holm 1979).

References
----------
Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cxrfeat.evaluation.audit.levels import FEWEST, Levels
from cxrfeat.evaluation.audit.partial_confounder import LEVEL, POWER
from cxrfeat.evaluation.audit.predictions import Difference
from cxrfeat.evaluation.statistics.paired_tests import holm
from cxrfeat.results.audit import Check, Figure, Section, Table, Verdict

Cells = list[str | float | int | None]


@dataclass(frozen=True)
class LevelFigure:
    """A figure of one level of a column.

    Attributes
    ----------
    patients : int
        Whom it goes by: `FEWEST` are needed to judge it.
    value : float
    interval : (float, float)
    gap : Difference
        By how much it is worse than that of all other images.
    cells : list
        What else a table says of this level, before the figure and after it.
    """

    column: str
    name: str
    patients: int
    value: float
    interval: tuple[float, float]
    gap: Difference
    cells: tuple[Cells, Cells]

    @property
    def judged(self) -> bool:
        """Whether there are enough patients for a word about it."""
        return self.patients >= FEWEST and bool(np.isfinite(self.gap.p))


@dataclass(frozen=True)
class Asked:
    """One question about the levels of a column.

    Attributes
    ----------
    code, question : str
    what : str
        The figure, as a sentence begins with it.
    short : str
        The figure, as a table names it.
    worse : str
        ``"below"`` or ``"above"``: where a worse figure lies.
    remedy : str
        Where a level differs.
    said : str
        What comes after every answer.
    seen : str
        What is added to what could have been seen.
    more : sequence of Figure
        Beside those of the levels.
    """

    code: str
    question: str
    what: str
    short: str
    worse: str
    remedy: str
    said: str = ""
    seen: str = ""
    more: Sequence[Figure] = ()


def adjusted(found: Iterable[LevelFigure]) -> dict[tuple[str, str], float]:
    """Adjust the p-values of all levels of all columns; by column and level, the judged ones."""
    p = {(one.column, one.name): one.gap.p for one in found if one.judged}
    return dict(zip(p, holm(list(p.values())), strict=True))


def row(one: LevelFigure, p: Mapping[tuple[str, str], float]) -> Cells:
    """Write a level as a row of a table."""
    before, after = one.cells
    return [
        one.name, *before, one.value, *one.interval, one.gap.value, *one.gap.interval,
        p.get((one.column, one.name)), *after,
    ]  # fmt: skip


def answered(
    asked: Asked,
    levels: Levels,
    found: Sequence[LevelFigure],
    p: Mapping[tuple[str, str], float],
    table: Table,
) -> Check:
    """Say whether a figure differs between levels, of which one, and what would have been seen."""
    judged = [one for one in found if one.judged]
    if len(judged) < 2:
        return Check(
            code=asked.code,
            section=Section.SUBGROUPS,
            question=asked.question,
            verdict=Verdict.UNTESTED,
            answer=(
                f"Fewer than two levels of {levels.name} can be judged: {FEWEST} patients with a"
                f" class and {FEWEST} without it are needed at each. {asked.seen}".rstrip()
                + _left_out(levels, [])
            ),
            tables=[table],
        )
    p_of = {one.name: p[levels.name, one.name] for one in judged}
    differing = [one for one in judged if p_of[one.name] <= LEVEL]
    worst = max(differing or judged, key=lambda one: one.gap.value)
    told = "differs" if differing else "does not differ by more than chance makes"
    detectable = max(_detectable(one.gap, len(p)) for one in judged)
    return Check(
        code=asked.code,
        section=Section.SUBGROUPS,
        question=asked.question,
        verdict=Verdict.FOUND if differing else Verdict.NOT_FOUND,
        answer=(
            f"{asked.what} {told} between the levels of {levels.name}: {worst.name} has"
            f" {worst.value:.3f} ({worst.interval[0]:.3f} to {worst.interval[1]:.3f}),"
            f" {_against_others(worst.gap, asked.worse)}; p {min(p_of.values()):.2g}, adjusted)."
            + _left_out(levels, [one.name for one in found if not one.judged])
            + asked.said
        ),
        figures=[
            Figure(
                f"{asked.short} {asked.worse} all others at {worst.name}", worst.gap.value,
                worst.gap.interval,
            ),
            Figure("smallest p, adjusted over all levels (Holm)", min(p_of.values())),
            *asked.more,
            *(Figure(f"{asked.short} at {one.name}", one.value, one.interval) for one in judged),
        ],
        seen=(
            f"A difference of {detectable:.3f} or more at any judged level would have been found"
            f" with 80 % probability. {asked.seen}".rstrip()
        ),
        detectable=detectable,
        tables=[table],
        remedy=asked.remedy if differing else "",
    )  # fmt: skip


def _against_others(gap: Difference, worse: str) -> str:
    low, high = gap.interval
    side = worse
    if gap.value < 0:
        side, low, high = {"below": "above", "above": "below"}[worse], -high, -low
    return f"{abs(gap.value):.3f} {side} all others (95 % interval {low:+.3f} to {high:+.3f}"


def _detectable(difference: Difference, tests: int) -> float:
    degrees = difference.degrees
    reach = stats.t.isf(LEVEL / 2 / max(1, tests), degrees) + stats.t.ppf(POWER, degrees)
    return float(reach * difference.error)


def _left_out(levels: Levels, names: Sequence[str]) -> str:
    said = f" Too few to judge: {', '.join(names)}." if names else ""
    return said + (f" {levels.said[0].upper()}{levels.said[1:]}." if levels.said else "")
