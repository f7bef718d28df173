"""The audit that lies in the folder of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cxrfeat import defaults
from cxrfeat.errors import FileFormatError
from cxrfeat.results.audit import FORMAT, FORMAT_VERSION

AUDIT_JSON, AUDIT_PAGE = "audit.json", "audit.html"


def audit_of(run: Path) -> dict[str, Any] | None:
    """Read the ``audit/audit.json`` of a run; None where it was not audited.

    Raises
    ------
    FileFormatError
        It is damaged, of another version, or not ours.
    """
    path = run / defaults.AUDIT / AUDIT_JSON
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return None
    except ValueError as error:
        raise FileFormatError(f"{path} is damaged ({error}): delete it and audit again") from None
    if not isinstance(document, dict) or (
        (document.get("format"), document.get("format_version")) != (FORMAT, FORMAT_VERSION)
    ):
        raise FileFormatError(
            f"{path} is not of format {FORMAT} {FORMAT_VERSION}: delete it and audit again"
        )
    return document
