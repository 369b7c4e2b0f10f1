"""Scorers of other packages that do not work are named with their package."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.cli import score as score_command
from noiseprompt.core.errors import InputError, MethodError, NoisepromptError, NoisepromptWarning, ScorerError
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec, NoiseMethod, make_noise
from noiseprompt.methods.table import METHODS
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.scorers import base


class Plugin:
    name = "mine"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def score(self, images: np.ndarray, prompts: Any) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


IMAGES, PROMPTS = np.zeros((2, 8, 8, 3), np.uint8), [Prompt("a"), Prompt("b")]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "gave None for 2 images"),
        ([1.0], "gave 1 scores for 2 images"),
        ([1.0, 2.0, 3.0], "gave 3 scores for 2 images"),
        ([[1.0, 2.0]], r"gave scores \(1, 2\) for 2 images"),
        (3.0, r"gave scores \(\) for 2 images"),
        (["a", "b"], "fails .TypeError: texts in place of numbers"),
        (["1", "2"], "fails .TypeError: texts in place of numbers"),
        (np.array(["2020-01-01"] * 2, "datetime64[D]"), "fails .TypeError: dates in place of numbers"),
        (np.ma.masked_all(2), "fails .TypeError: masked numbers"),
        (RuntimeError("no\nweights"), "fails .RuntimeError: no weights"),
        (KeyError("x"), "fails .KeyError: 'x'"),
        (ZeroDivisionError(), r"fails .ZeroDivisionError\)"),
        (np.array([1j, 2j]), "fails .TypeError: complex numbers"),
        (SystemExit(3), "fails .SystemExit: 3"),
        (type("Odd", (BaseException,), {})("x"), "fails .Odd: x"),
        (type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})(), "fails .Mute: it cannot be told"),  # type: ignore[arg-type]
        ([1.0, -1e308], r"gave -1e\+308. Expected numbers from -1e\+30 to 1e\+30"),
    ],
)
def test_a_scorer_that_does_not_work_is_named_with_its_package(answer: Any, says: str) -> None:
    with pytest.raises(ScorerError, match=f"the scorer 'mine' of the package '{__name__.partition('.')[0]}' {says}"):
        base.judge(Plugin(answer), IMAGES, PROMPTS)


def test_what_a_scorer_writes_into_its_images_is_its_own() -> None:
    class Painter(Plugin):
        def score(self, images: np.ndarray, prompts: Any) -> Any:
            images[:] = 7
            return super().score(images, prompts)

    base.judge(Painter([1.0, 2.0]), IMAGES, PROMPTS)
    assert not IMAGES.any()


@pytest.mark.parametrize(
    "answer",
    [torch.tensor([0.5, 2.0], dtype=torch.bfloat16), torch.tensor([0.5, 2.0], requires_grad=True)],
    ids=["bfloat16", "with gradients"],
)
def test_tensors_are_taken_as_scorers_leave_them(answer: torch.Tensor) -> None:
    assert base.judge(Plugin(answer), IMAGES, PROMPTS).tolist() == [0.5, 2.0]


def test_what_a_scorer_says_of_itself_is_left_alone() -> None:
    with pytest.raises(InputError, match="my own words"):
        base.judge(Plugin(InputError("my own words")), IMAGES, PROMPTS)
    assert base.judge(Plugin([1, np.nan]), IMAGES, PROMPTS).tolist()[0] == 1.0


PLUGIN = {
    "raises": "raise OSError('no file')",
    "lacks": "",
    "builds": "class Mine:\n    def __init__(self): 1 / 0",
    "foreign": "class Mine: pass",
}


@pytest.mark.parametrize("kind", PLUGIN)
def test_an_entry_point_that_does_not_work_is_named_with_its_package(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"plugin_that_{kind}"
    (tmp_path / f"{module}.py").write_text(PLUGIN[kind])
    monkeypatch.syspath_prepend(tmp_path)
    point = SimpleNamespace(name=f"mine-{kind}", value=f"{module}:Mine", dist=SimpleNamespace(name="their-package"))
    monkeypatch.setattr(base, "entry_points", lambda group: [point])
    monkeypatch.setattr(base.SCORERS, "_entries", dict(base.SCORERS._entries))
    with pytest.raises(NoisepromptError, match=f"scorer 'mine-{kind}' of the package 'their-package'"):
        base.load_scorers([f"mine-{kind}"])


def raising(error: BaseException) -> Any:
    def factory() -> Any:
        raise error

    return factory


FACTORIES: dict[str, tuple[Any, str]] = {
    "raises": (raising(ValueError("no weights")), "of the package 'tests' fails (ValueError: no weights)"),
    "ends the process": (raising(SystemExit(3)), "of the package 'tests' fails (SystemExit: 3)"),
    "another signature": (lambda a, *b: None, "the scorer 'mine' without a. Expected \"mine:a=VALUE\"."),
    "an argument by place alone": (lambda a, /: None, "of the package 'tests' fails (TypeError: "),
    "a module that is not there": ("nope_no.module:Mine", "of the package 'nope_no' fails (ModuleNotFoundError"),
    "no such attribute": ("os:nope", "of the package 'os' fails (AttributeError"),
    "a name of two": (lambda: named("a:b"), "the name 'a:b' for a scorer"),
    "no name": (lambda: named(""), "the name '' for a scorer"),
}


def named(name: str) -> Any:
    made = Plugin(None)
    made.name = name
    return made


@pytest.mark.parametrize("kind", FACTORIES)
def test_a_registered_factory_that_does_not_work_is_named_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    factory, says = FACTORIES[kind]
    monkeypatch.setattr(base.SCORERS, "_entries", dict(base.SCORERS._entries))
    base.register_scorer("mine", factory)
    with pytest.raises(NoisepromptError, match=re.escape(says)):
        base.load_scorers(["mine"])


def test_ours_is_no_other_package_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in this package is a bug, not a plug-in's."""
    monkeypatch.setattr("noiseprompt.scorers.shapes_checker.ShapesChecker.__init__", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        base.load_scorers(["shapes-checker"])


def test_score_names_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "p.txt").write_text("a\n")
    monkeypatch.setattr(base, "load_scorers", lambda names: [Plugin([1, 2])])
    with pytest.raises(ScorerError, match="gave 2 scores for 1 images"):
        score_command.score(tmp_path, tmp_path / "p.txt")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "../x", "a|b", "x" * 101])
