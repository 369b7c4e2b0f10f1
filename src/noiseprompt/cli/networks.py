"""`noiseprompt import` and `noiseprompt npnet`: networks from the hub, from published files, and to the hub."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from noiseprompt.cli.progress import say, say_next
from noiseprompt.core.cards import read_card
from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.kinds import NETWORK, refuse_other
from noiseprompt.core.places import check_folder, expanded, no_file

if TYPE_CHECKING:
    from noiseprompt.npnet.card import Facts


def import_npnet(source: str, out: Path, revision: str | None = None, license: str = "") -> None:
    """Turn a published NPNet checkpoint into a folder `NPNet.from_pretrained` loads, or fetch a network of the hub.

    Args:
        source: the file of a checkpoint (.pth or flattened .safetensors), loaded without executing anything in it; else
            a repository on the hub, OWNER/NAME or OWNER/NAME:FILE.
        out: the folder to write.
        revision: of the repository.
        license: what the card shall state, where the repository states none.
    """
    from noiseprompt.core import hub
    from noiseprompt.npnet import NPNet, import_published, share

    share.refuse_address(source)
    out, path = Path(out), expanded(source)
    check_folder(out)
    if len(license.splitlines()) > 1:
        raise InputError(f"license {license!r:.60}", "one line, as the hub writes it, such as apache-2.0")
    local = path.exists() or not hub.is_id(share.split_source(source)[0])
    if local and revision is not None:
        raise InputError(f"revision {revision!r} of the file {source}", "a hub id where a revision is named")
    if local and path.is_dir():
        raise InputError(f"{source} is a folder", "the file of a published checkpoint", "a saved one needs no import")
    found = share.Found(path) if local else share.look_up(source, revision)
    saved = found.path.is_dir()
    if not saved and not found.path.is_file():
        raise ModelLoadError(no_file(found.path), "a published checkpoint, or OWNER/NAME of the hub")
    facts = share.read_facts(found.path) if saved else share.facts_of(found)
    facts = replace(facts, license=license or facts.license)
    _check_out(out, facts)
    if saved:
        NPNet.from_pretrained(found.path).save_pretrained(out, facts)
    else:
        import_published(found.path, out, facts=facts)
        print(f"from {facts.source}\nsha256 {facts.sha256}")
    print(f"licence {facts.license or 'none stated: ask its authors before you share it'}\nNPNet in {out}")
    methods = shlex.quote(f"standard,npnet:path={out}")
    say_next(f'noiseprompt generate "a prompt" --model MODEL --methods {methods} --out pictures')


def _check_out(out: Path, facts: Facts) -> None:
    """Refuse a folder with another network or a training in it; the same import is made again.

    Raises:
        InputError: with what is there.
    """
    from noiseprompt.npnet import share

    refuse_other(out, NETWORK)
    if (out / "config.json").exists():
        same = (out / "README.md").is_file() and facts.sha256 and share.read_facts(out).sha256 == facts.sha256
        if not same:
            raise InputError(f"{out} holds a network already", "a new folder", "choose another, or delete it first")


def npnet_push(
    folder: Path,
    repo: str,
    license: str = "",
    dataset: str = "",
    evaluation: Path | None = None,
    prompts: str = "",
    card: Path | None = None,
    private: bool | None = None,
) -> None:
    """Upload a network to the hub with a card that says what it is, what it gains and where it is from.

    Args:
        folder: of a saved network, such as npnet/best.
        repo: OWNER/NAME; made if needed.
        license: as the hub writes it, e.g. apache-2.0; what the folder's own card states unless given.
        dataset: hub id of the data set it learned from.
        evaluation: folder that `noiseprompt evaluate` made with this network, for the card's figures.
        prompts: what the prompts of that evaluation are called, e.g. shapes:test.
        card: a README.md of your own in place of the one that is made.
        private: whether a new repository is.
    """
    from noiseprompt.core import hub
    from noiseprompt.methods.npnet import NpnetMethod
    from noiseprompt.npnet import NPNet, share
    from noiseprompt.results.card import measured

    hub.check_id(repo)
    if prompts and evaluation is None:
        raise InputError(
            f"--prompts {prompts!r} without an evaluation", "what they are the prompts of", "pass --evaluation"
        )
    refuse_beside(card, license=license, dataset=dataset, evaluation=evaluation)
    method = NpnetMethod(str(folder))
    method.net = NPNet.from_pretrained(Path(folder))  # refuses what nobody could load
    facts = share.read_facts(Path(folder))
    facts = replace(facts, license=license or facts.license, dataset=dataset or facts.dataset)
    if evaluation is not None:
        found = measured(expanded(evaluation), method.describe()["weights"], repo, prompts)
        facts = replace(facts, figures=found.text, results=found.results)
    if card is None and not facts.license:
        say("no licence is stated: nobody may use what has none; state one with --license")
    address = share.push(Path(folder), repo, facts, card=own_card(card), private=private)
    print(f"NPNet in {hub.endpoint()}/{repo}\n{address}")
    say_next(f"noiseprompt.NPNet.from_pretrained({repo!r}), or --methods npnet:path={repo}")


def refuse_beside(card: Path | None, **facts: object) -> None:
    """Refuse what a made card would tell beside one of the user's own, which is taken as it is.

    Raises:
        InputError: with the options.
    """
    if card is not None and (given := [name for name, value in facts.items() if value]):
        came = f"--{' and --'.join(given)} with a card of your own"
        raise InputError(came, "one of the two", "write it into the card, or leave --card out")


def own_card(path: Path | None) -> str:
    """The text of a card that the user wrote; "" without one.

    Raises:
        InputError: it is not there, or no text.
    """
    if path is None:
        return ""
    path = expanded(path)
    if not path.is_file():
        raise InputError(f"--card: {no_file(path)}", "a card in Markdown", "check the path")
    text = read_card(path)
    if not text.strip():
        raise InputError(f"--card {path}: nothing there", "a card in Markdown")
    return text
