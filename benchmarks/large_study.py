"""A study of the size of NIH ChestX-ray14 whose embeddings are SIMULATED, and whose truth is known.

112,120 images of 30,805 patients, 14 findings as frequent as there, three extractors: what `fit`
costs at that size depends on the shape of the data, and no network need run for days to measure
it. No number in these files comes from a radiograph, and the files say so (`spec`: backbone
"simulated").

    python benchmarks/large_study.py --images 112120 --folder /some/disk   # 1.5 GB, ten seconds

How they are made:

- **Patients.** Images per patient have a heavy tail: most patients have one or two, a few more than
  a hundred. The images of a patient stand together.
- **Findings.** Each has a severity per image: half of its variance belongs to the patient, the rest
  to the image, and in both parts a third is common to all findings, so that they occur together.
  The images of the highest severity have the finding, as many as its prevalence says.
- **Causes.** An image has 64 causes that have nothing to do with findings, half of each the
  patient's own, and one cause per finding, which is normal with a mean that the finding raises by
  d = sqrt(2) Phi^-1(AUROC): by this cause alone, findings are told with 0.70 to 0.92 (`FINDINGS`).
- **Features.** What an extractor sees is a blurred copy of the causes (`BLUR`, less in the last
  one), mixed into its D features, with noise, rectified, on scales that differ by channel. 78
  directions carry most of the variance, however large D is. Ridge regression on 112,120 images
  tells findings of other patients with AUROCs of 0.64 to 0.89.

Rows are drawn in blocks of 4,096, each from a generator of its own (seed, block), so that memory
does not grow with the number of images and equal arguments give equal files.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from scipy.special import ndtri

from cxrfeat.arrays import Matrix32, Vector
from cxrfeat.inputs import Dataset
from cxrfeat.store import open_writer

NIH_IMAGES, NIH_PATIENTS = 112_120, 30_805
FINDINGS = {
    "Infiltration": (0.177, 0.70),
    "Effusion": (0.119, 0.87),
    "Atelectasis": (0.103, 0.78),
    "Nodule": (0.056, 0.73),
    "Mass": (0.052, 0.80),
    "Pneumothorax": (0.047, 0.89),
    "Consolidation": (0.042, 0.77),
    "Pleural_Thickening": (0.030, 0.75),
    "Cardiomegaly": (0.025, 0.90),
    "Emphysema": (0.022, 0.85),
    "Edema": (0.021, 0.84),
    "Fibrosis": (0.015, 0.82),
    "Pneumonia": (0.013, 0.72),
    "Hernia": (0.002, 0.92),
}
"""Share of the images with each finding, as in NIH ChestX-ray14, and the AUROC of its cause."""
BLUR = (0.5, 0.4, 0.3)
"""Standard deviation of what an extractor adds to each cause; beyond the third, the last."""
FEWEST = 20
"""Images that have a finding at the least, however few images there are: five folds need them."""
CAUSES = 64
BLOCK = 4096
OF_PATIENT, IN_COMMON = 0.5, 1 / 3


@dataclass(frozen=True)
class Images:
    """Which images there are: the same for every extractor.

    Attributes
    ----------
    ids : list of str, length N
    patients : ndarray of int, shape (N,)
        From 0, counting up.
    meta : dict of str to ndarray of str, shape (N,)
        ``group`` (the patient), ``view``, ``sex``, ``age``.
    labels : ndarray of float32, shape (N, L)
    """

    ids: list[str]
    patients: np.ndarray
    meta: dict[str, np.ndarray]
    labels: Matrix32


def simulated_collection(
    images: int = NIH_IMAGES,
    dimensions: Sequence[int] = (512, 512, 2048),
    labels: int = len(FINDINGS),
    seed: int = 0,
    folder: Path = Path("embeddings"),
) -> list[Path]:
    """Write one embedding file of format 1 for each extractor.

    Parameters
    ----------
    images
        N; at least ``2 * FEWEST``.
    dimensions
        D of each extractor. Files are called ``simulated1-512.h5`` and so on.
    labels
        L, the first of the findings of `FINDINGS`, from 1 to 14.
    seed
        Equal arguments give equal rows.
    folder
        Made where it is missing; files of the same names are replaced.

    Returns
    -------
    list of Path
    """
    made = simulated_images(images, labels, seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, dimension in enumerate(dimensions):
        paths.append(folder / f"simulated{number + 1}-{dimension}.h5")
        _write(paths[-1], made, number, dimension, seed)
    return paths


def simulated_images(images: int, labels: int = len(FINDINGS), seed: int = 0) -> Images:
    """Draw patients and findings; see the module's text for how."""
    if images < 2 * FEWEST or not 1 <= labels <= len(FINDINGS):
        raise SystemExit(f"at least {2 * FEWEST} images and 1 to {len(FINDINGS)} labels are needed")
    random = np.random.default_rng([seed, 0])
    patients = _patients(images, random)
    people = int(patients[-1]) + 1
    starts = np.searchsorted(patients, np.arange(people))
    visit = np.arange(images) - starts[patients]
    ids = [f"{who + 1:08d}_{which:03d}.png" for who, which in zip(patients, visit, strict=True)]
    ages = random.integers(18, 85, people)[patients] + visit // 4
    meta = {
        "group": np.char.mod("%d", patients + 1),
        "view": np.where(random.random(images) < 0.6, "PA", "AP"),
        "sex": np.where(random.random(people) < 0.435, "F", "M")[patients],
        "age": np.char.mod("%d", ages),
    }
    return Images(ids, patients, meta, _findings(patients, labels, random))


