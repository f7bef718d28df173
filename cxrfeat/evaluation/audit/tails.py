"""How rare a large value is among others, where a few of them may be what is looked for.

Beyond a high quantile the tail of nearly any distribution falls like an exponential or faster, so
that one takes few values for rare that are not (Pickands 1975). Its length is taken from the median
of what lies beyond, which does not mind if less than half of that is something else.

References
----------
Pickands J. Statistical inference using extreme order statistics. Annals of Statistics 1975;3:
119-131.
Benjamini Y, Hochberg Y. Controlling the false discovery rate. Journal of the Royal Statistical
Society B 1995;57:289-300.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

from cxrfeat.arrays import Matrix, Vector

BEYOND = 0.1
"""Share of the values that the tail is taken from."""
FEWEST = 50
"""Values below which their tail says nothing."""


@dataclass(frozen=True)
class Tail:
    """An exponential beyond a quantile.

    Attributes
    ----------
    start : float
        Beyond which lie `BEYOND` of the values.
    length : float
        Over which the share beyond falls to 1/e of it.
    """

    start: float
    length: float

    @classmethod
    def of(cls, values: Vector) -> Tail | None:
        """Take the tail of ordinary values; None of fewer than `FEWEST`."""
        if len(values) < FEWEST:
            return None
        start = float(np.quantile(values, 1 - BEYOND))
        beyond = values[values > start] - start
        if not len(beyond):
            return None
        return cls(start, float(np.median(beyond)) / float(np.log(2.0)))

    def chance(self, value: Matrix) -> Matrix:
        """Probability of so large a value or a larger one; 1 before the tail begins."""
        away = np.asarray(value) - self.start
        return np.where(away > 0, BEYOND * np.exp(-np.maximum(away, 0) / self.length), 1.0)

    def value(self, chance: float) -> float:
        """Value that is reached with a probability of at most `BEYOND`."""
        return self.start + self.length * float(np.log(BEYOND / chance))


def discoveries(chance: Vector, level: float) -> npt.NDArray[np.bool_]:
    """Which are found with the false discovery rate held at a level (Benjamini and Hochberg)."""
    if not len(chance):
        return np.zeros(0, dtype=bool)
    return np.asarray(false_discovery_control(chance) <= level)
