"""Cards: the YAML at their head as the hub reads it, and their sections."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from noiseprompt.core.cards import head, head_of, read_card, sections
from noiseprompt.core.errors import InputError

TEXT = "---\nlicense: mit\n---\n# a title\n\nwords\n\n## Use\n\nso\n\n## Mine\n\nkept\n### below\nkept too\n"


def test_a_head_is_yaml_and_comes_back() -> None:
    data = {
        "license": "mit",
        "tags": ["a", "b: c"],
        "title": 'with "quotes" and ü',
        "empty": "",
        "none": None,
        "list": [],
    }
    text = head(data)
    kept = {key: data[key] for key in ("license", "tags", "title")}
    assert head_of(text + "# words") == kept == yaml.safe_load(text.removeprefix("---\n").removesuffix("---\n"))
    assert list(head_of(text)) == list(kept)


@pytest.mark.parametrize(
    "text", ["", "# no head", "---\n[\n---\n", "---\n- a list\n---\n", "---\nnever closed\n", "---\na: 1\na: 2\n---\n"]
)
def test_a_head_that_cannot_be_read_is_empty(text: str) -> None:
    assert head_of(text) == {}


def test_sections_but_some() -> None:
    assert sections(TEXT) == "## Use\n\nso\n\n## Mine\n\nkept\n### below\nkept too"
    assert sections(TEXT, but=("Use",)) == "## Mine\n\nkept\n### below\nkept too"
    assert sections("# nothing") == ""


def test_what_is_no_card(tmp_path: Path) -> None:
    assert read_card(tmp_path / "README.md") == ""
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"cannot read .*README\.md"):
        read_card(tmp_path / "README.md")
    (tmp_path / "README.md").write_bytes(b"a" * 2**20)
    with pytest.raises(InputError, match="longer than"):
        read_card(tmp_path / "README.md")
