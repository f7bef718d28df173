"""The pieces a comparison is made of: what one head finds on one fold of one extractor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from cxrfeat.arrays import Matrix
from cxrfeat.evaluation.validation.retrained import Retrained
from cxrfeat.evaluation.validation.tuning import Outcome

SHUFFLED = "shuffled labels"
"""What stands in the place of a head for the control on shuffled labels; no head is called so."""


@dataclass(frozen=True)
class Piece:
    """What is worked on once, kept, and used again.

    Attributes
    ----------
    extractor : str
    fold : int
        Its number among the folds.
    head : str
        Or `SHUFFLED`.
    """

    extractor: str
    fold: int
    head: str


@dataclass(frozen=True)
class FoldScores:
    """One extractor on one fold, by one head or several.

    Attributes
    ----------
    outcomes : dict of str to Outcome
        Per head.
    permuted : ndarray, shape (PERMUTATIONS,), or None
        AUROC on shuffled labels.
    retrained : dict of str to Retrained
        Per head; empty for later repeats and where there are too few folds.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    permuted: Matrix | None = None
    retrained: dict[str, Retrained] = field(default_factory=dict)

    def of(self, head: str) -> FoldScores:
        """Take one head out, or the control."""
        if head == SHUFFLED:
            return FoldScores(permuted=self.permuted)
        again = {head: self.retrained[head]} if head in self.retrained else {}
        return FoldScores({head: self.outcomes[head]}, None, again)


class Kept(Protocol):
    """Where pieces are kept as they end, and found again."""

    def find(self, key: str) -> tuple[FoldScores, str] | None:
        """Give a piece by what decides it, and the name of the run that it comes from."""
        ...

    def keep(self, key: str, piece: Piece, scores: FoldScores) -> None:
        """Keep a piece that has just ended."""
        ...
