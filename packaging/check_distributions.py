"""Look into a wheel and an sdist: what the package needs is there, and nothing else.

``python packaging/check_distributions.py dist`` is the last step of ``make dist``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_IN_SDIST = (".ci/",)
MADE_BY_THE_BUILD = {"PKG-INFO"}


def version() -> str:
    """Return the version that `cxrfeat/version.py` states, without importing the package."""
    text = (ROOT / "cxrfeat/version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, flags=re.MULTILINE)
    assert found, "cxrfeat/version.py states no version"
    return found[1]


def kept_files(new: bool = False) -> set[str]:
    """Return the files that git keeps, relative to the root.

    Parameters
    ----------
    new : bool, default False
        Also those that are about to be kept: neither added yet nor ignored.
    """
    others = ["--cached", "--others", "--exclude-standard"] if new else []
    listed = subprocess.run(
        ["git", "ls-files", "-z", *others], cwd=ROOT, capture_output=True, check=True, text=True
    )
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def faults_of_wheel(wheel: Path, kept: set[str]) -> list[str]:
    """Return what is wrong with a wheel, a sentence each.

    Parameters
    ----------
    wheel : Path
    kept : set of str
        The files that the repository keeps, relative to its root.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"cxrfeat-{version()}.dist-info"
        faults = [] if f"{about}/METADATA" in names else [f"there is no {about}/METADATA"]
        if faults:
            return faults
        metadata = archive.read(f"{about}/METADATA").decode()
        scripts = archive.read(f"{about}/entry_points.txt").decode()
    package = {name for name in kept if name.startswith("cxrfeat/")}
    inside = {name for name in names if not name.startswith(f"{about}/")}
    faults += [f"the wheel lacks {name}" for name in sorted(package - inside)]
    faults += [f"the wheel has {name}, which is not kept" for name in sorted(inside - package)]
    if f"{about}/licenses/LICENSE" not in names:
        faults.append("the wheel lacks the licence")
    if "cxrfeat = cxrfeat.cli:main" not in scripts:
        faults.append("the wheel does not install the command cxrfeat")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = set(re.findall(r"^Provides-Extra: (\S+)$", metadata, flags=re.MULTILINE))
    faults += [f"no extra {name}" for name in set(project["optional-dependencies"]) - said]
    return faults


def faults_of_sdist(sdist: Path, kept: set[str]) -> list[str]:
    """Return what is wrong with an sdist, a sentence each; `kept` as in `faults_of_wheel`."""
    top = f"cxrfeat-{version()}/"
    with tarfile.open(sdist) as archive:
        members = [member.name for member in archive.getmembers() if member.isfile()]
    inside = {name.removeprefix(top) for name in members if name.startswith(top)}
    wanted = {name for name in kept if not name.startswith(NOT_IN_SDIST)}
    faults = [f"the sdist lacks {name}" for name in sorted(wanted - inside)]
    faults += [
        f"the sdist has {name}, which is not kept"
        for name in sorted(inside - wanted - MADE_BY_THE_BUILD)
    ]
    return faults


def main(folder: Path) -> int:
    """Check the wheel and the sdist of a folder; say what is in them, or what is wrong."""
    kept = kept_files()
    wheel = folder / f"cxrfeat-{version()}-py3-none-any.whl"
    sdist = folder / f"cxrfeat-{version()}.tar.gz"
    there = sorted(path.name for path in folder.iterdir())
    if there != sorted([wheel.name, sdist.name]):
        print(f"{folder} holds {', '.join(there)}; {wheel.name} and {sdist.name} are wanted")
        return 1
    faults = faults_of_wheel(wheel, kept) + faults_of_sdist(sdist, kept)
    for fault in faults:
        print(fault)
    if not faults:
        data = sorted(
            name for name in kept if name.startswith("cxrfeat/") and not name.endswith(".py")
        )
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, with {', '.join(data)}")
        print(f"{sdist.name}: {sdist.stat().st_size / 1e6:.2f} MB")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
