"""Profiles to test with: recorded ones, and those a small Go program writes when the tests run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GO_ENVIRONMENT = {**os.environ, "GOTOOLCHAIN": "go1.26.8", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
# The last part of a name says which of two snapshots it is; goroutineleak is an experiment of Go 1.26.
KINDS = (
    *("cpu", "labels", "heap", "heap-later", "allocs", "goroutine", "goroutineleak"),
    *("mutex", "mutex-later", "block", "block-later", "threadcreate"),
)


@pytest.fixture(scope="session")
def go_profiles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind → profile of `goprograms/shapes`, built with -trimpath and run once per session."""
    folder = tmp_path_factory.mktemp("shapes")
    program = folder / "shapes"
    source = HERE / "goprograms" / "shapes"
    environment = {**GO_ENVIRONMENT, "GOEXPERIMENT": "goroutineleakprofile"}
    subprocess.run(
        ["go", "build", "-trimpath", "-o", program, "."], cwd=source, env=environment, check=True, timeout=300
    )
    subprocess.run([program, folder], check=True, timeout=60)
    return {kind: folder / f"{kind}.pb.gz" for kind in KINDS}
