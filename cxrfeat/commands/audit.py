"""`cxrfeat audit`: whether the score comes from the lungs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cxrfeat import defaults
from cxrfeat.auditing.audit import audit_study
from cxrfeat.auditing.audit_folder import write_audit
from cxrfeat.auditing.opening import open_audited
from cxrfeat.auditing.steps import AuditProgress
from cxrfeat.errors import InputError
from cxrfeat.paths import PathLike, several
from cxrfeat.reporting.audited_run import mention_audit
from cxrfeat.reporting.run_files import as_written
from cxrfeat.reporting.run_folder import new_run
from cxrfeat.results.audit import Audit


def audit(
    embeddings: PathLike | Sequence[PathLike] | None = None,
    *,
    images: PathLike | Sequence[PathLike] | None = None,
    run: PathLike | None = None,
    source: str | None = None,
    attribute: str | Sequence[str] | None = None,
    collection: str | Sequence[str] | None = None,
    head: str | None = None,
    metric: str | None = None,
    quick: bool = False,
    weights: str | Sequence[str] = (),
    out: PathLike | None = None,
    device: str = defaults.DEVICE,
    seed: int = defaults.SEED,
    jobs: int | None = None,
    progress: Callable[[AuditProgress], None] | None = None,
) -> Audit:
    """Ask whether a score comes from the lungs: controls, duplicates, attributes, labels ...

    Each question gets a verdict, "found", "not found" or "could not be tested", with its figure,
    its interval, and what it could have seen. Candidates are listed and shown; nothing is deleted
    or changed.

    Parameters
    ----------
    embeddings
        Embedding files, or folders of them; those of `run`, or ``embeddings``, when left out.
    images
        Folders of the radiographs, archives, or a table, as for `extract`; looked for when left
        out.
    run
        The folder of a run: its folds, head, metric, labels and winner are taken, and its page,
        checklist and model card mention the audit.
    source
        The column of sources; ``source`` when left out, where there is one.
    attribute
        Columns to ask about; all but patient and split when left out. What files say of
        themselves, such as their size, is asked about in any case.
    collection
        Public collections that the images are of, e.g. ``"NIH ChestX-ray14"``: weights that were
        trained on them are a leak.
    head
        By which everything is scored; that of `run`, or ``logreg``, when left out.
    metric
        That of `run`, or ``auroc``, when left out.
    quick
        Extract nothing anew: no masked pictures and no planted copies.
    weights
        Where to find the weights of the extractors, as for `extract`.
    out
        Folder for the results; ``audit`` in `run`, or here, when left out.
    device
        For extracting: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    seed
        Of folds, heads, resamples, permutations, and of what is planted.
    jobs
        Tasks worked on at a time; one per core when left out.
    progress
        Called with an `AuditProgress` at the beginning of each step, and within it.

    Returns
    -------
    Audit

    Raises
    ------
    InputError
        No labels, images that are not there, a run of other embeddings, a folder that is not
        empty, an unknown head, metric or column.
    FileFormatError
        A file that is damaged or not ours.
    LockedError
        Another process writes the same folder.
    StorageError
        The place cannot be written.

    Examples
    --------
    >>> import cxrfeat
    >>> found = cxrfeat.audit(images="images", run="runs/fit-001")  # doctest: +SKIP
    >>> found.headline  # doctest: +SKIP
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least 1 is needed; leave it out for one per core")
    audited_run = None if run is None else Path(run)
    if audited_run is not None and not audited_run.is_dir():
        raise InputError(f"no run in {audited_run}: give the folder that cxrfeat fit wrote")
    place = Path(out) if out is not None else (audited_run or Path()) / defaults.AUDIT
    folder = new_run(place)
    try:
        audited = open_audited(
            embeddings, images, run=audited_run, source=source, attributes=several(attribute),
            collections=several(collection),
            head=head, metric=metric, seed=seed, jobs=jobs, weights=several(weights), device=device,
            quick=quick, mapped=folder.mapped,
        )  # fmt: skip
        options = as_written(
            embeddings=[file.as_posix() for file in audited.files],
            images=audited.images,
            run=audited_run, source=audited.source,
            attribute=audited.attributes if several(attribute) else [],
            collection=audited.collections,
            head=audited.subject.head.name, metric=audited.subject.metric.name, quick=quick,
            weights=several(weights), device=device, seed=seed,
        )  # fmt: skip
        found = audit_study(audited, options=options, run=str(audited_run or ""), progress=progress)
        page = None if audited_run is None else audited_run / "report.html"
        found = write_audit(folder, found, audited, page)
        folder.finish()
    except BaseException:
        folder.leave()
        raise
    if audited_run is None:
        return found
    said = mention_audit(audited_run, place, audited.folders)
    return replace(found, notes=[*found.notes, *said])
