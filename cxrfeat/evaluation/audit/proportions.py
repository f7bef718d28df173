"""How sure a share is: Wilson's interval, also where images of a patient are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cxrfeat.arrays import RowNumbers
from cxrfeat.results.data import Interval


@dataclass(frozen=True)
class Share:
    """A share of images that is one of patients.

    Attributes
    ----------
    value : float
        NaN where there are no images.
    images, patients : int
        Of how many.
    interval : tuple of float
        95 %.
    error : float
        Standard error.
    """

    value: float
    images: int
    patients: int
    interval: Interval
    error: float


def wilson(hits: float, n: float) -> Interval:
    """Interval of a share of independent trials, 95 %.

    References
    ----------
    Wilson EB. J Am Stat Assoc 1927;22:209-212.
    """
    z = float(stats.norm.ppf(0.975))
    middle = (hits + z**2 / 2) / (n + z**2)
    reach = z * np.sqrt(hits * (n - hits) / n + z**2 / 4) / (n + z**2)
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


def share_of(hit: npt.NDArray[np.bool_], patient: RowNumbers) -> Share:
    """Give the share of images that are hit.

    Images of a patient count for as many independent ones as the variance between patients says,
    and for no more than there are.

    Parameters
    ----------
    hit : ndarray of bool, shape (n,)
    patient : ndarray of int, shape (n,)
        From 0.

    References
    ----------
    Rao JNK, Scott AJ. A simple method for the analysis of clustered binary data. Biometrics
    1992;48:577-585.
    """
    n = len(hit)
    if not n:
        nan = float("nan")
        return Share(nan, 0, 0, (nan, nan), nan)
    _, unit = np.unique(patient, return_inverse=True)
    share, units = float(np.mean(hit)), int(unit.max()) + 1
    independent = share * (1 - share) / n
    apart = np.bincount(unit, hit - share)
    between = float((apart**2).sum()) / n**2 * units / max(units - 1, 1)
    inflated = max(1.0, between / independent) if independent > 0 else n / units
    effective = n / inflated
    low, high = wilson(share * effective, effective)
    # Of a share at its end the error is what one more patient would make of it.
    added = (share * effective + 1) / (effective + 2)
    error = float(np.sqrt(added * (1 - added) / (effective + 2)))
    return Share(share, n, units, (low, high), error)
