"""
Healthy profiles: how long they stay, which is not as long as those of incidents, apart from the last ones of a build.

Retention asks; nothing here deletes.
"""

from __future__ import annotations

from datetime import datetime

from diagnose.store.db import Store
from diagnose.store.queries import load_queries

SQL = load_queries("baselines")
# A condition on a row `old` of a file of samples: that it belongs to a profile of `kept_baselines`.
KEPT_SAMPLES = "old.profile_no IN (SELECT profile_no FROM telemetry.profile WHERE profile_id IN ($kept))".replace(
    "$kept", SQL["kept_baselines"].rstrip().rstrip(";")
)


def kept_baselines(store: Store) -> list[str]:
    """
    Profile ids that no age makes go: the newest healthy set of each of the last two builds of a service.

    What a build changed is told by comparing with the one before, however long that ran.
    """
    return [row["profile_id"] for row in store.rows(SQL["kept_baselines"])]


def expired_baselines(store: Store, before: datetime) -> list[str]:
    """Ids of healthy profiles from before then that may go: not kept, and not named by any finding."""
    kept = set(kept_baselines(store))
    old = [row["profile_id"] for row in store.rows(SQL["old_baselines"], {"before": before})]
    return [profile_id for profile_id in old if profile_id not in kept]
