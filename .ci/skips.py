"""
Fails when a test was skipped that is not listed with its reason.

    python skips.py JUNIT.xml SKIPS.txt

A line of SKIPS.txt is `test-id: reason`; the id is as in the message of this program. `#` begins a comment.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def listed(text: str) -> dict[str, str]:
    """Test id → reason. Raises SystemExit for a line without a reason."""
    reasons = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        test, _, reason = line.partition(": ")
        if not reason.strip():
            sys.exit(f"skips: {line!r} gives no reason")
        reasons[test.strip()] = reason.strip()
    return reasons


def skipped(junit: Path) -> dict[str, str]:
    """Test id → what pytest says of the skip."""
    cases = ET.parse(junit).iter("testcase")  # noqa: S314  pytest wrote it a moment ago
    return {
        f"{case.get('classname')}.{case.get('name')}": skip.get("message", "")
        for case in cases
        for skip in case.iter("skipped")
    }


def main() -> None:
    junit, known = Path(sys.argv[1]), listed(Path(sys.argv[2]).read_text())
    unknown = {test: why for test, why in skipped(junit).items() if test not in known}
    for test, why in unknown.items():
        print(f"skipped without being listed in .ci/skips.txt: {test}: {why}")
    if unknown:
        sys.exit(1)


if __name__ == "__main__":
    main()
