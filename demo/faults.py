"""
The faults of the sample system that the demo can plant, and what a right diagnosis says first (target/FAULTS.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NONE = "none"


@dataclass(frozen=True)
class Fault:
    """
    Where a fault is switched on and what the first finding has to be.

    The subject's name has to end with one of *subjects*; *instances* empty means every instance of the service. With a
    *build* the instances are replaced by that program, which then brings the fault itself.
    """

    name: str
    service: str
    kinds: tuple[str, ...]
    subjects: tuple[str, ...]
    instances: tuple[str, ...] = ()
    build: str = ""

    def named_by(self, finding: Mapping[str, Any] | None) -> bool:
        """Whether a finding, as in report.json, is the expected one."""
        return (
            finding is not None and finding["kind"] in self.kinds and finding["subject"]["name"].endswith(self.subjects)
        )


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("cpu", "checkout", ("hot_code",), (".compareEveryPair",)),
        Fault("leak", "checkout", ("leak",), (".awaitConfirmation", ".expectConfirmation")),
        Fault("heap", "checkout", ("memory",), (".retainEveryCart",)),
        Fault("lock", "checkout", ("lock",), (".storeAndSyncHoldingLock",)),
        Fault("dependency", "pricing", ("latency", "downstream"), ("db.query", ".queryWithoutIndex", "prices-db")),
        Fault("errors", "inventory", ("errors",), ("stock.reserve", "/reserve", ".negativeStock", "inventory")),
        Fault("gc", "checkout", ("gc", "hot_code"), (".renderEveryDraft",)),
        Fault("n-plus-one", "checkout", ("n_plus_one", "latency"), ("GET /quote", ".fetchQuoteItemByItem", "pricing")),
        Fault("retry-storm", "checkout", ("retry_storm",), ("POST /reserve", ".reserveWithoutBackoff", "inventory")),
        Fault("instance", "checkout", ("hot_code", "instance"), (".rebuildOnEveryRead", "checkout-2"), ("checkout-2",)),
        Fault(
            "deploy",
            "checkout",
            ("change", "instance", "hot_code"),
            (".recompileForEveryItem", "checkout-2"),
            ("checkout-2",),
            build="target-v2",
        ),
    )
}


def find_fault(name: str) -> Fault | None:
    """None is the healthy run. Raises KeyError."""
    return None if name == NONE else FAULTS[name]
