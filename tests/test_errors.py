"""Every error that is raised on purpose comes back from another process as it went."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import cxrfeat
from cxrfeat import errors
from cxrfeat.errors import CxrfeatError, ImageError
from cxrfeat.images import read_image

EXAMPLES: dict[str, tuple[Any, ...]] = {
    "UnknownNameError": ("backbone", "vgg61", ["vgg16", "vgg19"], "see 'cxrfeat backbones'"),
    "SpecMismatchError": ("made in another way", ["pooling: max here, avg there"]),
    "MissingExtraError": ("reading Parquet tables", "parquet"),
    "TaskDiedError": ("knn on vgg16, fold 2,", 7),
    "ImageError": ("truncated", "ends after 12 of 40 rows"),
}
"""What makes an error whose constructor takes more than a message."""


def classes() -> list[type[CxrfeatError]]:
    """Every class of error, also those that are defined elsewhere than in `cxrfeat.errors`."""
    for module in pkgutil.walk_packages(cxrfeat.__path__, "cxrfeat."):
        importlib.import_module(module.name)
    found: list[type[CxrfeatError]] = [CxrfeatError]
    for kind in found:
        found += [each for each in kind.__subclasses__() if each not in found]
    return found


def example(kind: type[CxrfeatError]) -> CxrfeatError:
    own = "__init__" in vars(kind)
    return kind(*EXAMPLES[kind.__name__]) if own else kind("what is wrong: how to mend it")


def attributes(error: BaseException) -> dict[str, Any]:
    """What can be read from an error, those of `OSError` and `ImportError` among it."""
    names = [name for name in dir(error) if not name.startswith("__")]
    return {name: value for name in names if not callable(value := getattr(error, name, None))}


def by_pickle(protocol: int) -> Callable[[CxrfeatError], Any]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


WAYS = {
    **{
        f"pickle {protocol}": by_pickle(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("way", WAYS)
def test_an_error_survives(kind: type[CxrfeatError], way: str) -> None:
    error = example(kind)
    error.add_note("said on the way")
    back = WAYS[way](error)
    assert type(back) is kind
    assert back is not error
    assert str(back) == str(error) != ""
    assert back.args == error.args
    assert attributes(back) == attributes(error)
    assert back.__notes__ == ["said on the way"]


def test_all_errors_of_the_docstring_are_tried() -> None:
    named = {name for name in vars(errors) if name.endswith("Error")}
    assert named == {kind.__name__ for kind in classes()}
    assert all(name in (errors.__doc__ or "") for name in named)


def test_an_image_that_fails_in_a_worker_process_leaves_the_pool_working(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.touch()
    text.write_text("no pixels here")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for path in (empty, text):
            with pytest.raises(ImageError) as expected:
                read_image(path)
            with pytest.raises(ImageError) as caught:
                pool.submit(read_image, path).result()
            assert str(caught.value) == str(expected.value)
            assert caught.value.code == expected.value.code
