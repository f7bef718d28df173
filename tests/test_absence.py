"""What is to be missing is, for as long as it is to be."""

import sys

import pytest

from cxrfeat.absence import missing


def test_a_module_is_missing_in_the_block_and_there_after_it() -> None:
    sys.modules.pop("this", None)  # a module of Python that nobody has use for
    with missing("this"), pytest.raises(ModuleNotFoundError):
        import this  # noqa: F401
    assert "this" not in sys.modules


def test_what_somebody_has_imported_before_stays() -> None:
    with missing("json"):
        import json
    assert sys.modules["json"] is json


def test_it_is_there_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), missing("this"):
        raise ZeroDivisionError
    assert "this" not in sys.modules
