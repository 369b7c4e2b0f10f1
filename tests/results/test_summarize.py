"""The figures of results written by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import EvalResult
from noiseprompt.results.statistics import paired_bootstrap, sign_flip_test, wilson
from noiseprompt.results.summarize import summarize
from noiseprompt.results.summary import ACCURACY, Comparison, Row, summary_dict
from noiseprompt.results.words import kind_head, kind_rows, markdown
from noiseprompt.stages.evaluate.evaluate import summarize_run


def _result(
    method: str, prompt: str, seed: int, checker: float, taste: float, kind: str = "k", calls: float = 20
) -> EvalResult:
    return EvalResult(method, prompt, prompt, kind, seed, {"shapes-checker": checker, "taste": taste}, calls, 0.1, 0.4)


def compared(row: Row) -> Comparison:
    assert row.against is not None
    return row.against


def _by_hand() -> tuple[list[EvalResult], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, (30, 2)) / 2, rng.integers(0, 3, (30, 2)) / 2
    results = []
    for i in range(30):
        for j in range(2):
            kind = "first" if i < 12 else "second"
            results.append(_result("standard", f"p{i:02}", j, a[i, j], a[i, j] / 7, kind))
            results.append(_result("better", f"p{i:02}", j, b[i, j], b[i, j] / 7, kind, 23))
    return results, a, b


def test_summary_of_known_scores() -> None:
    results, a, b = _by_hand()
    summary = summarize(results, filter_scorers=["taste"], seed=3)
    assert summary.metrics == (ACCURACY, "shapes-checker", "taste")
    assert (summary.main_metric, summary.prompts, summary.images) == (ACCURACY, 30, 120)
    row = summary.methods["better"].metrics[ACCURACY]
    found = compared(row)
    differences = (b == 1).mean(1) - (a == 1).mean(1)  # seeds of a prompt first
    interval = paired_bootstrap(differences, seed=3)
    assert row.mean == pytest.approx((b == 1).mean())
    assert found.baseline_mean == pytest.approx((a == 1).mean())
    assert dataclasses.astuple(found.gain) == pytest.approx((interval.mean, interval.low, interval.high, 30))
    assert found.p == sign_flip_test(differences, seed=3)
    assert found.detectable == pytest.approx(2.8 * differences.std(ddof=1) / math.sqrt(30))
    win = found.win
    wins, losses = int(((b == 1) > (a == 1)).sum()), int(((b == 1) < (a == 1)).sum())
    assert (win.wins, win.losses, win.ties) == (wins, losses, 60 - wins - losses)
    assert (win.low, win.high) == pytest.approx(wilson((wins + (60 - wins - losses) / 2) / 60, 30))
    assert summary.methods["better"].denoiser_calls == 23
    assert summary.methods["better"].sample_seconds == pytest.approx(0.4)
    assert row.kinds is not None
    first = row.kinds["first"]
    assert first.n == 12
    assert compared(first).p_holm is None
    assert compared(first).gain.mean == pytest.approx(differences[:12].mean())
    json.dumps(summary_dict(summary), allow_nan=False)


def test_holm_runs_over_methods_and_metrics() -> None:
    results, _, _ = _by_hand()
    results += [
        dataclasses.replace(r, method="third", scores={"shapes-checker": 0.9, "taste": 0.1}) for r in results[::2]
    ]
    summary = summarize(results)
    rows = [compared(row) for m in ("better", "third") for row in summary.methods[m].metrics.values()]
    assert len(rows) == 6
    smallest = min(rows, key=lambda row: row.p)
    assert smallest.p_holm == pytest.approx(min(1.0, 6 * smallest.p))
    assert all(row.p_holm is not None and row.p_holm >= row.p for row in rows)


def test_the_order_of_lines_does_not_matter() -> None:
    results, _, _ = _by_hand()
    shuffled = [results[i] for i in np.random.default_rng(1).permutation(len(results))]
    ours, theirs = summarize(results).methods, summarize(shuffled).methods
    assert ours["better"].metrics == theirs["better"].metrics


def test_an_unfinished_run_is_summarised_on_its_pairs() -> None:
    results, a, b = _by_hand()
    summary = summarize([r for r in results if r.method == "standard" or r.prompt_id < "p10"])
    found = compared(summary.methods["better"].metrics["shapes-checker"])
    assert found.gain.n == 10
    assert found.gain.mean == pytest.approx((b[:10] - a[:10]).mean())
    assert found.baseline_mean == pytest.approx(a[:10].mean())
    alone = summarize([r for r in results if r.method == "better"])
    assert alone.baseline is None
    assert alone.methods["better"].metrics["taste"].against is None


def test_the_filter_is_no_judge_and_is_marked() -> None:
    results = [_result("standard", "p", 0, 1.0, 0.2), _result("other", "p", 0, 0.4, 0.3)]
    results = [dataclasses.replace(r, scores={"taste": r.scores["taste"], "rank": 1.0}) for r in results]
    summary = summarize(results, filter_scorers=["taste"])
    assert summary.main_metric == "rank"
    text = markdown(summary)
    assert "### taste (filter)" in text
    assert "### rank\n" in text
    assert "no independent judge" in text
    assert compared(summary.methods["other"].metrics["taste"]).gain.low is None  # one prompt has no interval


def test_summarize_run_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.json"):
        summarize_run(tmp_path)
    with pytest.raises(InputError, match="no results"):
        summarize([])


def test_several_filters_are_marked_everywhere() -> None:
    results = [_result(m, f"p{i}", 0, 0.5 + 0.1 * i * (m == "a"), 0.1 * i) for m in ("standard", "a") for i in range(4)]
    summary = summarize(results, filter_scorers=["taste", "shapes-checker"])
    assert summary.main_metric == ACCURACY  # nothing else is left
    text = markdown(summary)
    for name in ("taste", "shapes-checker", ACCURACY):
        assert f"### {name} (filter)" in text
    assert summarize(results, filter_scorers=["shapes-checker"]).main_metric == "taste"


def test_a_table_by_category_holds_mean_and_gain() -> None:
    results, a, b = _by_hand()
    summary = summarize(results, filter_scorers=["taste"])
    head, rows = kind_head(summary), kind_rows(summary)
    assert head == ["method", "first, n = 12", "second, n = 18"]
    assert [row[0] for row in rows] == ["standard", "better"]
    assert rows[0][1] == f"{(a[:12] == 1).mean():.3f}"
    gain = (b[12:] == 1).mean() - (a[12:] == 1).mean()
    assert rows[1][2].startswith(f"{(b[12:] == 1).mean():.3f}; {gain:+.3f} [")
    assert "\n| better | " + rows[1][1] in markdown(summary)
