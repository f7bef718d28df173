"""Values dealt out anew among patients: the permutations of the tests of an audit.

What is exchanged are patients, each with all of its values, so that values which a patient's images
have in common stay in common: a sex, a scanner, and also a view that changes from image to image.
Two patients change places only within a stratum. The images of a patient stand in the order of
their labels; where the other has more or fewer, they take the values at the same relative places.
With one image per patient this is the plain permutation within strata, and where images of a
patient agree, or patients have equally many, it is exact.

References
----------
Winkler AM, Webster MA, Vidaurre D, Nichols TE, Smith SM. Multi-level block permutation. NeuroImage
2015;123:253-268 (whole blocks that change places).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cxrfeat.arrays import Groups, RowNumbers

AT_ONCE = 2_000_000
"""Values that are dealt at a time."""


@dataclass(frozen=True)
class Dealing:
    """Who may take whose values.

    Attributes
    ----------
    order : ndarray of int, shape (n,)
        Rows, those of a unit together, units of a stratum together.
    unit : ndarray of int, shape (n,)
        Of each row in that order, from 0.
    stratum : ndarray of int, shape (U,)
        Of each unit, in rising order.
    """

    order: RowNumbers
    unit: RowNumbers
    stratum: RowNumbers

    @classmethod
    def among(
        cls, units: RowNumbers, strata: RowNumbers, within: RowNumbers | None = None, seed: int = 0
    ) -> Dealing:
        """Make it.

        Parameters
        ----------
        units : ndarray of int, shape (n,)
            What each row belongs to, e.g. the number of its patient.
        strata : ndarray of int, shape (n,)
            The same for all rows of a unit.
        within : ndarray of int, shape (n,), or None
            By which the rows of a unit are ordered; at random among equals.
        seed : int
            Of that order.
        """
        chance = np.random.default_rng(seed).permutation(len(units))
        inner = np.zeros(len(units), dtype=np.intp) if within is None else within
        order = np.lexsort((chance, inner, units, strata))
        new = np.ones(len(order), dtype=bool)
        new[1:] = units[order][1:] != units[order][:-1]
        return cls(order, np.cumsum(new) - 1, strata[order][new])

    def deals(self, random: np.random.Generator, count: int) -> Iterator[RowNumbers]:
        """Give in blocks, shape (b, n), the row whose value each row takes; `count` in all."""
        n, units = len(self.order), len(self.stratum)
        size = np.bincount(self.unit, minlength=units)
        start = np.concatenate([[0], np.cumsum(size)[:-1]])
        place = np.arange(n) - start[self.unit]
        alone = bool((size == 1).all())
        step = max(1, AT_ONCE // max(1, n))
        for done in range(0, count, step):
            b = min(step, count - done)
            # Whole numbers keep the strata apart, fractions shuffle them.
            donor = np.argsort(self.stratum + random.random((b, units)), axis=1)
            if alone:
                taken = donor
            else:
                donor = donor[:, self.unit]
                taken = start[donor] + (2 * place + 1) * size[donor] // (2 * size[self.unit])
            source = np.empty((b, n), dtype=np.intp)
            source[:, self.order] = self.order[taken]
            yield source


def numbered(patients: Groups, n: int) -> RowNumbers:
    """Give patients numbers from 0; every image its own where they are not known."""
    return np.arange(n) if patients is None else np.unique(patients, return_inverse=True)[1]
