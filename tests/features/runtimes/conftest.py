"""Fixtures of the runtimes' tests."""

from pathlib import Path

import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CXRFEAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
