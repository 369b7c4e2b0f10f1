"""What a folder holds, told by files that one kind of work alone leaves: no other kind is begun there.

Files of two kinds in one folder have names in common, and who finds them later cannot tell which belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.store import Store

MODEL = "a model"
DATA_SET = "a data set"
TRAINING = "a training"
EVALUATION = "an evaluation"
PICTURES = "pictures of generate"
NETWORK = "a saved network"
ANOTHER = "another model"
WORLD = "a training of the shapes world"

_MARKS = {
    MODEL: ("model_index.json",),
    DATA_SET: ("shard-*.arrow", ".claim.json"),
    TRAINING: ("state.pt", "embeds.npy", "best/config.json"),
    EVALUATION: ("results.jsonl", ".judging.json"),
    PICTURES: ("pictures.json",),
    WORLD: ("vae.pt", "unet.pt", "preference.pt", "features.pt"),
    NETWORK: ("config.json",),
}


def refuse_other(where: Path | Store, own: str) -> None:
    """Refuse a folder that holds another kind of work; one that holds this kind already, other files or none passes.

    In object storage nobody looks.

    Args:
        own: the kind that is to be written there.

    Raises:
        InputError: with the file that tells.
    """
    folder = where.folder if isinstance(where, Store) else where
    if not isinstance(folder, Path):
        return
    there = {kind: found for kind, marks in _MARKS.items() if (found := _found(folder, marks))}
    if NETWORK in there and (network := is_network(there[NETWORK][0])) is not True:
        config = there.pop(NETWORK)
        if network is False and own == NETWORK:  # a file of the same name; elsewhere it is in nobody's way
            there[ANOTHER] = config
    if own in there:
        return
    for kind, found in there.items():
        came = f"{folder} holds {kind} ({found[0].relative_to(folder)})"
        raise InputError(came, "a new folder" + f", or one with {own}" * bool(own), "choose another")


def _found(folder: Path, marks: Sequence[str]) -> list[Path]:
    return [path for mark in marks for path in sorted(folder.glob(mark)) if path.is_file()]


def is_network(config: Path) -> bool | None:
    """Of a network of this package; None where nothing can read it."""
    try:
        return "format" in read_json(config)
    except NoisepromptError:
        return None
