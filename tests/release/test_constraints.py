"""`constraints.txt` has one version of everything that is asked for."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.scripts import ROOT


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    names = [canonicalize_name(pin.name) for pin in found]
    assert len(set(names)) == len(names), "a package has several versions"
    return dict(zip(names, found, strict=True))


def asked_for() -> list[Requirement]:
    """What the package, its extras, its build and the tools of a release name."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = settings["project"]
    named = [*settings["build-system"]["requires"], *project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        named += extra
    tools = (ROOT / "packaging/tools.txt").read_text("utf-8")
    named += [line for line in tools.splitlines() if line and not line.startswith("#")]
    wanted = map(Requirement, named)
    return [requirement for requirement in wanted if requirement.name != project["name"]]


def test_everything_that_is_asked_for_has_a_version_that_is_allowed() -> None:
    there = pins()
    for requirement in asked_for():
        pin = there.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is missing: make constraints"
        (version,) = (bound.version for bound in pin.specifier)
        assert requirement.specifier.contains(version), f"{pin} is not {requirement}"


def test_every_line_is_one_exact_version_that_every_machine_can_have() -> None:
    """No version of one's own such as 2.13.0+cpu: torchvision does not work with that."""
    for pin in pins().values():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), str(pin)
        assert not pin.extras
        assert pin.url is None


def test_no_version_is_for_one_python_alone_that_the_package_needs() -> None:
    """Markers leave out systems and old Pythons' backports, never what the package itself needs."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    there = pins()
    for named in settings["project"]["dependencies"]:
        assert there[canonicalize_name(Requirement(named).name)].marker is None
