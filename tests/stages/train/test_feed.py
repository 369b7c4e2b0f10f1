"""What a thread makes ahead of the loop: its order, its errors, its end; what is kept of it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npnet import build, small_config
from noiseprompt.npnet.svd import decompose, decomposed, tile
from noiseprompt.stages.train import kept
from noiseprompt.stages.train.data import PairData, distinct_sources
from noiseprompt.stages.train.feed import ahead
from noiseprompt.stages.train.kept import Kept
from noiseprompt.stages.train.texts import KeptTexts
from tests.train_fakes import SHAPE


def test_a_thread_is_ahead_but_not_far_and_in_order() -> None:
    made: list[int] = []
    go = threading.Semaphore(0)

    def make(number: int) -> int:
        go.acquire()
        made.append(number)
        return number * number

    found = ahead(make, range(10), most=2)
    for _ in range(3):
        go.release()
    assert next(found) == (0, 0)
    while len(made) < 3:
        pass
    assert made == [0, 1, 2]  # 3 is not wanted yet, whatever the semaphore
    for _ in range(10):
        go.release()
    assert list(found) == [(n, n * n) for n in range(1, 10)]


def test_an_error_comes_where_its_result_would_and_the_thread_ends() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    found = ahead(make, range(9))
    assert [next(found), next(found)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="two"):
        next(found)
    closed = ahead(lambda number: number, range(9))
    next(closed)
    closed.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_each_number_is_made_once_where_all_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def make(new: np.ndarray) -> list[torch.Tensor]:
        asked.extend(new.tolist())
        return [torch.from_numpy(new).float()[:, None] * torch.ones(3), torch.from_numpy(new).float()]

    for room, expected in ((2**20, [1, 3, 0]), (4 * 5 * 4 - 1, [1, 3, 0, 1])):
        monkeypatch.setattr(kept, "ROOM", room)
        values, asked[:] = Kept(5, [(3,), ()]), []
        for numbers in ([3, 1, 3], [1, 0]):
            rows, scalars = values.get(np.array(numbers), make)
            assert rows.tolist() == [[n] * 3 for n in numbers] and scalars.tolist() == numbers
        assert sorted(asked) == sorted(expected)


def few_seeds(folder: Path) -> Npd:
    with NpdWriter(folder, {"scorers": []}, SHAPE) as writer:
        for i in range(12):
            source = initial_noise(i % 5, SHAPE).numpy()
            writer.add(ScoredPair(f"p-{i}", Prompt(f"p {i % 3}"), i % 5, source, source * (1 + i / 50), {}))
    return Npd(folder)


def test_noise_and_its_singular_vectors_are_made_once_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npd, asked = few_seeds(tmp_path / "npd"), []
    whole = Npd.sources
    monkeypatch.setattr(Npd, "sources", lambda self, rows: asked.append(len(rows)) or whole(self, rows))
    data = PairData(npd, KeptTexts(np.zeros((3, 2, 2), np.float16)), npd.prompt_rows())
    data.keep_singular(True)
    for rows in (np.array([0, 5, 7, 11]), np.arange(12), np.array([7])):
        batch = data.batch(rows)
        assert batch["target"].dtype == torch.float16 and batch["source"].dtype == torch.float32
        for k, row in enumerate(rows):
            assert torch.equal(batch["source"][k], initial_noise(int(row) % 5, SHAPE))
            assert torch.equal(batch["target"][k], torch.from_numpy(npd.targets([row])[0]))
        left, values, right = (batch[name].double() for name in ("left", "values", "right"))
        again = (left * values[:, None]) @ right
        torch.testing.assert_close(again, tile(batch["source"]).double(), atol=1e-5, rtol=0)
        assert torch.equal(left.gather(1, left.abs().argmax(1, keepdim=True)).sign(), torch.ones(len(rows), 1, 16))
    assert sum(asked) == 5


def test_a_seed_whose_noise_another_release_made_is_a_source_of_its_own(tmp_path: Path) -> None:
    npd = few_seeds(tmp_path / "npd")
    keys, rows = distinct_sources(npd)
    assert keys.tolist() == [i % 5 for i in range(12)] and rows.tolist() == [0, 1, 2, 3, 4]
    digests = npd.table().column("source_digest").to_pylist()
    digests[7] = "0" * 16
    index = npd._table.schema.get_field_index("source_digest")
    npd._table = npd._table.set_column(index, "source_digest", [digests])
    keys, rows = distinct_sources(npd)
    assert keys[7] == 5 and rows[5] == 7  # and is checked, as ever, when it is read


@pytest.mark.parametrize("half", [False, True])
def test_a_network_computes_the_same_from_what_was_decomposed(half: bool) -> None:
    torch.manual_seed(0)
    net = build(small_config((4, 8, 8), 3, 8)).eval()
    torch.nn.init.normal_(net.singular.head[2].weight, std=0.1)  # type: ignore[union-attr, index]
    noise, text = torch.randn(3, *SHAPE), torch.randn(3, 3, 8)
    # each decomposed alone
    alone = [decompose(noise[k : k + 1], True) for k in range(3)]
    parts = tuple(torch.cat(each) for each in zip(*alone, strict=True))
    with torch.autocast("cpu", torch.bfloat16, enabled=half), torch.no_grad():
        expected = net(noise, text)
        with decomposed(net, parts):  # type: ignore[arg-type]
            torch.testing.assert_close(net(noise, text), expected, atol=2e-2 if half else 1e-6, rtol=0)
        other = torch.randn(3, *SHAPE)
        assert float((net(other, text) - expected).abs().max()) > 0.5  # it is given for one noise, not for good
        with decomposed(torch.nn.Linear(2, 2), parts), decomposed(net, None):  # type: ignore[arg-type]
            assert torch.equal(net(noise, text), expected)
