"""What the detectors of `cxrfeat audit` find where the truth is known, by simulation.

    python benchmarks/audit.py confounders     # 30 draws of each strength; `audit_confounders.py`
    python benchmarks/audit.py copies flips outliers duplicates               # `audit_copies.py`

`--draws` makes each part smaller.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import audit_copies
from audit_confounders import confounders

PARTS: dict[str, Callable[[int], None]] = {
    "confounders": confounders,
    **audit_copies.PARTS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS, nargs="+")
    parser.add_argument("--draws", type=int, default=30)
    options = parser.parse_args()
    for part in options.part:
        PARTS[part](options.draws)


if __name__ == "__main__":
    main()
