"""The command line that repeats a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def command_line(results: Mapping[str, Any], verb: str = "fit") -> str:
    """Write the command line that repeats a run, or an audit: every option that was in force.

    Those that were left out are written too, so that it means the same when defaults change.
    """
    options = results["options"]
    words = ["cxrfeat", verb, *options.get("embeddings", ["EMBEDDINGS"])]
    for name, value in options.items():
        if name == "embeddings" or value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, list):
            words += [word for one in value for word in (flag, str(one))]
        else:
            words += [flag, str(value)]
    return shlex.join(words)
