"""Markdown tables: the text written out."""

from noiseprompt.core.tables import table


def test_a_table() -> None:
    body = [("a|b", 1, "x"), ("c",)]
    assert table(("name", "n", ""), body) == "| name | n |  |\n|---|---|---|\n| a\\|b | 1 | x |\n| c |  |  |"
    assert table(("name", "n"), [], spaced=True) == "| name | n |\n| --- | --- |"
