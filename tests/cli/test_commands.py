"""Each command does what it says: what it prints, what it writes, how it exits."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result

import fxprune
from fxprune import pipeline
from fxprune.cli import front
from fxprune.errors import InputError
from fxprune.job import Settings, settings, stem_of, typed, usable_device

Run = Callable[..., Result]
Golden = Callable[[Path, str], None]
GOLDENS = Path(__file__).parent / "printed"
HALF = "cut filters 50% by l1"


def test_compile_prints_stages_a_table_and_where_the_files_are(
    run: Run, stable: Callable[[str], str], golden: Golden, place: Path
) -> None:
    (place / "half.prune").write_text(f"{HALF}\nemit safetensors, python\n")
    result = run("compile", "half.prune", "net.py")
    assert result.exit_code == 0
    golden(GOLDENS / "compile.txt", stable(result.stderr) + stable(result.stdout))
    loaded = fxprune.load(place / "out" / "half-net")
    assert loaded(torch.rand(1, 3, 9, 7)).shape == (1, 3, 18, 14)


def test_compile_with_json_prints_one_object(run: Run, place: Path) -> None:
    (place / "loud.py").write_text((place / "net.py").read_text() + "\nprint('a model that talks')\n")
    result = run("compile", f"{HALF}\nemit python", "loud.py", "-o", "small", "--json")
    report = json.loads(result.stdout)
    assert "a model that talks" in result.stderr
    assert report["out"] == "small"
    assert sorted(report["files"]) == sorted(path.name for path in (place / "small").iterdir())
    assert report["params"][1] < report["params"][0]
    assert report["difference"] < 1e-5


def test_the_same_compile_replaces_its_own_output(run: Run, place: Path) -> None:
    for share in ("50%", "25%"):
        assert run("compile", f"cut filters {share}\nemit python", "net.py", "-o", "small").exit_code == 0
    assert fxprune.load(place / "small").head.out_channels == 12  # type: ignore[union-attr]
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []


def test_a_spec_names_its_model_from_its_own_folder(run: Run, place: Path) -> None:
    (place / "specs").mkdir()
    (place / "specs" / "own.prune").write_text('model "../net.py"(width=8)\nlet r = 50%\ncut filters r\n')
    assert widths(run("check", "specs/own.prune", "--json")) == [8, 4]
    assert widths(run("check", "specs/own.prune", "--json", "--set", "r=75%", "--set", "width=12")) == [12, 3]
    over = run("check", "specs/own.prune", "zoo:srcnn", "--json")
    assert widths(over) == [64, 32]
    assert "zoo:srcnn takes the place of the spec's own model" in over.stderr


def widths(result: Result) -> list[int]:
    """Filters of the first group, before and after."""
    assert result.exit_code == 0, result.output
    first = json.loads(result.stdout)["groups"][0]
    return [first["before"], first["after"]]


def test_input_and_weights_come_from_the_command_line(run: Run, place: Path) -> None:
    torch.manual_seed(0)
    state = {name: torch.rand_like(value) for name, value in network(place).state_dict().items()}
    torch.save({"params": state}, place / "w.pth")
    run("compile", f"{HALF}\nemit python", "net.py", "--weights", "w.pth", "--input", "1x3x8x10", "-o", "small")
    plan = json.loads((place / "small" / "plan.json").read_text())
    kept = plan["kept"]["head.weight"]["0"]
    head = fxprune.load(place / "small").head.weight  # type: ignore[union-attr]
    assert torch.equal(head.detach(), state["head.weight"][kept])  # type: ignore[operator]


def network(place: Path) -> torch.nn.Module:
    from fxprune.models import load_model

    return load_model(str(place / "net.py")).module


def test_check_without_a_model_needs_none(run: Run) -> None:
    result = run("check", "-", stdin="let r = 50%\ncut filters r\n")
    assert (result.exit_code, result.stdout) == (0, "<stdin>: no mistakes\n")
    assert json.loads(run("check", HALF, "--json").stdout)["mistakes"] == 0


def test_check_says_what_would_be_cut_and_writes_nothing(
    run: Run, stable: Callable[[str], str], golden: Golden, place: Path
) -> None:
    result = run("check", f"protect tail\n{HALF}", "net.py")
    golden(GOLDENS / "check.txt", stable(result.stdout))
    assert not (place / "out").exists()


@pytest.mark.parametrize("network", ["net.py", "zoo:edsr", "zoo:imdn", "zoo:carn", "zoo:rfdn"])
def test_groups_as_a_tree(network: str, run: Run, golden: Golden) -> None:
    result = run("groups", network)
    assert (result.exit_code, result.stderr) == (0, "")
    golden(GOLDENS / f"groups-{stem_of(network)}.txt", result.stdout)


def test_groups_as_json_are_all_there(run: Run, place: Path) -> None:
    printed = json.loads(run("groups", "zoo:imdn", "--json", "--set", "width=32").stdout)
    assert printed["model"] == "zoo:imdn(width=32)"
    assert len(printed["groups"]) == 51
    assert {group["kind"] for group in printed["groups"]} == {"free", "constrained", "protected"}
    assert all(group["reason"] for group in printed["groups"] if group["kind"] == "protected")
    assert run("groups", "zoo:imdn", "--set", "width=32", "-o", "g.json").exit_code == 0
    assert json.loads((place / "g.json").read_text()) == printed


@pytest.mark.parametrize(
    ("form", "begins"), [("svg", b"<svg"), ("html", b"<!doctype html>"), ("png", b"\x89PNG"), ("dot", b"digraph")]
)
def test_groups_as_pictures(form: str, begins: bytes, run: Run, place: Path) -> None:
    result = run("groups", "net.py", "-o", f"g.{form}")
    assert (result.exit_code, result.stdout) == (0, f"g.{form}: 4 groups: 2 free, 1 constrained, 1 protected\n")
    assert (place / f"g.{form}").read_bytes().lower().startswith(begins.lower())


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            ["head", "body.2"],
            "head and body.2 are tied: 16 channels of one constrained group\n"
            "  head  is tied to  body.2  by  `add` in the top level, net.py:14: y = y + self.body(y)\n",
        ),
        (
            ["head", "body.0"],
            "head and body.0 are not tied: head is in the constrained group of head, "
            "body.0 in the free group of body.0\n",
        ),
        (["tail"], "tail is protected, 3 of its channels: it is the network's output\n"),
    ],
)
def test_why(layers: list[str], said: str, run: Run) -> None:
    result = run("groups", "net.py", "--why", *layers)
    assert (result.exit_code, result.stderr, result.stdout.removesuffix("\n")) == (0, "", said.removesuffix("\n"))
    answer = json.loads(run("groups", "net.py", "--why", *layers, "--json").stdout)
    assert answer["answer"] == said.splitlines()[0]
    assert len(answer["steps"]) == len(said.splitlines()) - 1


@pytest.mark.parametrize("more", [["head"], ["--why", "head", "-o", "g.svg"]])
def test_questions_that_are_not_put_right(more: list[str], run: Run, place: Path) -> None:
    assert run("groups", "net.py", *more).exit_code == 2
    assert not (place / "g.svg").exists()


def test_tied_groups_have_letters_and_colours_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from fxprune.view.terminal import tree

    network = torch.nn.Sequential(*(Residual(4) for _ in range(2)), torch.nn.Conv2d(4, 3, 1))
    network(torch.rand(1, 3, 8, 8))
    console = Console(force_terminal=True, color_system="truecolor", width=120)
    with console.capture() as captured:
        console.print(tree(fxprune.analyze(network, torch.rand(1, 3, 8, 8))))
    shown = captured.get()
    assert shown.count("\x1b[38;2;255;255;255;48;2;0;114;178mA\x1b") == 1
    assert "\x1b[38;2;29;19;0;48;2;230;159;0mB\x1b" in shown
    assert "\x1b[2m///" in shown


class Residual(torch.nn.Module):
    """A convolution, and another added to it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = torch.nn.LazyConv2d(width, 1)
        self.b = torch.nn.LazyConv2d(width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.a(x)
        return y + self.b(y)


def test_fmt_works_in_place_and_keeps_permissions_and_links(run: Run, place: Path) -> None:
    spec = place / "a.prune"
    spec.write_text("# why\ncut   filters 050%\n")
    spec.chmod(0o640)
    (place / "link.prune").symlink_to(spec)
    assert (run("fmt", "--check", "a.prune").exit_code, spec.read_text()) == (1, "# why\ncut   filters 050%\n")
    difference = run("fmt", "--diff", "a.prune")
    assert (difference.exit_code, spec.read_text()) == (0, "# why\ncut   filters 050%\n")
    assert "-cut   filters 050%\n+cut filters 50%\n" in difference.stdout
    assert run("fmt", "link.prune").stdout == "link.prune: formatted\n"
    assert spec.read_text() == "# why\ncut filters 50%\n"
    assert (place / "link.prune").is_symlink()
    assert stat.S_IMODE(spec.stat().st_mode) == 0o640
    assert (run("fmt", "--check", "a.prune").exit_code, run("fmt", "a.prune").stdout) == (0, "")


def test_fmt_goes_on_after_a_mistake(run: Run, place: Path) -> None:
    (place / "bad.prune").write_text("cutt 5\n")
    (place / "good.prune").write_text("cut  filters 50%\n")
    result = run("fmt", "bad.prune", "good.prune")
    assert (result.exit_code, result.stdout) == (1, "good.prune: formatted\n")


def test_fmt_of_stdin_is_printed(run: Run) -> None:
    assert run("fmt", "-", stdin="cut  filters 50%").stdout == "cut filters 50%\n"
    assert run("fmt", "-", stdin=b"\xff\xfe").exit_code == 1


def test_zoo_lists_networks_and_arguments(run: Run) -> None:
    listed = run("zoo").stdout
    assert "zoo:edsr " in listed
    assert "1,369,883" in listed
    assert "final_conv" in run("zoo", "edsr").stdout


def test_settings_are_told_apart() -> None:
    pairs = ["r=70%", "weights=a.pth", "blocks=8", "model.r=2", "blocks=9"]
    assert settings(pairs, ["r"]) == Settings({"r": "70%"}, {"blocks": 9, "r": 2}, "a.pth")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("0.1", 0.1),
        ("1e-4", 1e-4),
        ("10K", 10_000),
        ("25%", 0.25),
        ("yes", True),
        ("False", False),
        ("none", None),
        ("[1, 2]", (1, 2)),
        ("(6, 6, 6)", (6, 6, 6)),
        ("relu", "relu"),
        ('"two words"', "two words"),
        ("a b ! c", "a b ! c"),
        ("", ""),
    ],
)
def test_values_are_typed(text: str, value: object) -> None:
    assert typed(text) == value
    assert type(typed(text)) is type(value)


