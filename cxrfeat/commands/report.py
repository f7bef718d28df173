"""`cxrfeat report`: one self-contained page about a run, and its figures."""

from __future__ import annotations

from collections.abc import Sequence

from cxrfeat.paths import PathLike
from cxrfeat.reporting.run_page import ReportResult, write_page


def report(
    run: PathLike,
    *,
    out: PathLike | None = None,
    images: PathLike | Sequence[PathLike] | None = None,
    no_images: bool = False,
    hash_ids: bool = False,
) -> ReportResult:
    """Write one self-contained HTML page about a run, and its charts as SVG and PNG.

    Parameters
    ----------
    run
        The folder that `fit` wrote.
    out
        The page; ``report.html`` in the run's folder when left out. Figures go into ``figures``
        beside it.
    images
        Folders of the radiographs, for thumbnails. When left out they are looked for in the
        current folder, beside the embedding files, and one folder below these. A thumbnail is
        only made of a file with the sha256 that was extracted.
    no_images
        Leave the thumbnails out.
    hash_ids
        For a page that leaves the house: no image ids, paths, names of sources, and no
        thumbnails unless `images` is given. What stands for which id goes into ``NAME-ids.csv``
        beside the page.

    Returns
    -------
    ReportResult

    Raises
    ------
    InputError, FileFormatError
        Not the folder of a run, or a damaged one.
    MissingExtraError
        Without the extra ``report``.
    StorageError
        The place cannot be written.

    Examples
    --------
    >>> import cxrfeat
    >>> cxrfeat.report("runs/fit-001").page  # doctest: +SKIP
    PosixPath('runs/fit-001/report.html')
    """
    return write_page(run, out=out, images=images, no_images=no_images, hash_ids=hash_ids)
