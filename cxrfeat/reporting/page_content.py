"""What the page of a run shows, put together from the run's folder and the embedding files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrfeat import store
from cxrfeat.arrays import Matrix32
from cxrfeat.errors import CxrfeatError
from cxrfeat.evaluation.heads.registry import FLOOR
from cxrfeat.evaluation.outcome.image_difficulty import (
    Answers,
    answers,
    confidently_wrong,
    hardest,
    label_names,
)
from cxrfeat.evaluation.outcome.principal_plane import principal_plane, sampled
from cxrfeat.evaluation.outcome.saved_run import SavedRun
from cxrfeat.evaluation.statistics.curve_bands import Band, precision_recall_band, roc_band
from cxrfeat.evaluation.statistics.patient_bootstrap import PatientResamples
from cxrfeat.pages import Content, Curve, Difficult, Picture, Plane
from cxrfeat.reporting.audit_file import audit_of
from cxrfeat.reporting.command_line import command_line
from cxrfeat.reporting.thumbnails import OUTSIDE, Radiographs, find_folders
from cxrfeat.version import __version__

DRAWS = 500
"""Of patients, behind the bands."""


MAP_IMAGES = 3000
"""Points on the map: more cannot be told apart, and weigh down the page.

Images of the galleries are shown in any case."""


GALLERY = 12
"""Images in each gallery."""


def content_of(
    folder: Path, saved: SavedRun, images: list[Path] | None
) -> tuple[Content, Radiographs]:
    """Put together what the page of a run shows.

    Parameters
    ----------
    folder, saved
        The run, and what was read from it.
    images
        Folders of the radiographs; looked for where None.

    Returns
    -------
    Content
        Without thumbnails: what else is on the page decides how many there is room for.
    Radiographs
        What they are to be made of.
    """
    results = saved.results
    said = {
        entry["extractor"]: answers(saved, entry["extractor"], entry["head"])
        for entry in results["reports"]
    }
    patients = None if saved.patients is None else saved.patients.astype(np.str_)
    resamples = PatientResamples(
        len(saved.ids), patients, resamples=DRAWS, seed=results["options"]["seed"]
    )
    winner = results["winner"]
    of_winner = answers(saved, winner["extractor"], winner["head"])
    trusted = [
        said[entry["extractor"]].agreement
        for entry in results["reports"]
        if not entry["control"] and entry["head"] != FLOOR
    ]
    hard = hardest(trusted or [of_winner.agreement], GALLERY)
    # Of one extractor the hardest images are those that it got most confidently wrong.
    sure = confidently_wrong(of_winner, GALLERY) if len(trusted) > 1 else []
    labels = label_names(saved, saved.truth == 1, np.asarray(np.isfinite(saved.truth).any(axis=1)))
    files, notes = _open_embeddings(folder, results)
    try:
        shown = _shown_rows(labels, of_winner, [*hard, *sure])
        column, sources = _sources(files, saved)
        number = {row: place for place, row in enumerate(shown)}
        radiographs = _radiographs(saved, files, [*hard, *sure], number, images)
        planes = _planes(saved, files, said, shown)
    finally:
        for file in files.values():
            file.close()
    if len(shown) < len(saved.ids):
        notes.append(
            f"the map shows {len(shown):,} of {len(saved.ids):,} images, drawn at random in their"
            " true shares by class, right and wrong"
        )
    drawn = [
        f"{plane.computed_from:,} for {plane.extractor}"
        for plane in planes
        if plane.computed_from is not None
    ]
    if drawn:
        notes.append(
            f"the directions of maps are those of images drawn at random: {', '.join(drawn)}"
        )
    content = Content(
        results=results,
        title=Path(results["run"]).name,
        version=__version__,
        roc=_curves(saved, resamples, roc_band, "auroc", floor=False),
        precision_recall=_curves(saved, resamples, precision_recall_band, "auprc", floor=True),
        draws=DRAWS,
        pictures=[
            Picture(saved.ids[row], labels[row] or "not tested", sources[row]) for row in shown
        ],
        source=column,
        planes=planes,
        hardest=_difficult(hard, of_winner, number),
        confidently_wrong=_difficult(sure, of_winner, number),
        command=command_line(results),
        notes=notes,
        audit=audit_of(folder),
    )
    return content, radiographs


def _difficult(rows: list[int], said: Answers, number: dict[int, int]) -> list[Difficult]:
    """Images of a gallery, by their number on the page, with what the winner said of each."""
    return [Difficult(number[row], float(said.agreement[row]), said.predicted[row]) for row in rows]


def _open_embeddings(
    folder: Path, results: dict[str, Any]
) -> tuple[dict[str, store.Embeddings], list[str]]:
    """Open the embedding files of a run that are still there and still the same."""
    found, notes = {}, []
    inside = [entry["name"] for entry in results["embeddings"] if not entry["outside"]]
    for entry in results["embeddings"]:
        # A single extractor's outside file may have another name.
        name = entry["name"] if entry["name"] in inside else inside[0]
        key = name + (" (outside)" if entry["outside"] else "")
        try:
            file = store.load(folder / entry["path"])
        except CxrfeatError:
            notes.append(f"the embedding file of {key} is gone or damaged: it has no map here")
            continue
        if file.fingerprint != entry["fingerprint"]:
            file.close()
            notes.append(f"the embedding file of {key} was made anew in another way: no map here")
            continue
        found[key] = file
    return found, notes


def _radiographs(
    saved: SavedRun,
    files: dict[str, store.Embeddings],
    first: list[int],
    number: dict[int, int],
    images: list[Path] | None,
) -> Radiographs:
    """Say whose thumbnails are wanted, those of the galleries first, the others as drawn."""
    drawn = np.random.default_rng(0).permutation(list(number)).tolist()
    order = {row: number[row] for row in dict.fromkeys([*first, *drawn])}
    known: dict[str, str] = {}
    for file in reversed(files.values()):
        said = zip(file.ids, file.sha256, strict=True)
        known |= {id_: digest for id_, digest in said if digest or id_ not in known}
    return Radiographs(
        saved.ids,
        order,
        images or find_folders(saved.ids, [file.path for file in files.values()]),
        known,
        frame=_stated(saved.results, "frame"),
        bits=_stated(saved.results, "bits"),
    )


def _stated(results: dict[str, Any], name: str) -> int | None:
    """Return what a spec says of reading images: the frame of DICOM files, or bits."""
    values = (entry["spec"].get("image", {}).get(name) for entry in results["embeddings"])
    return next((int(value) for value in values if value is not None), None)


def _shown_rows(labels: list[str], of_winner: Answers, first: list[int]) -> list[int]:
    """Rows whose images are on the page: a sample in which every stratum has its true share.

    A stratum is a class, and whether the winner got it right, wrong, or was not asked. Those of the
    galleries come first within theirs.
    """
    n = len(labels)
    if n <= MAP_IMAGES:
        return list(range(n))
    strata: dict[tuple[str, bool, bool], list[int]] = defaultdict(list)
    drawn = np.random.default_rng(0).permutation(n).tolist()
    for row in dict.fromkeys([*first, *drawn]):
        tested = bool(of_winner.predicted[row])
        strata[labels[row], tested, bool(of_winner.wrong[row])].append(row)
    exact = [len(rows) * MAP_IMAGES / n for rows in strata.values()]
    quota = [int(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda k: quota[k] - exact[k])
    for k in by_rest[: MAP_IMAGES - sum(quota)]:
        quota[k] += 1
    wanted = set(first)
    sample = [
        rows[: max(count, len(wanted.intersection(rows)))]
        for rows, count in zip(strata.values(), quota, strict=True)
    ]
    return sorted(row for rows in sample for row in rows)


def _sources(files: dict[str, store.Embeddings], saved: SavedRun) -> tuple[str, list[str]]:
    """Where each image comes from: the column ``source``, else the ``split``."""
    for column in ("source", "split"):
        of_id: dict[str, str] = {}
        for key, file in files.items():
            if column in file.meta:
                before = "test:" if key.endswith(" (outside)") else ""
                of_id |= {
                    before + id_: str(value)
                    for id_, value in zip(file.ids, file.meta[column], strict=True)
                }
        values = [of_id.get(id_, "") for id_ in saved.ids]
        if len(set(values)) > 1:
            return column, values
    return "", [""] * len(saved.ids)


def _planes(
    saved: SavedRun,
    files: dict[str, store.Embeddings],
    said: dict[str, Answers],
    shown: list[int],
) -> list[Plane]:
    """Map the embeddings of every extractor whose files are there, the winner's first."""
    planes = []
    best = saved.results["winner"]["extractor"]
    for entry in sorted(saved.results["reports"], key=lambda entry: entry["extractor"] != best):
        name = entry["extractor"]
        deciding = sampled(
            len(saved.ids), _dimension(name, files), saved.results["options"]["seed"]
        )
        X = _embeddings_of(name, files, [saved.ids[row] for row in deciding.tolist()])
        seen = _embeddings_of(name, files, [saved.ids[row] for row in shown])
        if X is None or seen is None:
            continue
        of = said[name]
        plane, shares = principal_plane(X, seen, saved.results["options"]["seed"])
        agreement = [of.agreement[row] for row in shown]
        planes.append(
            Plane(
                extractor=name,
                head=entry["head"],
                control=entry["control"],
                shares=shares,
                pictures=list(range(len(shown))),
                x=plane[:, 0].tolist(),
                y=plane[:, 1].tolist(),
                predicted=[of.predicted[row] for row in shown],
                wrong=[bool(of.wrong[row]) for row in shown],
                agreement=[float(one) if np.isfinite(one) else None for one in agreement],
                computed_from=len(deciding) if len(deciding) < len(saved.ids) else None,
            )
        )
    return planes


