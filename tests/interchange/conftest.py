from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cxrfeat import interchange
from cxrfeat.interchange import Outside, Wanted

IDS = ["train/a/1.png", "train/b/2.png", "train/b/ü 3.png"]
X = np.array([[0.5, -1, 2, 3], [4, 5.25, 6, 7], [8, 9, 1e-3, 1 / 3]], dtype=np.float32)

Reading = Callable[..., Outside]


def reading(*paths: Path, **wanted: object) -> Outside:
    return interchange.read(list(paths), Wanted(**wanted))  # type: ignore[arg-type]


def hdf5(path: Path, **datasets: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    lines = ["image,f0,f1,f2,f3,age"]
    lines += [
        ",".join([id_, *map(repr, row.tolist()), "50"]) for id_, row in zip(IDS, X, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
