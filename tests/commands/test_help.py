"""A message for which one line is not enough names a page, and there is one."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import cxrfeat
from cxrfeat.commands.help_ import FOLDER
from cxrfeat.errors import InputError, UnknownNameError
from tests.test_cli import commands, run

ROOT = Path(__file__).parents[2]
TOPICS = {one.name: one for one in cxrfeat.help_()}
NAMED = re.compile(r"cxrfeat help ([a-z][a-z-]*)")


def code_of_the_package() -> str:
    """All of it, texts that are written over several lines joined."""
    texts = (
        path.read_text(encoding="utf-8")
        for path in sorted(Path(cxrfeat.__file__).parent.rglob("*.py"))
    )
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts))


def codes_of(page: str, heading: str) -> list[str]:
    """The codes in the first column of a table of the documentation."""
    part = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    return re.findall(r"^\| `([a-z_-]+)`", part.partition("\n## ")[0], flags=re.MULTILINE)


def test_every_topic_that_a_message_or_a_page_names_exists() -> None:
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")]
    pages += [one.text for one in TOPICS.values()]
    named = {name for text in (code_of_the_package(), *pages) for name in NAMED.findall(text)}
    assert len(named) >= 6
    for name in named:
        assert cxrfeat.help_(name)


def test_every_topic_is_named_by_a_message_or_has_a_code_that_is() -> None:
    named = set(NAMED.findall(code_of_the_package()))
    assert {name for name, one in TOPICS.items() if name not in named and not one.codes} == set()


@pytest.mark.parametrize("code", codes_of("results.md", "Findings"))
def test_every_finding_has_a_page(code) -> None:
    (found,) = cxrfeat.help_(f"[{code}]")
    assert f"`{code}`" in found.text


@pytest.mark.parametrize("code", codes_of("images.md", "Codes of failures"))
def test_every_failure_of_an_image_has_a_page(code) -> None:
    assert [one.name for one in cxrfeat.help_(code)] == ["failures"]


@pytest.mark.parametrize(
    "code",
    [
        *("attribute:view", "controls-no-lungs:vgg16", "controls-not-tested", "pictures-border"),
        *("pretraining:vgg16", "subgroups:sex", "underdiagnosis:x", "leave-source-out:vgg16"),
    ],
)
def test_a_check_of_an_audit_has_a_page_whatever_it_is_about(code) -> None:
    assert len(cxrfeat.help_(code)) == 1


def test_no_code_is_on_two_pages() -> None:
    codes = [code for one in TOPICS.values() for code in (one.name, *one.codes)]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("name", TOPICS)
def test_a_page_is_short_and_readable_in_a_terminal(name) -> None:
    lines = (FOLDER / f"{name}.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"# {TOPICS[name].title}"


def commands_shown() -> list[list[str]]:
    found = []
    for one in TOPICS.values():
        text = one.text
        found += re.findall(r"^ +(cxrfeat .*)$", text, flags=re.MULTILINE)
        found += re.findall(r"`(cxrfeat [a-z][^`]*)`", text.replace("\n", " "))
    return [shlex.split(line) for line in found]


@pytest.mark.parametrize("words", commands_shown(), ids=" ".join)
def test_every_command_of_a_page_is_one_we_take(words) -> None:
    known = commands()
    name = " ".join(words[1:3]) if " ".join(words[1:3]) in known else words[1]
    known[name].make_context(name, words[1 + len(name.split()) :], resilient_parsing=False)


def test_the_site_has_every_page() -> None:
    site = (ROOT / "docs/help.md").read_text(encoding="utf-8")
    shown = re.findall(r"commands/topics/(\w+)\.md", site)
    assert sorted(shown) == sorted(TOPICS)


def test_topics_are_listed_and_one_is_printed() -> None:
    listed = run("help")
    assert listed.returncode == 0
    for name, one in TOPICS.items():
        assert re.search(rf"^ {name} +{re.escape(one.title)}", listed.stdout, flags=re.MULTILINE)
    printed = run("help", "weights")
    assert printed.stdout == f"{TOPICS['weights'].title}\n\n{TOPICS['weights'].text}"
    assert json.loads(run("help", "weights", "--json").stdout)[0]["name"] == "weights"


def test_an_unknown_topic_is_one_line_that_names_the_near_ones() -> None:
    done = run("help", "wieghts")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown topic 'wieghts': did you mean weights")
    assert done.stderr.count("\n") == 1
    with pytest.raises(UnknownNameError, match="if it is a command: 'cxrfeat fit --help'"):
        cxrfeat.help_("fit")


@pytest.fixture
def studies(tmp_path, monkeypatch) -> Path:
    """Embedding files as users have them who get a message."""
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    ids = [f"{number}.png" for number in range(20)]
    cxrfeat.write("none/net.h5", X, ids)
    cxrfeat.write("one/net.h5", X, ids, labels=["a"] * 20)
    cxrfeat.write("few/net.h5", X, ids, labels=["a"] * 17 + ["b"] * 3)
    Path("other.csv").write_text("path,label\nz1.png,a\nz2.png,b\n")
    np.savez("other.npz", embeddings=X, ids=[f"x{number}.jpg" for number in range(20)])
    return tmp_path


@pytest.mark.parametrize(
    ("call", "topic"),
    [
        (lambda: cxrfeat.fit("none"), "labels"),
        (lambda: cxrfeat.fit("one"), "classes"),
        (lambda: cxrfeat.fit("few"), "classes"),
        (lambda: cxrfeat.fit("none", labels="other.csv"), "matching"),
        (lambda: cxrfeat.import_("other.npz", like="none/net.h5"), "matching"),
    ],
)
def test_who_cannot_go_on_is_told_of_the_page(studies, call, topic) -> None:
    with pytest.raises(InputError, match=f"cxrfeat help {topic}") as caught:
        call()
    assert "\n" not in str(caught.value)
