"""Only evaluations below the root are opened, whatever name is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.core.errors import InputError
from noiseprompt.web.folders import Reports


@pytest.fixture(scope="module")
def root(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one evaluation two levels down, a link to another outside, and an unfinished one."""
    import shutil

    root = tmp_path_factory.mktemp("root")
    shutil.copytree(whole, root / "a" / "b c")
    shutil.copytree(whole, root.parent / "outside", dirs_exist_ok=True)
    (root / "link").symlink_to(root.parent / "outside")
    (root / "begun").mkdir()
    (root / "begun" / "settings.json").write_text("{}")
    return root


def test_evaluations_below_the_root_are_listed(root: Path) -> None:
    assert Reports(root).names() == ["a/b c"] and Reports(root / "a" / "b c").names() == ["."]
    assert Reports(None).names() == []


def test_a_report_is_made_and_nothing_is_written_there(root: Path) -> None:
    before = sorted(path.name for path in (root / "a" / "b c").iterdir())
    assert Reports(root).page("a/b c").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in (root / "a" / "b c").iterdir()) == before


@pytest.mark.parametrize("name", ["", ".", "..", "link", "../outside", "a", "a/b c/..", "/etc", "begun", "a/b c\0"])
def test_other_names_are_refused(root: Path, name: str) -> None:
    with pytest.raises(InputError, match="no evaluation"):
        Reports(root).page(name)


def test_a_root_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        Reports(tmp_path / "none")
    with pytest.raises(InputError, match="no evaluation"):
        Reports(None).page(".")