def test_a_name_that_no_column_has_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="for a scorer"):
        base.register_scorer(name, Plugin)


@pytest.mark.parametrize("name", ["shapes-checker", "hpsv2"])
def test_a_scorer_that_calls_itself_as_one_of_ours_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.SCORERS, "_entries", dict(base.SCORERS._entries))
    base.register_scorer("mine", lambda: type("S", (Plugin,), {"name": name})(1))
    with pytest.raises(InputError, match=f"the scorer 'mine' calls itself '{name}'"):
        base.load_scorers(["mine"])


def around() -> Any:
    told: dict[str, Any] = {}
    told["again"] = told
    return told


@pytest.mark.parametrize(
    "told",
    [None, 1, around(), {"a": {1, 2}}, {"a": float("nan")}, {"a": object()}],
    ids=["nothing", "number", "itself", "set", "nan", "object"],
)
def test_what_a_scorer_tells_of_itself_is_plain_data(told: Any) -> None:
    scorer = Plugin(None)
    scorer.describe = lambda: told  # type: ignore[attr-defined]
    with pytest.raises(ScorerError, match="the scorer 'mine' of the package 'tests' fails"):
        base.described(scorer)


def test_entry_points_that_cannot_be_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "entry_points", lambda group: b"\xff".decode())
    with pytest.raises(ScorerError, match="what the installed packages offer cannot be read"):
        base.check_scorers(["nobody-has-this"])


def test_a_package_whose_entry_points_are_torn_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[noiseprompt.scorers]\nmine theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ScorerError, match=r"entry_points\.txt of the package 'theirs' is damaged"):
        base.check_scorers(["nobody-has-this"])


def offered(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    """Entry points "mine" of packages: (package, value) each."""
    found = [SimpleNamespace(name="mine", value=value, dist=SimpleNamespace(name=name)) for name, value in points]
    monkeypatch.setattr(base, "entry_points", lambda group: found)
    monkeypatch.setattr(base.SCORERS, "_entries", dict(base.SCORERS._entries))
    for table in ("_OFFERED", "_DISPUTED"):
        monkeypatch.setattr(base, table, {})


def test_a_scorer_that_a_package_offers_under_a_name_of_ours_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = SimpleNamespace(name="hpsv2", value="theirs:HPS", dist=SimpleNamespace(name="their-package"))
    monkeypatch.setattr(base, "entry_points", lambda group: [theirs])
    monkeypatch.setattr(base, "_TOLD", set())
    told = r"the scorer 'hpsv2' of the package 'their-package' is not used: noiseprompt has its own\. Ask"
    with pytest.warns(NoisepromptWarning, match=told) as warned:
        for _ in range(2):
            assert base.check_scorers(["aes", "hpsv2:path=x"]) == ["aes", "hpsv2:path=x"]
    assert len(warned) == 1


def test_entry_points_that_cannot_be_read_do_not_matter_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "entry_points", lambda group: b"\xff".decode())
    monkeypatch.setattr(base, "_TOLD", set())
    assert base.check_scorers(["hpsv2"]) == ["hpsv2"]


def test_a_name_that_two_packages_offer_is_nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, ("one", "tests.evaluation_fakes:FakeScorer"), ("two", "nope:Mine"))
    with pytest.raises(InputError, match="the scorer 'mine' of two packages, 'one' and 'two'"):
        base.load_scorers(["mine"])


