"""Names for readers: short, unique, controls recognised."""

from __future__ import annotations

import pytest

from noiseprompt.methods.base import MethodSpec
from noiseprompt.results.names import control_of, display_names, slug


@pytest.mark.parametrize(
    ("label", "control"),
    [
        ("standard", ""),
        ("redenoise:swap", "swap"),
        ("npnet:path=runs/swap/best", ""),
        ("npnet:path=a/b,strength=2,swap", "swap"),
        ("redenoise:rounds=2,shuffle", "shuffle"),
    ],
)
def test_controls(label: str, control: str) -> None:
    assert control_of(label) == control
    spec = MethodSpec.parse(label)
    assert control_of(spec.label) == ("swap" if spec.swap else "shuffle" if spec.shuffle else "")


def test_paths_are_shortened_and_options_kept() -> None:
    labels = ["standard", "npnet:path=/a/b/c/best", "npnet:path=/a/b/c/best,strength=1.5", "redenoise:rounds=2"]
    assert list(display_names(labels).values()) == [
        "standard",
        "npnet (c/best)",
        "npnet:strength=1.5 (c/best)",
        "redenoise:rounds=2",
    ]


def test_specs_inside_specs_keep_what_they_name() -> None:
    labels = [
        "best_of_n:n=2,noise=npnet:path=/a/b/c+strength=2",
        "best_of_n:n=2,scorer=aes:path=/x/y/z.pth",
        "search:noise=nlg",
    ]
    assert list(display_names(labels).values()) == [
        "best_of_n:n=2,noise=npnet:strength=2 (b/c)",
        "best_of_n:n=2,scorer=aes (y/z.pth)",
        "search:noise=nlg",
    ]


def test_names_stay_different() -> None:
    labels = ["npnet:path=/x/run/best", "npnet:path=/y/run/best", "npnet:path=run/best", "npnet:path=C:\\x\\run\\best"]
    names = display_names(labels)
    assert len(set(names.values())) == len(labels)
    assert names["npnet:path=/y/run/best"] == "npnet (y/run/best)"
    same = ["npnet:path=/run/best", "npnet:path=run/best"]  # nothing but the whole label tells them apart
    assert list(display_names(same).values()) == same


def test_slugs_differ_and_are_file_names() -> None:
    labels = ["npnet:strength=1", "npnet:strength=-1", "npnet:path=a/b", "npnet:path=a_b", "npnet:path=A/b", "standard"]
    assert len({slug(label).lower() for label in labels}) == len(labels)
    assert all("/" not in slug(label) and ":" not in slug(label) for label in labels)
    assert slug("standard") == "standard"