def _patients(images: int, random: Generator) -> np.ndarray:
    """One image for each patient, the others by shares with a heavy tail."""
    people = max(1, round(images * NIH_PATIENTS / NIH_IMAGES))
    shares = random.lognormal(sigma=1.6, size=people)
    shares /= shares.sum()
    return np.repeat(np.arange(people), 1 + random.multinomial(images - people, shares))


def _findings(patients: np.ndarray, labels: int, random: Generator) -> Matrix32:
    people, images = int(patients[-1]) + 1, len(patients)
    severity = np.sqrt(OF_PATIENT) * _related(people, labels, random)[patients]
    severity += np.sqrt(1 - OF_PATIENT) * _related(images, labels, random)
    found = np.zeros((images, labels), dtype=np.float32)
    for label, (share, _) in enumerate(list(FINDINGS.values())[:labels]):
        many = max(FEWEST, round(share * images))
        found[np.argpartition(severity[:, label], -many)[-many:], label] = 1
    return found


def _related(rows: int, labels: int, random: Generator) -> np.ndarray:
    """Draw normal variables of variance 1 that correlate by `IN_COMMON`."""
    common = random.normal(size=(rows, 1))
    return np.sqrt(IN_COMMON) * common + np.sqrt(1 - IN_COMMON) * random.normal(size=(rows, labels))


class _Eye:
    """What one extractor makes of causes."""

    def __init__(self, number: int, dimension: int, labels: int, seed: int) -> None:
        random = np.random.default_rng([seed, 1, number])
        self.blur = np.float32(BLUR[min(number, len(BLUR) - 1)])
        # A few causes take most of the variance, and those of findings are not among them.
        strength = np.append(2 / np.sqrt(1 + np.arange(CAUSES)), np.full(labels, 0.8))
        mixing = random.normal(size=(CAUSES + labels, dimension)) * strength[:, None]
        self.mixing = (mixing / np.sqrt(strength @ strength)).astype(np.float32)
        self.offset = random.normal(scale=0.3, size=dimension).astype(np.float32)
        self.scale = random.lognormal(mean=-0.5, sigma=0.7, size=dimension).astype(np.float32)

    def features(self, causes: Matrix32, random: Generator) -> Matrix32:
        """Embeddings, shape (rows, D), of causes, shape (rows, 64 + L)."""
        seen = causes + self.blur * random.standard_normal(causes.shape, np.float32)
        mixed = seen @ self.mixing
        mixed += np.float32(0.4) * random.standard_normal(mixed.shape, np.float32)
        mixed += self.offset
        np.maximum(mixed, 0, out=mixed)
        mixed *= self.scale
        return mixed


def _causes(images: Images, rows: slice, own: Matrix32, raised: Vector, seed: int) -> Matrix32:
    """Draw what there is to see in some images, the same for every extractor."""
    random = np.random.default_rng([seed, 2, rows.start])
    found = images.labels[rows]
    causes = random.standard_normal((len(found), CAUSES + found.shape[1]), np.float32)
    causes[:, :CAUSES] *= np.float32(np.sqrt(1 - OF_PATIENT))
    causes[:, :CAUSES] += np.float32(np.sqrt(OF_PATIENT)) * own[images.patients[rows]]
    causes[:, CAUSES:] += found * raised.astype(np.float32)
    return causes


def _write(path: Path, images: Images, number: int, dimension: int, seed: int) -> None:
    labels = images.labels.shape[1]
    people = int(images.patients[-1]) + 1
    own = np.random.default_rng([seed, 3]).standard_normal((people, CAUSES), np.float32)
    raised = np.sqrt(2) * ndtri([auroc for _, auroc in FINDINGS.values()][:labels])
    eye = _Eye(number, dimension, labels, seed)
    digests = [hashlib.sha256(f"simulated {seed} {id_}".encode()).hexdigest() for id_ in images.ids]
    dataset = Dataset(
        ids=images.ids,
        paths=[],
        classes=list(FINDINGS)[:labels],
        labels=images.labels,
        kind="multilabel",
        meta=images.meta,
    )
    spec = {
        "backbone": "simulated",
        "layer": "none",
        "pooling": "none",
        "weights": {"name": f"simulated, seed {seed}, extractor {number + 1}"},
    }
    path.unlink(missing_ok=True)
    with open_writer(path, spec=spec, dataset=dataset, dimension=dimension) as writer:
        for start in range(0, len(images.ids), BLOCK):
            rows = slice(start, min(start + BLOCK, len(images.ids)))
            random = np.random.default_rng([seed, 4, number, start])
            X = eye.features(_causes(images, rows, own, raised, seed), random)
            failed = writer.write(images.ids[rows], X, digests[rows])
            assert not failed


def main() -> None:
    """Write the files, and say what that cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=NIH_IMAGES)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[512, 512, 2048])
    parser.add_argument("--labels", type=int, default=len(FINDINGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    started = time.perf_counter()
    paths = simulated_collection(**vars(options))
    for path in paths:
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.perf_counter() - started:.1f} s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
