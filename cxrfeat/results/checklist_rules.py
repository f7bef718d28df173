"""How an item of a guideline is answered from a run: text with the keys it was read from.

A rule's text names what it needs in braces, as file and key, e.g. ``{results: options.seed}``:

=========  ===============================================================================
results    ``results.json``
model      ``model.skops``: what the file says about itself
audit      ``audit/audit.json``, where the run was audited
h5         an embedding file; a text with one is told of every file
=========  ===============================================================================

Every source of an answer comes from the same braces as its value, so that neither can be given
without the other. A key is followed by ``.name``, ``[0]``, ``[*]`` (each of a list) or
``[code=duplicates-across-folds]`` (the entry of a list that says so; ``[*section=labels]``: each
that does). ``@winner``, ``@report`` and
``@chosen`` are the places of the saved model's extractor in `ranking`, `reports` and `extractors`.
After ``|`` stands what is written for null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

AUTOMATIC, PARTLY, AUTHOR = "automatic", "partly", "author"

_BRACES = re.compile(r"\{(results|model|h5|audit): ([^|{}]+)(?:\|([^{}]*))?\}")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\*|\*?\w+=[^\]]*)\]")
_MISSING = object()


@dataclass(frozen=True)
class EmbeddingFacts:
    """What one embedding file says, as plain data.

    Attributes
    ----------
    name : str
        Of the extractor; ``"vgg16 (outside test set)"`` for a file of ``--test``.
    file : str
        Its path, as it stands in the sources.
    facts : dict
        ``"/embeddings"`` (``rows``, ``dimension``), ``"/status"`` (``done``, ``failed``,
        ``pending``), ``"/error"`` (failed images per code), ``"/labels"`` (images per class),
        ``"/meta"`` (distinct values per column), and the root attributes ``spec``,
        ``fingerprint``, ``environment`` and ``created``.
    """

    name: str
    file: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class RunFacts:
    """Everything that a checklist is filled from, as plain data.

    Attributes
    ----------
    results : dict
        What ``results.json`` holds.
    model : dict or None
        What ``model.skops`` says about itself; None where no model was saved.
    embeddings : list of EmbeddingFacts
        Of the files that are at hand; what only they know is left out without them.
    audit : dict or None
        What ``audit/audit.json`` of the run holds; None where it was not audited.
    """

    results: Mapping[str, Any]
    model: Mapping[str, Any] | None = None
    embeddings: Sequence[EmbeddingFacts] = ()
    audit: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Part:
    """A piece of an answer.

    Attributes
    ----------
    text : str
        With its keys in braces.
    optional : bool
        The answer is whole without it.
    when, unless : str
        Keys of ``results.json``: the part is given where the one holds something, and not where
        the other does.
    """

    text: str
    optional: bool = False
    when: str = ""
    unless: str = ""


@dataclass(frozen=True)
class Rule:
    """One item of a guideline and how it is answered.

    Attributes
    ----------
    item, topic : str
        Number in the publication; what it asks for, in words of our own.
    status : str
        The most that a run can answer.
    parts : tuple of Part or str
        A text is a part that is not optional.
    needs : tuple of str
        Keys of ``results.json`` that must hold something for more than ``"partly"``.
    """

    item: str
    topic: str
    status: str = AUTHOR
    parts: tuple[Part | str, ...] = ()
    needs: tuple[str, ...] = field(default=())


def author(item: str, topic: str) -> Rule:
    """Make the rule of an item that nothing in a run can answer."""
    return Rule(item, topic)


def partly(item: str, topic: str, *parts: Part | str) -> Rule:
    """Make the rule of an item of which a run knows a part."""
    return Rule(item, topic, PARTLY, parts)


def automatic(item: str, topic: str, *parts: Part | str, needs: Sequence[str] = ()) -> Rule:
    """Make the rule of an item that a run's files answer."""
    return Rule(item, topic, AUTOMATIC, parts, tuple(needs))


def answer(rule: Rule, facts: RunFacts) -> tuple[str, str, list[str]]:
    """Answer one item from a run.

    Returns
    -------
    status, value : str
        The status is that of the rule, or less where the run does not hold what it needs.
    sources : list of str
        File and key of everything in the value, in order.
    """
    told, sources = [], []
    whole = all(_holds(facts, key) for key in rule.needs)
    for part in (Part(p) if isinstance(p, str) else p for p in rule.parts):
        if (part.when and not _holds(facts, part.when)) or _holds(facts, part.unless):
            continue
        text, read = _tell(part.text, facts)
        told += [text] if text else []
        sources += read
        whole &= bool(text) or part.optional
    if not told:
        return AUTHOR, "", []
    status = PARTLY if rule.status == AUTOMATIC and not whole else rule.status
    return status, "; ".join(told), list(dict.fromkeys(sources))


