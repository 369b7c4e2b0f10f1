"""The address of a page, copied from a browser, where a path or a hub id is wanted: one line that names the id."""

import pytest

from noiseprompt.cli import main
from noiseprompt.core.errors import InputError
from noiseprompt.core.places import expanded

PAGES = ("https://huggingface.co/me/thing", "huggingface.co/me/thing/tree/main", "https://hf.co/datasets/me/thing")
WORDS = (
    "generate a --out o --model",
    "generate a --out o --unet",
    "generate a --out o --lora",
    "generate a --out o --methods=npnet:path={}",
    "collect --out o --prompts",
    "doctor --model",
    "import {} o",
    "npd pull o",
    "run",
)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("page", PAGES[:2])
def test_a_page_of_the_hub_is_told_with_its_id(
    words: str, page: str, capfd: pytest.CaptureFixture[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert main((words.format(page) if "{}" in words else f"{words} {page}").split()) == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and "the address of a page" in told and "write me/thing," in told.lower()


@pytest.mark.parametrize("page", [*PAGES, "http://example.org/x.png"])
def test_pages(page: str) -> None:
    with pytest.raises(InputError, match="address of a page") as caught:
        expanded(page)
    assert ("me/thing" in str(caught.value.fix)) == ("me/thing" in page)


@pytest.mark.parametrize(
    "name", ["me/thing", "https", "http/x", "hf.community/x", "a/huggingface.co/x", "httpserver/a"]
)
def test_names_that_only_look_so(name: str) -> None:
    assert str(expanded(name)) == name