def _dimension(extractor: str, files: dict[str, store.Embeddings]) -> int:
    """Count the numbers of an embedding, as far as the files are there."""
    found = (files.get(name) or files.get(f"{name} (outside)") for name in extractor.split("+"))
    return sum(file.dimension for file in found if file is not None)


def _embeddings_of(
    extractor: str, files: dict[str, store.Embeddings], ids: Sequence[str]
) -> Matrix32 | None:
    """Read one extractor's embeddings of images, also of several side by side."""
    blocks = []
    for name in extractor.split("+"):
        inside = [id_ for id_ in ids if not id_.startswith(OUTSIDE)]
        outside = [id_.removeprefix(OUTSIDE) for id_ in ids if id_.startswith(OUTSIDE)]
        parts = []
        for key, wanted in ((name, inside), (f"{name} (outside)", outside)):
            if not wanted:
                continue
            file = files.get(key)
            if file is None or not set(wanted) <= set(file.ids):
                return None
            try:
                parts.append(file.numpy(wanted))
            except CxrfeatError:
                return None
        blocks.append(np.concatenate(parts))
    return np.concatenate(blocks, axis=1)


BandOf = Callable[..., Band | None]


def _curves(
    saved: SavedRun, resamples: PatientResamples, band_of: BandOf, area: str, *, floor: bool
) -> list[Curve]:
    curves = []
    for k, name in enumerate(saved.results["classes"]):
        for entry in saved.results["reports"]:
            scores = [p[:, k] for p in saved.probabilities[entry["extractor"], entry["head"]]]
            band = band_of(saved.truth[:, k], saved.folds, scores, resamples)
            if band is None:
                continue
            of_class = entry["classes"][k]
            curves.append(
                Curve(
                    extractor=entry["extractor"],
                    head=entry["head"],
                    control=entry["control"],
                    name=name,
                    area=of_class[area],
                    floor=of_class["prevalence"] if floor else None,
                    x=band.x.tolist(),
                    y=band.y.tolist(),
                    low=band.low.tolist(),
                    high=band.high.tolist(),
                )
            )
    return curves