def test_extras_of_an_entry_point_are_the_installer_s_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, ("one", "tests.evaluation_fakes:FakeScorer [gpu]"))
    assert [type(scorer).__name__ for scorer in base.load_scorers(["mine"])] == ["FakeScorer"]


def test_a_name_that_cannot_be_computed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.SCORERS, "_entries", dict(base.SCORERS._entries))
    base.register_scorer(
        "mine", type("Odd", (Plugin,), {"__init__": lambda self: None, "name": property(lambda s: 1 / 0)})
    )
    with pytest.raises(ScorerError, match=r"the scorer 'mine' of the package .* fails .ZeroDivisionError"):
        base.load_scorers(["mine"])


def test_a_registered_name_of_ours_that_is_not_there_is_no_bug_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.SCORERS, "_entries", dict(base.SCORERS._entries))
    base.register_scorer("mine", "noiseprompt:Nope")
    with pytest.raises(ScorerError, match=r"the scorer 'mine' of the package 'noiseprompt' fails .AttributeError"):
        base.load_scorers(["mine"])


def test_a_scorer_leaves_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    class Moves(Plugin):
        def score(self, images: np.ndarray, prompts: Any) -> Any:
            os.chdir("/")
            return super().score(images, prompts)

    base.judge(Moves([1, 2]), IMAGES, PROMPTS)
    assert Path.cwd() == tmp_path


NOISE = torch.zeros(2, 4, 8, 8)


def text() -> TextEmbeds:
    return TextEmbeds({}, torch.zeros(2, 3, 4))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "raises": ({"perturb": lambda *_: 1 / 0}, "fails (ZeroDivisionError: division by zero)"),
    "ends the process": ({"perturb": lambda *_: sys.exit(0)}, "fails (SystemExit: 0)"),
    "gives nothing": ({"perturb": lambda *_: None}, "fails (TypeError: it gives nothing, not latents)"),
    "gives an array": ({"perturb": lambda s, p, e, noise: noise.numpy()}, "it gives a ndarray, not latents"),
    "gives too few": ({"perturb": lambda s, p, e, noise: noise[:1]}, "it gives latents (1, 4, 8, 8) for (2, 4, 8, 8)"),
    "gives what is not dense": ({"perturb": lambda s, p, e, noise: noise.to_sparse()}, "it gives torch.sparse_coo"),
    "gives no values": ({"perturb": lambda s, p, e, noise: noise.to("meta")}, "it gives latents without values"),
    "carries less than nothing": ({"signal": lambda s, p: -1}, "signal() gives -1.0"),
    "cannot prepare": ({"prepare": lambda *_: 1 / 0}, "fails (ZeroDivisionError"),
    "tells no data": ({"describe": lambda s: [1]}, "describe() gives a list in place of a dict"),
    "cannot be made": ({"__init__": lambda s: 1 / 0}, "fails (ZeroDivisionError"),
    "is abstract": ({"perturb": NoiseMethod.perturb}, "fails (TypeError: Can't instantiate"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_method_that_does_not_work_is_named_with_its_package(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"name": "mine", "perturb": lambda s, p, e, noise: noise, "__module__": __name__, **WRONG[kind][0]}
    monkeypatch.setitem(METHODS._entries, "mine", type("Mine", (NoiseMethod,), made))
    nothing: Any = None
    with pytest.raises(MethodError) as caught:
        spec = MethodSpec.parse("mine")
        method = spec.build()
        method.prepare(nothing, Sampling())
        method.describe()
        method.signal(nothing)
        make_noise(spec, method, nothing, text(), None, NOISE)
    told = str(caught.value)
    assert told.startswith("the method 'mine' of the package 'tests' fails (") and WRONG[kind][1] in told, told


def test_a_method_that_needs_an_option_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"name": "mine", "__init__": lambda self, weight: None, "perturb": lambda s, p, e, noise: noise}
    monkeypatch.setitem(METHODS._entries, "mine", type("Mine", (NoiseMethod,), made))
    with pytest.raises(InputError, match=r"the method 'mine' without weight\. Expected \"mine:weight=VALUE\""):
        MethodSpec.parse("mine")


def test_a_method_of_another_package_works_and_leaves_its_source_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def perturb(self: Any, pipeline: Any, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        embeds.prompt_embeds.fill_(7)
        return noise.add_(1)

    made = {"name": "mine", "teaches": False, "perturb": perturb, "own": 3}
    monkeypatch.setitem(METHODS._entries, "mine", type("Mine", (NoiseMethod,), made))
    method: Any = MethodSpec.parse("mine").build()
    source, embeds = NOISE.clone(), text()
    assert torch.equal(method.perturb(None, embeds, source), NOISE + 1) and torch.equal(source, NOISE)
    assert not embeds.prompt_embeds.any()
    assert (method.own, method.teaches, method.name, method.describe()) == (3, False, "mine", {})
