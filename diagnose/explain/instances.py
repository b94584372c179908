"""Which of the looked-at instances something holds for, as the end of a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from diagnose.explain.wording import listed

MUCH_LESS = 0.25


def where(sizes: Mapping[str, float], largest: str) -> str:
    """
    *sizes* are effects by instance, *largest* the instance the sentence is about.

        {"c-1": 0.9, "c-2": 0.8}    ", on all 2 captured instances"
        {"c-1": 0.0, "c-2": 0.8}    ", on c-2 only (not on c-1)"
        {"c-2": 0.8}                ""
    """
    if len(sizes) < 2:
        return ""
    calm = [name for name, size in sorted(sizes.items()) if size < MUCH_LESS * sizes[largest]]
    sick = [name for name in sorted(sizes) if name not in calm]
    if not calm:
        return f", on all {len(sizes)} captured instances"
    return f", on {listed(sick)} only (not on {listed(calm)})"
