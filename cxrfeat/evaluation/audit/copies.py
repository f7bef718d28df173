"""Pairs of images that show one radiograph, by three searches that each see what others miss.

- **embedding**: near copies by the cosine, judged by the images around them
  (`cxrfeat.evaluation.outcome.near_copies`, with its false discovery rate);
- **hash**: the same search over the bits of the perceptual hash. It sees copies with other grey
  values, which move an embedding; the network sees what moves a hash;
- **laid over**: pairs that are among each other's nearest in the embedding, or by the strength of
  their waves (`cxrfeat.evaluation.audit.spectra`), are laid over each other. How well independent
  images lie on each other is known from neighbours that are a little farther away, whose tail gives
  every pair a probability; the false discovery rate is held over all pairs that were tried. It sees
  copies that were cut, turned or mirrored.

Byte- or pixel-identical images count as one. Images of one patient are not compared: these may be
alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrfeat.arrays import Groups, Matrix, Matrix32, RowNumbers
from cxrfeat.evaluation.audit.aligning import aligned_correlation
from cxrfeat.evaluation.audit.nearest import nearest, numbered, standardised
from cxrfeat.evaluation.audit.prints import Prints
from cxrfeat.evaluation.audit.spectra import spectra
from cxrfeat.evaluation.audit.tails import Tail, discoveries
from cxrfeat.evaluation.outcome.near_copies import near_copies

MUTUAL = 5
"""A pair is laid over each other where each is among so many nearest of the other."""
FARTHER = slice(6, 12)
"""Neighbours that are ordinary, and as alike as independent images come."""
REFERENCES = 1000
"""Pairs of ordinary neighbours that are laid over each other."""
LEVEL = 0.05
"""False discovery rate among the pairs that are laid over each other; in simulated pictures it is
half of that, and a higher one finds few more copies."""
HASH_LEVEL = 0.02
"""As `near_copies` takes it; the embedding is searched as `fit` does it."""
SMALLEST = 1e-5
"""Of one minus a correlation, which eight bits of grey cannot tell from nothing."""
EMBEDDING, HASH, LAID_OVER = "embedding", "hash", "laid over"


@dataclass(frozen=True)
class Copies:
    """Pairs that were found.

    Attributes
    ----------
    pairs : ndarray of int, shape (P, 2)
        Rows, the smaller first.
    by : dict of str to ndarray of bool, shape (P,)
        Which search found each; searches that could not be made are missing.
    cosine : ndarray, shape (P,)
        In the embedding, channels with the same mean and spread.
    bits : ndarray, shape (P,)
        In which the hashes differ; NaN where unknown.
    correlation : ndarray, shape (P,)
        Laid over each other; NaN where unknown.
    searched : int
        Images around which the embedding was searched; see `near_copies`.
    ordinary : Ordinary or None
        How well ordinary pairs lie on each other; None where it is not known.
    """

    pairs: RowNumbers
    by: dict[str, npt.NDArray[np.bool_]]
    cosine: Matrix
    bits: Matrix
    correlation: Matrix
    searched: int
    ordinary: Ordinary | None = None


@dataclass(frozen=True)
class Ordinary:
    """How well pictures of different radiographs lie on each other.

    Attributes
    ----------
    tails : tuple of Tail or None, length 2
        Of the closeness of neighbours that are a little farther away, in the embedding and by the
        strength of their waves: nearer neighbours among many images are closer by chance, too. None
        where there are too few.
    more : tuple of float, length 2
        By how much the nearest are closer on the whole.
    tried : ndarray of int, shape (T, 2)
        The nearest, pair by pair in the order of their rows.
    by : ndarray of int, shape (T,)
        By which of the two each was chosen; 0 if by both.
    closeness : ndarray, shape (T,)
        How well each of them lies on the other.
    """

    tails: tuple[Tail | None, Tail | None]
    more: tuple[float, float]
    tried: RowNumbers
    by: RowNumbers
    closeness: Matrix

    @property
    def chance(self) -> Matrix:
        """Probability of lying on each other so well for no reason, shape (T,)."""
        found = np.ones(len(self.tried))
        for place, (tail, more) in enumerate(zip(self.tails, self.more, strict=True)):
            mine = self.by == place
            if tail is not None:
                found[mine] = tail.chance(self.closeness[mine] - more)
        return found


def find_copies(
    X: Matrix32,
    prints: Prints | None,
    classes: npt.NDArray[np.intp],
    patients: Groups,
    *,
    seed: int = 0,
    jobs: int | None = None,
    ordinary: Ordinary | None = None,
) -> Copies:
    """Search images of which no two are identical.

    Beside `X` it holds two copies of it at most and 500 MB.

    Parameters
    ----------
    X : ndarray of float32, shape (n, D)
    prints : Prints or None
        Of the same images; the embedding alone is searched without.
    classes : ndarray of int, shape (n,)
        As for `near_copies`.
    patients : ndarray of str, shape (n,), or None
    ordinary : Ordinary or None
        Of the first of these images, from a search among them alone, so that only what came later
        is laid over others.
    """
    readable = np.flatnonzero(prints.readable) if prints is not None else np.zeros(0, dtype=np.intp)
    near = near_copies(X, classes, patients, seed=seed)
    found = {EMBEDDING: near.pairs}
    if prints is not None and len(readable) > 1:
        of = near_copies(
            hash_bits(prints.hashes[readable]),
            classes[readable],
            None if patients is None else patients[readable],
            seed=seed,
            level=HASH_LEVEL,
        )
        found[HASH] = readable[of.pairs]
    Z = standardised(X)
    if prints is not None and prints.small is not None:
        ordinary = _laid_over(Z, prints, numbered(patients, len(X)), seed, jobs, ordinary)
        if ordinary is not None:
            found[LAID_OVER] = ordinary.tried[discoveries(ordinary.chance, LEVEL)]
    return replace(_together(found, Z, prints, near.searched), ordinary=ordinary)


def _laid_over(
    Z: Matrix32,
    prints: Prints,
    codes: RowNumbers,
    seed: int,
    jobs: int | None,
    known: Ordinary | None,
) -> Ordinary | None:
    """Lay the nearest pairs over each other, and ordinary ones where these are not known."""
    assert prints.small is not None
    spaces = (Z, standardised(spectra(prints.small)))
    rows = [nearest(space, codes, FARTHER.stop, jobs)[0] for space in spaces]
    tried, by = _chosen([_mutual(of[:, :MUTUAL]) for of in rows])
    seen = prints.readable[tried].all(axis=1)
    tried, by = tried[seen], by[seen]
    if known is not None:
        closeness = np.full(len(tried), np.nan)
        before = dict(zip(map(tuple, known.tried.tolist()), known.closeness, strict=True))
        for place, pair in enumerate(map(tuple, tried.tolist())):
            closeness[place] = before.get(pair, np.nan)
        new = np.isnan(closeness)
        closeness[new] = _closeness(prints.small, tried[new])
        return replace(known, tried=tried, by=by, closeness=closeness)
    closeness = _closeness(prints.small, tried)
    tails, more = [], []
    for place, of in enumerate(rows):
        ordinary = _closeness(prints.small, _farther(of[:, FARTHER], prints, seed))
        tails.append(Tail.of(ordinary))
        mine = closeness[by == place]
        # The nearest are a little more alike than those that they are compared with.
        ahead = np.median(mine) - np.median(ordinary) if len(mine) and len(ordinary) else 0.0
        more.append(max(0.0, float(ahead)))
    if tails == [None, None] or not len(tried):
        return None
    return Ordinary((tails[0], tails[1]), (more[0], more[1]), tried, by, closeness)


def _chosen(pairs: Sequence[RowNumbers]) -> tuple[RowNumbers, RowNumbers]:
    """Put pairs together in the order of their rows, each with the first that has it."""
    by = np.repeat(np.arange(len(pairs)), [len(of) for of in pairs])
    both, first = np.unique(np.concatenate(pairs), axis=0, return_index=True)
    return both, by[first]


def _farther(others: RowNumbers, prints: Prints, seed: int) -> RowNumbers:
    """Draw pairs of each image and some that are a little farther away, `REFERENCES` of them."""
    usual = np.stack([np.repeat(np.arange(len(others)), others.shape[1]), others.ravel()], axis=1)
    usual = usual[(usual >= 0).all(axis=1) & prints.readable[usual].all(axis=1)]
    return np.asarray(usual[np.random.default_rng(seed).permutation(len(usual))[:REFERENCES]])


def _closeness(small: npt.NDArray[np.uint8], pairs: RowNumbers) -> Matrix:
    """Minus the logarithm of what is missing of a correlation of 1."""
    return np.asarray(-np.log(np.maximum(1 - aligned_correlation(small, pairs), SMALLEST)))


def _mutual(near: RowNumbers) -> RowNumbers:
    """Pairs of which each is among the nearest of the other, the smaller row first."""
    n, k = near.shape
    one, other = np.repeat(np.arange(n), k), near.ravel()
    code = np.where(other >= 0, np.minimum(one, other) * n + np.maximum(one, other), -1)
    pairs, times = np.unique(code[code >= 0], return_counts=True)
    return np.stack(np.divmod(pairs[times > 1], n), axis=1)


def _together(
    found: dict[str, RowNumbers], Z: Matrix32, prints: Prints | None, searched: int
) -> Copies:
    n = len(Z)
    codes = {name: pairs[:, 0] * n + pairs[:, 1] for name, pairs in found.items()}
    every = np.unique(np.concatenate(list(codes.values())))
    pairs = np.stack(np.divmod(every, n), axis=1)
    cosine = np.einsum("ij,ij->i", Z[pairs[:, 0]], Z[pairs[:, 1]], dtype=np.float64)
    bits, correlation = np.full((2, len(pairs)), np.nan)
    if prints is not None:
        both = prints.readable[pairs].all(axis=1)
        differ = np.bitwise_count(prints.hashes[pairs[:, 0]] ^ prints.hashes[pairs[:, 1]])
        bits[both] = differ[both]
        if prints.small is not None:
            correlation[both] = aligned_correlation(prints.small, pairs[both])
    by = {name: np.isin(every, of) for name, of in codes.items()}
    return Copies(pairs, by, cosine, bits, correlation, searched)


def hash_bits(hashes: npt.NDArray[np.uint64]) -> Matrix32:
    """Bits of hashes as numbers, shape (n, 64)."""
    parts = hashes.astype(">u8").view(np.uint8).reshape(len(hashes), 8)
    return np.unpackbits(parts, axis=1).astype(np.float32)


def identical(*keys: npt.NDArray[np.str_]) -> RowNumbers:
    """Give images that share any non-empty key the same number, shape (n,)."""
    n = len(keys[0])
    ends = [np.zeros((0, 2), dtype=np.intp)]
    for key in keys:
        known = np.flatnonzero(key != "")
        _, first, code = np.unique(key[known], return_index=True, return_inverse=True)
        ends.append(np.stack([known, known[first][code]], axis=1))
    return components(n, np.concatenate(ends))


def components(n: int, pairs: RowNumbers) -> RowNumbers:
    """Give rows that are joined by pairs, in any number of steps, the same number."""
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)


def complete_groups(pairs: RowNumbers, closeness: Matrix) -> list[list[int]]:
    """Join rows into groups in which every two are a pair (complete linkage), largest first.

    A chain of pairs is no group: that each is like the next does not make the ends alike.

    Parameters
    ----------
    pairs : ndarray of int, shape (P, 2)
        Each pair once.
    closeness : ndarray, shape (P,)
        Closer pairs are joined first.

    References
    ----------
    Sørensen T. A method of establishing groups of equal amplitude in plant sociology based on
    similarity of species content. Biologiske Skrifter 1948;5:1-34.
    """
    group = {int(row): int(row) for row in np.unique(pairs)}
    members = {row: [row] for row in group}
    links: dict[int, dict[int, int]] = {row: {} for row in group}
    for place in np.argsort(-closeness, kind="stable"):
        a, b = group[int(pairs[place, 0])], group[int(pairs[place, 1])]
        if a == b:
            continue
        links[a][b] = links[b][a] = links[a].get(b, 0) + 1
        if links[a][b] < len(members[a]) * len(members[b]):
            continue
        for row in members[b]:
            group[row] = a
        members[a] += members.pop(b)
        for other, count in links.pop(b).items():
            links[other].pop(b)
            if other != a:
                links[a][other] = links[other][a] = links[a].get(other, 0) + count
    found = [sorted(of) for of in members.values() if len(of) > 1]
    return sorted(found, key=lambda of: (-len(of), of))
