"""`cxrfeat.RadiographEmbedder`: a frozen network as the first step of a scikit-learn pipeline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from cxrfeat import defaults, images, store
from cxrfeat.arrays import Matrix32
from cxrfeat.commands.open_extractor import open_extractor
from cxrfeat.errors import InputError, LockedError, SpecMismatchError
from cxrfeat.inputs import Dataset
from cxrfeat.paths import PathLike
from cxrfeat.prediction.picture_extractor import PictureExtractor
from cxrfeat.spec import difference, fingerprint

_SHA256 = re.compile("[0-9a-f]{64}")


class RadiographEmbedder(TransformerMixin, BaseEstimator):
    """Turn radiographs into embeddings of a frozen network, inside a scikit-learn pipeline.

    Nothing is learned from the radiographs. The network is opened by `fit`, which no copy repeats:
    a clone is made of the parameters alone.

    Parameters
    ----------
    backbone : str
        See `cxrfeat.backbones`.
    weights : str, sequence of str or None
        As for `cxrfeat.extract`; None for the pinned ones.
    pool, image_size, precision, device, runtime, modality, bits
        As for `cxrfeat.extract`.
    cache : path, optional
        An embedding file that rows are taken from, by the sha256 of the radiograph, and kept in;
        made where it is missing, refused where it was made in another way. One that `extract` made
        is read and never changed. Without a cache every call computes anew, which cross-validation
        does for every fold.

    Attributes
    ----------
    extractor_ : PictureExtractor
    n_features_out_ : int
        Length D of an embedding.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import cxrfeat
    >>> embedder = cxrfeat.RadiographEmbedder("vgg16", cache="vgg16.h5")  # doctest: +SKIP
    >>> make_pipeline(embedder, StandardScaler(), LogisticRegression())  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: str = defaults.BACKBONES[0],
        *,
        weights: str | Sequence[str] | None = None,
        pool: str = defaults.POOL,
        image_size: int | None = None,
        precision: str = defaults.PRECISION,
        device: str = defaults.DEVICE,
        runtime: str = defaults.RUNTIME,
        modality: str | Sequence[str] = defaults.MODALITIES,
        bits: int | None = None,
        cache: PathLike | None = None,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.pool = pool
        self.image_size = image_size
        self.precision = precision
        self.device = device
        self.runtime = runtime
        self.modality = modality
        self.bits = bits
        self.cache = cache

    def fit(self, X: Any, y: Any = None) -> Self:
        """Open the network.

        Parameters
        ----------
        X : sequence of paths, arrays or pictures of Pillow
            Not looked at, but for what they are.
        y : ignored

        Raises
        ------
        InputError, WeightsError, UnknownNameError
            As `cxrfeat.open_extractor`.
        """
        if not _radiographs(X):
            raise InputError("no radiographs (0 samples): give at least one")
        self.extractor_ = self._open()
        self.n_features_out_ = self.extractor_.dimension
        return self

    def _open(self) -> PictureExtractor:
        return open_extractor(
            self.backbone,
            weights=() if self.weights is None else self.weights,
            pool=self.pool,
            image_size=self.image_size,
            precision=self.precision,
            device=self.device,
            runtime=self.runtime,
            modality=self.modality,
            bits=self.bits,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network out: where it is needed again, it is opened again."""
        state = dict(super().__getstate__())
        state.pop("extractor_", None)
        return state

    def transform(self, X: Any) -> Matrix32:
        """Embed radiographs.

        Parameters
        ----------
        X : sequence of paths, arrays or pictures of Pillow, of length n
            As `PictureExtractor` takes them; a column of a data frame as well.

        Returns
        -------
        ndarray of float32, shape (n, D)

        Raises
        ------
        ImageError
            One that cannot be read.
        SpecMismatchError
            A cache that was made in another way.
        """
        check_is_fitted(self)
        given = _radiographs(X)
        if "extractor_" not in vars(self):  # it was copied or loaded
            self.extractor_ = self._open()
        if self.cache is None:
            return self.extractor_(given)
        return _Cache(Path(self.cache), self.extractor_).rows(given)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Name the columns: the backbone and a number, as in ``vgg16_0``."""
        check_is_fitted(self)
        names = [f"{self.backbone}_{number}" for number in range(self.n_features_out_)]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        """Say what it takes: paths, alone or as the column of a table, and stacks of pictures."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.three_d_array = True
        tags.requires_fit = True
        return tags


class _Cache:
    """Rows in an embedding file, found by the sha256 of the radiograph."""

    def __init__(self, path: Path, extractor: PictureExtractor) -> None:
        self._path = path
        self._extractor = extractor

    def rows(self, given: Sequence[Any]) -> Matrix32:
        wanted = self._extractor.sha256(given)
        known = self._known()
        missing = {
            sha256: one for sha256, one in zip(wanted, given, strict=True) if sha256 not in known
        }
        if missing:
            computed = self._extractor(list(missing.values()))
            known |= dict(zip(missing, computed, strict=True))
            self._keep(list(missing), computed)
        return np.stack([known[one] for one in wanted])

    def _known(self) -> dict[str, Matrix32]:
        if not self._path.exists():
            return {}
        with store.load(self._path) as file:
            if file.fingerprint != fingerprint(self._extractor.spec):
                raise SpecMismatchError(
                    f"{self._path} was made in another way than this embedder makes rows ('there'):"
                    " give another cache, or the same options",
                    difference(file.spec, self._extractor.spec),
                )
            done = file.status == store.DONE
            ids = [id_ for id_, is_done in zip(file.ids, done, strict=True) if is_done]
            sha256 = [one for one, is_done in zip(file.sha256, done, strict=True) if is_done]
            return dict(zip(sha256, file.numpy(ids), strict=True))

    def _keep(self, sha256: Sequence[str], rows: Matrix32) -> None:
        """Add rows under their sha256, to a file of such rows; one of `extract` stays as it is.

        Where another process writes, nothing is kept.
        """
        try:
            with store.FileLock(self._path) as lock:
                there = self._ids()
                if there is None:
                    return
                ids = [*there, *sha256]
                writer = store.open_writer(
                    self._path,
                    spec=self._extractor.spec,
                    dataset=Dataset(list(dict.fromkeys(ids)), []),
                    dimension=self._extractor.dimension,
                    environment=self._extractor.environment,
                    lock=lock,
                )
                row_of = dict(zip(sha256, rows, strict=True))
                with writer:
                    # Another process may have kept some of them in the meantime.
                    new = [one for one in writer.pending if one in row_of]
                    if new:
                        writer.write(new, np.stack([row_of[one] for one in new]), new)
                    writer.commit()
        except LockedError:
            return

    def _ids(self) -> list[str] | None:
        """Return the ids of the file; None where they are not those of a cache."""
        if not self._path.exists():
            return []
        with store.load(self._path) as file:
            # A row whose filling was broken off has no sha256 yet.
            named = zip(file.ids, file.sha256, strict=True)
            is_cache = all(_SHA256.fullmatch(id_) and sha256 in (id_, "") for id_, sha256 in named)
            return list(file.ids) if is_cache else None


def _radiographs(X: Any) -> list[Any]:
    """Return radiographs as a list; a column of a data frame is one of paths.

    Raises
    ------
    InputError
        A table of numbers, or one radiograph that is not in a list.
    """
    values = X.to_numpy() if hasattr(X, "to_numpy") else X
    if hasattr(values, "tocsr"):
        raise InputError("sparse input is not supported: give paths, arrays or pictures of Pillow")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OUS" and values.ndim < 3:
        if values.dtype.kind == "c":
            raise InputError("Complex data not supported: radiographs are grey values")
        raise InputError(
            f"a table of numbers of shape {values.shape} is no radiographs: give a list of paths or"
            " pictures, or an array of shape (N, H, W)"
        )
    if isinstance(values, str | Path):
        raise InputError(f"one radiograph alone ('{values}'): give a list of them")
    if isinstance(values, np.ndarray) and values.dtype.kind in "OUS":
        values = values.ravel().tolist()
    return images.pictures_in(values)
