"""A data set to train on."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.npd import Npd
from tests.train_fakes import write


@pytest.fixture
def npd(tmp_path: Path) -> Npd:
    """As data sets of the first version: they record nothing of the model."""
    return write(tmp_path / "npd", {})