@pytest.mark.parametrize(
    ("reference", "stem"),
    [("zoo:edsr", "edsr"), ("a/net.py", "net"), ("a/net.py:Big", "net-Big"), ("pkg.nets:make", "nets-make")],
)
def test_output_is_named_after_the_model(reference: str, stem: str) -> None:
    assert stem_of(reference) == stem


@pytest.mark.parametrize(
    ("raised", "code", "last"),
    [
        (
            AssertionError("impossible"),
            70,
            "this is a fault of fxprune, not yours: please report it with the lines above",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (fxprune.FxpruneError("no"), 1, "no"),
    ],
)
def test_exit_codes(raised: BaseException, code: int, last: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **more: object) -> None:
        raise raised

    monkeypatch.setattr(pipeline, "compile", fail)
    result = run("compile", HALF, "net.py", "--json")
    assert result.exit_code == code
    assert result.stderr.splitlines()[-1] == last
    assert ("Traceback" in result.stderr) == (code == 70)
    assert json.loads(result.stdout)["error"]["exit_code"] == code


def test_what_an_interruption_leads_to_is_an_interruption(place: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        front.main(["compile", HALF, "gone.py"], interrupts=[2])
    assert ended.value.code == 130


@pytest.mark.parametrize("arguments", [["compile"], ["compil", "a"], ["check", "a", "--depth"], ["fmt"]])
def test_a_command_that_is_not_written_right(arguments: list[str], run: Run) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: fxprune")


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch, "empty", missing)
    with pytest.raises(InputError, match="not available here: Torch not compiled") as told:
        usable_device("cuda")
    assert str(told.value.diagnostics[0].hint).startswith("there is cpu")


def test_a_setting_that_is_an_argument_is_told_how_to_be_one(run: Run) -> None:
    result = run("compile", "half.prune", "net.py", "weights=net.pth", "scale=2")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "  hint: settings are given by --set: --set weights=net.pth"
