"""Pairs of images that lie far nearer to each other than independent images do.

Whether a pair is near is judged by the images around it. Among independent images the distances
from one to its k-th neighbours, taken on a log scale and from far to near, are sums of independent
exponentials whose rate is the dimension of the data there (Levina and Bickel 2005, Facco et al.
2017). The dimension is learned from the neighbours number `NEAR` to `FAR`, and cancels: the chance
that the nearest lies as near as it does depends on nothing else. A few copies of an image stand
before that range and do not blur it.

A pair counts when this chance is small as seen from both images, with the false discovery rate held
over all images (Benjamini and Hochberg 1995), and when the two are nearer than ordinary images are
to their neighbours: two images of a rare kind are far from all others, and no copies for that.

References
----------
Levina E, Bickel PJ. Maximum likelihood estimation of intrinsic dimension. NIPS 2005.
Facco E, d'Errico M, Rodriguez A, Laio A. Estimating the intrinsic dimension of datasets by a
minimal neighborhood information. Scientific Reports 2017;7:12140.
Benjamini Y, Hochberg Y. Controlling the false discovery rate. Journal of the Royal Statistical
Society B 1995;57:289-300.
Johnson WB, Lindenstrauss J. Extensions of Lipschitz mappings into a Hilbert space. Contemporary
Mathematics 1984;26:189-206.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import comb

from cxrfeat.arrays import Groups, Matrix, Matrix32, RowNumbers

NEAR, FAR = 8, 60
"""Neighbours that tell what distances are ordinary; fewer in proportion, in a small class."""
FEWEST = 5
"""Neighbours below which nothing can be said."""
LEVEL = 0.2
"""False discovery rate as one image of a pair sees it. As both must see it, what comes out is far
less: of data sets of independent images, of many kinds, at most 2 in 100 gave a pair."""
NEARER = 0.75
"""A copy is nearer than this share of an ordinary distance to the neighbour number `NEAR`."""
CUT = 3.0
"""Standard deviations at which a channel is cut: one strange channel does not make two alike."""
PATIENTS = 20
"""Images with another of the same patient, from which on these say how near is near."""
EVERY = 2.5e11
"""Multiplications up to which all neighbours of all images are looked at: 11,000 images in 2,048
dimensions, 22,000 in 512. Of more images only those with another one near them are."""
WORK = 6e12
"""Multiplications at most around images with another one near them: 26,000 of 112,120 images in
2,048 dimensions."""
SAMPLE = 1000
"""Images that tell what distances are ordinary, where not all neighbours are looked at."""
PROJECTED, MARGIN = 256, 1.25
"""Random directions in which pairs are looked for, and how much farther than the limit."""
HEAP = 64
"""Neighbours of one image that are measured in a block, at most."""
LARGEST = 4096
"""Images of one patient among which nearest ones are looked for, at most."""
FLOOR = 1e-3
"""Distance below which float32 cannot tell a cosine from 1."""
COLUMNS = 32
"""Channels of which the spread is taken at a time."""
BLOCK = 2**22
"""Similarities held at a time; with all that is made of them less than 100 MB."""


@dataclass(frozen=True)
class NearCopies:
    """What was found.

    Attributes
    ----------
    pairs : ndarray of int, shape (P, 2)
        Rows, the smaller first.
    cosine : ndarray, shape (P,)
        Similarity of each pair, the channels scaled alike.
    searched : int
        Images around which was looked: all, but those with another one near them that `work` did
        not reach for.
    """

    pairs: RowNumbers
    cosine: Matrix
    searched: int


@dataclass(frozen=True)
class Candidates:
    """What a search came upon, before it is decided which of it counts.

    Attributes
    ----------
    image, other : ndarray of int, shape (P,)
        Rows; the neighbour as seen from the image. A pair stands here twice at most.
    distance, chance : ndarray, shape (P,)
        How probable so near a neighbour of an independent image is, the larger one of both ends.
    images : int
        Around how many was looked.
    """

    image: RowNumbers
    other: RowNumbers
    distance: Matrix
    chance: Matrix
    images: int

    def at(self, level: float) -> NearCopies:
        """Decide at a false discovery rate, of `LEVEL` at most."""
        image, least = np.unique(self.image), np.full(self.images, 1.0)
        np.minimum.at(least, np.searchsorted(image, self.image), self.chance)
        ordered = np.sort(least)
        below = np.flatnonzero(ordered <= level * np.arange(1, self.images + 1) / self.images)
        close = self.chance <= (ordered[below[-1]] if len(below) else -1.0)
        pairs = np.stack([self.image[close], self.other[close]], axis=1)
        pairs, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
        cosine = 1.0 - self.distance[close][first] ** 2 / 2.0
        return NearCopies(pairs, cosine, self.images)


@dataclass(frozen=True)
class _Frames:
    """The neighbours of some images, and what is ordinary around them; a row per image.

    `near`, `beyond`: places and distances of the nearest `NEAR` - 1 of any class. `anchor`:
    distance to the neighbour number `k` of the same class; `spread`: what the `m` nearest of it say
    of the inverse of the dimension, as `m` - `k` exponentials; `share`: of the images, those of the
    class.
    """

    near: RowNumbers
    beyond: Matrix
    anchor: Matrix
    spread: Matrix
    k: RowNumbers
    m: RowNumbers
    share: Matrix

    def chance(self, image: RowNumbers, distance: Matrix) -> Matrix:
        """How probable so near a neighbour of an independent image is, for images by place."""
        found = np.ones(len(image))
        for k, m in set(zip(self.k[image].tolist(), self.m[image].tolist(), strict=True)):
            if m < FEWEST:
                continue
            at = np.flatnonzero((self.k[image] == k) & (self.m[image] == m))
            who, d = image[at], distance[at]
            nearer = d < self.anchor[who]
            at, who, d = at[nearer], who[nearer], d[nearer]
            s = np.log(self.anchor[who] / d) / np.maximum(self.spread[who], 1e-12)
            # The largest of k - 1 exponentials against a gamma variable of m - k: exact.
            j = np.arange(1, k)
            signed = (-1.0) ** (j + 1) * comb(k - 1, j)
            p = np.exp(-(m - k) * np.log1p(s[:, None] * j)) @ signed
            # A neighbour of any class is judged by those of the own one: at most so many more.
            found[at] = np.clip(p / self.share[who], 0.0, 1.0)
        return found


def looks_at_all(n: int, dimension: int, work: float) -> bool:
    """Whether the neighbours of all images are looked at, whatever level is asked for then."""
    return n * n * dimension <= min(work, EVERY)


def near_copies(
    X: Matrix32,
    classes: npt.NDArray[np.intp],
    patients: Groups,
    *,
    seed: int = 0,
    level: float = LEVEL,
    work: float = WORK,
) -> NearCopies:
    """Find near copies by the cosine of the embeddings, every channel scaled to the same spread.

    Parameters as those of `candidates`.
    """
    return candidates(X, classes, patients, seed=seed, level=level, work=work).at(level)


def candidates(
    X: Matrix32,
    classes: npt.NDArray[np.intp],
    patients: Groups,
    *,
    seed: int = 0,
    level: float = LEVEL,
    work: float = WORK,
) -> Candidates:
    """Look for pairs that may be near copies: the long part, of which `Candidates.at` decides.

    The search goes block by block; beside `X` it holds two copies of it at most and 400 MB. Of more
    images than `EVERY` allows, pairs are first looked for in random directions, and only the images
    of pairs that are near enough get their neighbours looked at.

    Parameters
    ----------
    X : ndarray of float32, shape (n, D)
    classes : ndarray of int, shape (n,)
        Images are compared with those of their class, so that a class that lies apart is no heap
        of copies; all 0 where any number of labels may hold.
    patients : ndarray of str, shape (n,), or None
        Pairs of one patient are not looked for. Where there are enough of them, a pair of two
        patients must be at least as near as half of the images are to the next of their patient.
    seed
        Of the directions, and of the images whose neighbours are looked at, where `work` does not
        reach for all.
    level
        False discovery rate: where not all images are looked at, what cannot count at this one is
        left out. Where they are, what is found does not depend on it.
    work
        Multiplications at most to look at neighbours.

    Returns
    -------
    Candidates
    """
    n, dimension = X.shape
    order = np.argsort(classes, kind="stable")
    codes = np.arange(n) if patients is None else np.unique(patients, return_inverse=True)[1][order]
    Z, length = _scaled(X if (order[1:] > order[:-1]).all() else X[order])
    classes = classes[order]
    every = looks_at_all(n, dimension, work)
    none = np.zeros(0, dtype=np.intp)
    nothing = Candidates(none, none, np.zeros(0), np.zeros(0), n)
    if n <= FEWEST:
        return nothing
    random = np.random.default_rng(seed)
    asked = np.arange(n) if every else np.sort(random.permutation(n)[:SAMPLE])
    frames = _frames(Z, asked, classes, codes)
    judged = frames.m >= FEWEST
    if not judged.any():
        return nothing
    usual = frames.anchor[judged]
    limit = min(NEARER * float(np.median(usual)), _within_patients(Z, codes))
    most = NEARER * float(np.median(length[asked[judged]] * usual))
    if every:
        image = np.repeat(asked, frames.near.shape[1])
        other, distance = frames.near.ravel(), frames.beyond.ravel()
    else:
        image, other, distance = _within(Z, codes, limit, random)
    # What two images of a rare kind have in common is most of their length, so that the cosine is
    # large: their difference must be small as well.
    a, b = length[image], length[other]
    difference = np.sqrt((a - b) ** 2 + a * b * distance**2)
    close = np.flatnonzero((distance <= limit) & (difference <= most))
    searched = n
    if not every:
        found = np.unique(image[close])
        asked = np.sort(random.permutation(found)[: max(1, int(work / max(n * dimension, 1)))])
        searched -= len(found) - len(asked)
        close = close[np.isin(image[close], asked)]
        frames = _frames(Z, asked, classes, codes)
    here = frames.chance(np.searchsorted(asked, image[close]), distance[close])
    # Only what is remarkable from here is worth looking at from there.
    remarkable = here <= (LEVEL if every else level)
    close, here = close[remarkable], here[remarkable]
    if not len(close):
        return replace(nothing, images=searched)
    there, position = np.unique(other[close], return_inverse=True)
    back = frames if every else _frames(Z, there, classes, codes)
    seen = back.chance(there[position] if every else position, distance[close])
    chance = np.maximum(here, seen)
    image, other, distance = order[image[close]], order[other[close]], distance[close]
    return Candidates(image, other, distance, chance, searched)


def _within(
    Z: Matrix32, codes: RowNumbers, limit: float, random: np.random.Generator
) -> tuple[RowNumbers, RowNumbers, Matrix]:
    """Find the neighbours within a distance, the nearest `NEAR` - 1 of each image at most.

    Every pair is looked at once, in `PROJECTED` random directions; what is within `MARGIN` times
    the limit there is measured in all dimensions. A pair within the limit is missed less than once
    in ten million times (Johnson and Lindenstrauss 1984), and where an image has more than `HEAP`
    such neighbours, of which the nearest are measured.

    Returns
    -------
    image, other : ndarray of int, shape (P,)
    distance : ndarray, shape (P,)
    """
    n, dimension = Z.shape
    thin = Z
    if dimension > PROJECTED:
        directions = random.standard_normal((dimension, PROJECTED), dtype=np.float32)
        thin = Z @ (directions / np.float32(np.sqrt(PROJECTED)))
        limit_there = MARGIN * limit
    else:
        limit_there = limit + FLOOR
    half = 0.5 * np.einsum("ij,ij->i", thin, thin)[:, None]
    one = np.ones_like(half)
    # So that a product of rows is minus half of a squared distance.
    left, right = np.hstack([thin, -half, one]), np.hstack([thin, one, -half])
    least = np.float32(-0.5 * limit_there**2)
    found: list[tuple[RowNumbers, RowNumbers, Matrix]] = []
    start = 0
    while start < n:
        stop = min(n, start + max(1, BLOCK // (n - start)))
        value = left[start:stop] @ right[start:].T
        i, j = np.divmod(np.flatnonzero(value >= least), n - start)
        value = value[i, j]
        i, j = i + start, j + start
        new = (j > i) & (codes[i] != codes[j])
        i, j = _nearest(i[new], j[new], -value[new], HEAP)
        found.append((i, j, _exact(Z, i, j)))
        start = stop
    i, j, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    near = distance <= limit
    both = np.concatenate([i[near], j[near]]), np.concatenate([j[near], i[near]])
    distance = np.concatenate([distance[near], distance[near]])
    image, other = _nearest(*both, distance, NEAR - 1)
    return image, other, _exact(Z, image, other)


def _nearest(
    image: RowNumbers, other: RowNumbers, distance: Matrix | Matrix32, most: int
) -> tuple[RowNumbers, RowNumbers]:
    """Keep the nearest others of each image."""
    order = np.lexsort((other, distance, image))
    image, other = image[order], other[order]
    kept = np.arange(len(image)) - np.searchsorted(image, image) < most
    return image[kept], other[kept]


def _exact(Z: Matrix32, image: RowNumbers, other: RowNumbers) -> Matrix:
    """Distances of pairs in all dimensions."""
    found = np.empty(len(image))
    step = max(1, BLOCK // Z.shape[1])
    for start in range(0, len(image), step):
        of = slice(start, start + step)
        found[of] = _distance(np.einsum("ij,ij->i", Z[image[of]], Z[other[of]]))
    return found


def _scaled(X: Matrix32) -> tuple[Matrix32, Matrix32]:
    """Rows of length 1, of channels scaled to the same spread and cut; and their lengths before."""
    mean = X.mean(axis=0, dtype=np.float64)
    # Some columns at a time: a spread is taken of a copy in float64.
    parts = np.array_split(np.arange(X.shape[1]), max(1, X.shape[1] // COLUMNS))
    spread = np.concatenate([X[:, part].std(axis=0, dtype=np.float64) for part in parts])
    moving = spread > 1e-6 * np.maximum(np.abs(mean), 1e-12)
    Z: Matrix32 = X[:, moving]
    Z -= mean[moving].astype(np.float32)
    Z /= spread[moving].astype(np.float32)
    np.clip(Z, -CUT, CUT, out=Z)
    length = np.sqrt(np.einsum("ij,ij->i", Z, Z))
    Z /= np.where(length > 0, length, 1.0)[:, None]
    return Z, length


def _frames(
    Z: Matrix32, asked: RowNumbers, classes: npt.NDArray[np.intp], codes: RowNumbers
) -> _Frames:
    """Look at the neighbours of some rows; `classes` are sorted."""
    n, held = len(Z), min(NEAR - 1, len(Z) - 1)
    near, beyond = np.zeros((len(asked), held), dtype=np.intp), np.zeros((len(asked), held))
    anchor, spread, share = np.zeros(len(asked)), np.zeros(len(asked)), np.ones(len(asked))
    ks, ms = np.zeros(len(asked), dtype=np.intp), np.zeros(len(asked), dtype=np.intp)
    step = max(1, BLOCK // n)
    for one in np.unique(classes[asked]):
        begin, end = np.searchsorted(classes, [one, one + 1])
        # Half of the class: farther away its shape tells, not its dimension. Those of the same
        # patient do not count.
        m = int(min(FAR, (end - begin - np.bincount(codes[begin:end]).max()) // 2))
        k = max(2, m * NEAR // FAR)
        of_class = np.flatnonzero(classes[asked] == one)
        for start in range(0, len(of_class), step):
            at = of_class[start : start + step]
            rows = asked[at]
            similar = Z[rows] @ Z.T
            similar[codes[rows][:, None] == codes[None, :]] = -np.inf
            best = np.argpartition(similar, n - held, axis=1)[:, n - held :]
            near[at] = best
            beyond[at] = _distance(np.take_along_axis(similar, best, axis=1))
            if m >= FEWEST:
                own = np.partition(similar[:, begin:end], end - begin - m, axis=1)[:, -m:]
                reach = np.sort(_distance(own), axis=1)
                anchor[at] = reach[:, k - 1]
                logs = np.log(reach[:, m - 1 :] / reach[:, k - 1 : m - 1])
                spread[at] = logs.sum(axis=1) + (k - 1) * logs[:, 0]
        ks[of_class], ms[of_class], share[of_class] = k, m, (end - begin) / n
    return _Frames(near, beyond, anchor, spread, ks, ms, share)


def _distance(cosine: Matrix32) -> Matrix:
    """Between points on the sphere; infinite where the cosine is minus infinity."""
    return np.asarray(np.sqrt(np.maximum(2.0 - 2.0 * cosine.astype(np.float64), FLOOR**2)))


def _within_patients(Z: Matrix32, codes: RowNumbers) -> float:
    """Half of the images have another of their patient within this distance."""
    order = np.argsort(codes, kind="stable")
    nearest = []
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        rows = rows[:LARGEST]
        if len(rows) > 1:
            similar = Z[rows] @ Z[rows].T
            np.fill_diagonal(similar, -np.inf)
            nearest.append(_distance(similar.max(axis=1)))
    if sum(map(len, nearest)) < PATIENTS:
        return np.inf
    return float(np.median(np.concatenate(nearest)))