def look_up(document: Any, key: str) -> Any:
    """Follow a key into plain data.

    Raises
    ------
    LookupError
        Nothing is there.
    """
    value = document
    steps = list(_STEP.finditer(key))
    for place, step in enumerate(steps):
        name, index = step.groups()
        if name is not None:
            value = value[name] if isinstance(value, Mapping) else _refused(key)
        elif index.startswith("*"):
            rest = key[step.end() :] if place + 1 < len(steps) else ""
            if index != "*":
                wanted, _, said = index[1:].partition("=")
                value = [item for item in value if item[wanted] == said] or _refused(key)
            return [look_up(item, rest) if rest else item for item in value]
        elif "=" in index:
            wanted, _, said = index.partition("=")
            value = next((i for i in value if i[wanted] == said), _MISSING)
            if value is _MISSING:
                raise LookupError(key)
        else:
            value = value[int(index)]
    return value


def _refused(key: str) -> Any:
    raise LookupError(key)


def written(value: Any, null: str = "none") -> str:
    """Write plain data for people: floats with three digits, null and nothing as `null`."""
    if value is None or (isinstance(value, Mapping | list | tuple | str) and not value):
        return null
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_inner(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        if len(value) == 2 and all(isinstance(limit, float) for limit in value):
            return f"{written(value[0])} to {written(value[1])}"
        items = [_inner(item) for item in value]
        if all(isinstance(item, str) for item in value):
            items = list(dict.fromkeys(items))
        return (" / " if any(len(item) > 60 for item in items) else ", ").join(items)
    return str(value)


def _inner(value: Any) -> str:
    text = written(value)
    return f"({text})" if isinstance(value, Mapping | list | tuple) and len(value) > 1 else text


def _holds(facts: RunFacts, key: str) -> bool:
    """Whether ``results.json`` has something at `key`: not null, empty or false."""
    if not key:
        return False
    try:
        value = look_up(facts.results, _placed(key, facts))
    except LookupError:
        return False
    return bool(value) or (value == 0 and not isinstance(value, bool))


def _tell(text: str, facts: RunFacts) -> tuple[str, list[str]]:
    """Fill in a text, with its sources; nothing where a key is not there."""
    if "{h5: " not in text:
        return _filled(text, facts, None) or ("", [])
    of_files: dict[str, list[str]] = {}
    sources: list[str] = []
    for file in facts.embeddings:
        if filled := _filled(text, facts, file):
            of_files.setdefault(filled[0], []).append(file.name)
            sources += filled[1]
    several = len(facts.embeddings) > 1
    return "; ".join(
        f"{', '.join(names)}: {told}" if several else told for told, names in of_files.items()
    ), sources


def _filled(
    text: str, facts: RunFacts, file: EmbeddingFacts | None
) -> tuple[str, list[str]] | None:
    sources = []

    def value_of(match: re.Match[str]) -> str:
        where, key, null = match.groups()
        key = _placed(key.strip(), facts)
        document, name = _document(where, facts, file)
        value = look_up(document, key)
        sources.append(f"{name}: {key}")
        return written(value, "none" if null is None else null)

    try:
        return _BRACES.sub(value_of, text), sources
    except (LookupError, TypeError):
        return None


def _document(where: str, facts: RunFacts, file: EmbeddingFacts | None) -> tuple[Any, str]:
    if where == "results":
        return facts.results, "results.json"
    if where == "model":
        if facts.model is None:
            raise LookupError(where)
        return facts.model, "model.skops"
    if where == "audit":
        if facts.audit is None:
            raise LookupError(where)
        return facts.audit, "audit/audit.json"
    if file is None:
        raise LookupError(where)
    return file.facts, file.file


def _placed(key: str, facts: RunFacts) -> str:
    """Put the places of the winner into a key."""
    if "@" not in key:
        return key
    results, winner = facts.results, facts.results["winner"]

    def is_winner(entry: Mapping[str, Any]) -> bool:
        return bool(entry["extractor"] == winner["extractor"] and entry["head"] == winner["head"])

    def same_extractor(entry: Mapping[str, Any]) -> bool:
        return bool(entry["extractor"] == winner["extractor"])

    places: dict[str, tuple[str, Callable[[Mapping[str, Any]], bool]]] = {
        "@winner": ("ranking", is_winner),
        "@report": ("reports", is_winner),
        "@chosen": ("extractors", same_extractor),
    }
    for sign, (table, is_it) in places.items():
        if sign in key:
            place = next((i for i, entry in enumerate(results[table]) if is_it(entry)), None)
            if place is None:
                raise LookupError(key)
            key = key.replace(sign, str(place))
    return key.replace("@metric", results["metric"])
