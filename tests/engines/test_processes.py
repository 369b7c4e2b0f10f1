"""What a launcher says of a process, which device it takes, and what processes tell each other."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import torch

from noiseprompt.core.errors import InputError, ProcessLostError
from noiseprompt.core.ranks import ALONE
from noiseprompt.engines import processes
from noiseprompt.engines.processes import Group, Launched, joined, launched, own_device

SECOND = {
    "WORLD_SIZE": "4",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}


def test_what_a_launcher_says() -> None:
    assert launched(SECOND) == Launched(3, 4, 1, 2)
    assert launched({**SECOND, "WORLD_SIZE": "1", "RANK": "0"}) is None
    assert launched({}) is None and launched({"RANK": "3", "LOCAL_RANK": "1"}) is None


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"RANK": "4"}, "RANK=4.*below their sizes.*torchrun"),
        ({"RANK": "first"}, "RANK='first'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0'"),
        ({"RANK": "", "MASTER_PORT": ""}, "WORLD_SIZE=4 without RANK, MASTER_PORT"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK=2"),
        ({"WORLD_SIZE": "9" * 30}, "WORLD_SIZE='9{30}'.*from 1 to 1000000"),
        ({"LOCAL_WORLD_SIZE": "5"}, "LOCAL_RANK=1 of 5.*below their sizes"),
        ({"MASTER_ADDR": "\udc80"}, "MASTER_ADDR with bytes that are not UTF-8"),
        ({"MASTER_PORT": "x"}, "MASTER_PORT='x'.*from 1 to 65535"),
        ({"MASTER_PORT": "0"}, "MASTER_PORT='0'"),
        ({"MASTER_PORT": "65536"}, "MASTER_PORT='65536'"),
    ],
)
def test_variables_that_contradict_each_other(changed: dict[str, str], match: str) -> None:
    with pytest.raises(InputError, match=match):
        launched({**SECOND, **changed})


def test_accelerate_that_starts_one_process_on_a_cpu_is_refused() -> None:
    """As `accelerate launch --cpu --num_processes 2` leaves it; with one process no master."""
    said = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no"}
    assert launched(said) is None
    with pytest.raises(InputError, match=r"starts one and says nothing.*torchrun --nproc_per_node"):
        launched({**said, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    second = Launched(3, 4, 1, 2)
    assert own_device("auto", second) == own_device("cuda", second) == "cuda:1" and taken == [1, 1]
    assert own_device("cpu", second) == "cpu" and len(taken) == 2
    # the first of three is refused too: nobody waits for the third
    with pytest.raises(InputError, match=r"3 processes on a machine with 2 GPUs.*nproc_per_node 2"):
        own_device("auto", Launched(0, 3, 0, 3))
    for device in ("cuda:1", "mps"):
        with pytest.raises(InputError, match=f"device '{device}' with 4 processes"):
            own_device(device, second)


def test_one_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as processes:
        assert processes is ALONE and processes.main and processes.once(lambda: [1]) == [1]


class Store:
    """As torch's key-value stores, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def set(self, key: str, value: str) -> None:
        self.values[key] = value.encode()

    def get(self, key: str) -> bytes:
        return self.values[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def add(self, key: str, amount: int) -> int:
        self.values[key] = str(int(self.values.get(key, b"0")) + amount).encode()
        return int(self.values[key])


def test_the_main_process_acts_for_all_and_the_first_failure_is_told() -> None:
    store: Any = Store()
    main, other = Group(Launched(0, 2, 0, 2), store), Group(Launched(1, 2, 1, 2), store)
    acted: list[int] = []
    for value in ([1.5, "a", float("inf")], None):
        assert main.once(lambda value=value: acted.append(0) or value) == value
        assert other.once(lambda: acted.append(1)) == value
    assert acted == [0, 0]
    main.fail()
    with pytest.raises(ProcessLostError, match=r"another of the 2 processes ended.*The same command continues"):
        other.once(lambda: None)
    assert [other.first(), main.first()] == [True, False]


def test_a_meeting_place_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "nohost.invalid")
    monkeypatch.setattr(processes, "KNOWN_WITHIN", -1.0)

    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InputError, match=r"MASTER_ADDR='nohost.invalid' in the environment.*Name or service not known"):
        processes._check_master()


def test_one_who_waits_for_the_others_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "far")
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setattr(processes, "TOLD_AFTER", 0.0)
    said = threading.Event()
    words: list[str] = []
    monkeypatch.setattr(processes.warnings, "warn", lambda text, *_, **__: (words.append(text), said.set()))
    spoken: list[bool] = []
    with processes._told_slowly(processes.Launched(1, 2, 1, 2), spoken.append):
        assert said.wait(10)
    assert words == ["process 1 of 2 waits for the others at far:29500, at most 10 minutes"] and spoken == [True]
