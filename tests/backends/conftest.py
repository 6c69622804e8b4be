"""Fixtures that several modules of this folder share."""

from __future__ import annotations

import pytest
from fake_model import FakeModel, write_model


@pytest.fixture(scope="session")
def served_model(tmp_path_factory: pytest.TempPathFactory) -> FakeModel:
    """What the fake server serves."""
    return FakeModel(write_model(tmp_path_factory.mktemp("served") / "tiny"))
