"""The built small shop, made once for all files and processes of a test run: it takes six builds."""

import os
import pickle

import pytest
from filelock import FileLock

from tests.dbt_project.built_shop import Built, build_both_ways


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the one that all workers of this run share
    kept = folder / "built_shop.pickle"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(build_both_ways(folder / "built_shop")))
    return pickle.loads(kept.read_bytes())
