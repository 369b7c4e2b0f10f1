"""Quality against calls, on figures written by hand."""

from __future__ import annotations

from noiseprompt.core.types import EvalResult
from noiseprompt.results.prices import better_for_less, by_price, front
from noiseprompt.results.summarize import summarize
from noiseprompt.results.summary import Summary
from noiseprompt.results.words import PRICE_HEAD, markdown, price_rows

# label -> (denoiser calls, mean score)
FIGURES = {
    "standard": (20, 0.4),
    "npnet": (20, 0.5),
    "redenoise": (23, 0.45),
    "redenoise:swap": (23, 0.6),
    "best_of_n:n=2": (60, 0.7),
    "search": (200, 0.9),
    "prune": (120, 0.6),
}


def summary() -> Summary:
    results = [
        EvalResult(label, prompt, prompt, "k", 0, {"taste": score + shift}, calls, 0.1, 0.4)
        for label, (calls, score) in FIGURES.items()
        for prompt, shift in (("a", -0.1), ("b", 0.1))
    ]
    return summarize(results, filter_scorers=[], steered={"search": "taste"}, seed=0)


def test_the_cheapest_first_and_at_one_price_the_better() -> None:
    assert by_price(summary()) == [
        "npnet",
        "standard",
        "redenoise:swap",
        "redenoise",
        "best_of_n:n=2",
        "prune",
        "search",
    ]


def test_who_is_better_for_no_more_calls() -> None:
    assert better_for_less(summary()) == {
        "standard": "npnet",
        "npnet": "",
        "redenoise": "npnet",
        "redenoise:swap": "",
        "best_of_n:n=2": "",
        "prune": "best_of_n:n=2",
        "search": "",
    }


def test_controls_and_what_the_metric_steered_are_not_on_the_front() -> None:
    assert front(summary()) == ["npnet", "best_of_n:n=2"]


def test_the_table_says_the_same() -> None:
    rows = {row[0]: row[1:] for row in price_rows(summary())}
    assert len(PRICE_HEAD) == 5 and all(len(row) == 4 for row in rows.values())
    assert rows["standard"] == ["20", "0.400", "", "npnet"]
    assert rows["prune"][:2] == ["120", "0.600"] and rows["prune"][3] == "best_of_n:n=2"
    assert rows["prune"][2].startswith("+0.200 [")
    assert rows["search (steered by it)"][0] == "200"
    text = markdown(summary())
    assert "### Quality against denoiser calls: taste" in text
    assert text.index("| npnet | 20 |") < text.index("| prune | 120 |")
