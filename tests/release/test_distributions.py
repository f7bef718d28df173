"""A wheel and an sdist hold what the package needs, and the wheel works by itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import cxrfeat
from tests.scripts import ROOT, load

if not (ROOT / ".git").exists():
    pytest.skip("what belongs into a release is what git keeps", allow_module_level=True)

check = load("packaging/check_distributions.py")


def build(folder: Path, out: Path, *targets: str) -> None:
    """Build as `python -m build --no-isolation` does, without network."""
    words = [word for target in targets for word in ("-t", target)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(out), *words],
        cwd=folder, check=True, capture_output=True, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of this checkout, and the wheel that is made of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "sdist")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    build(folder / "unpacked" / f"cxrfeat-{cxrfeat.__version__}", folder, "wheel")
    shutil.rmtree(folder / "unpacked")
    return folder


@pytest.fixture
def unpacked(dist: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def test_wheel_and_sdist_hold_what_is_kept_and_nothing_else(dist: Path) -> None:
    kept = check.kept_files(new=True)
    assert "cxrfeat/pages/page.html" in kept
    assert check.faults_of_wheel(next(dist.glob("*.whl")), kept) == []
    assert check.faults_of_sdist(next(dist.glob("*.tar.gz")), kept) == []


def test_a_folder_with_another_release_is_refused(dist: Path, tmp_path: Path, capsys) -> None:
    for path in (*dist.iterdir(), tmp_path / "cxrfeat-0.0.1.tar.gz"):
        (tmp_path / path.name).touch()
    assert check.main(tmp_path) == 1
    assert "holds cxrfeat-0.0.1.tar.gz, " in capsys.readouterr().out


def test_a_file_that_is_missing_or_too_much_is_named(dist: Path) -> None:
    wheel = next(dist.glob("*.whl"))
    kept = check.kept_files(new=True)
    assert check.faults_of_wheel(wheel, kept | {"cxrfeat/pages/new.html"}) == [
        "the wheel lacks cxrfeat/pages/new.html"
    ]
    assert check.faults_of_wheel(wheel, kept - {"cxrfeat/py.typed"}) == [
        "the wheel has cxrfeat/py.typed, which is not kept"
    ]
    assert check.faults_of_sdist(next(dist.glob("*.tar.gz")), kept | {"docs/new.md"}) == [
        "the sdist lacks docs/new.md"
    ]


def test_the_wheel_of_the_checkout_is_that_of_the_sdist(dist: Path, tmp_path: Path) -> None:
    build(ROOT, tmp_path, "wheel")
    (of_sdist,), (of_checkout,) = dist.glob("*.whl"), tmp_path.glob("*.whl")
    assert of_sdist.read_bytes() == of_checkout.read_bytes()


def test_the_wheel_runs_without_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    """Its command answers, its templates are read, and its types are known to be there."""
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "import cxrfeat; print(cxrfeat.__file__)\n"
        "from cxrfeat.pages.templates import text_of; print(len(text_of('page.html')))\n"
        "from cxrfeat.cli import main; sys.argv = ['cxrfeat', '--version']; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    where, characters, version = done.stdout.splitlines()
    assert Path(where).is_relative_to(unpacked)
    assert int(characters) > 1_000
    assert version == f"cxrfeat {cxrfeat.__version__}"
    assert (unpacked / "cxrfeat" / "py.typed").is_file()


@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_in_an_empty_folder(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "from cxrfeat.cli import main; sys.argv = ['cxrfeat', 'demo']; main()\n"
    )
    subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path / "empty", timeout=600, check=True
    )
    (run,) = (tmp_path / "empty").rglob("results.json")
    assert (run.parent / "report.html").is_file()
    assert (run.parent / "model.skops").is_file()
