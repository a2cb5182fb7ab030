"""The command line as a whole: what it costs to load, exit statuses, errors, signals, help, its reference."""

from __future__ import annotations

import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ilf.__main__ as entry
from ilf.commands import run
from ilf.errors import DataError, Waiting
from rankers import RankerError

ROOT = Path(__file__).parents[2]
_, COMMANDS = entry.parser()
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "numpy",
    "pyarrow",
    "sentence_transformers",
    "peft",
    "tqdm",
    "evaluate",
}


def loaded(*words: str) -> set[str]:
    """Top-level modules that a command has imported when it ends."""
    code = "import sys; from ilf.__main__ import main; main(sys.argv[1:]); print('loaded', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    return {name.partition(".")[0] for name in done.stdout.rpartition("loaded ")[2].split()}


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("list",), ("show",), ("--version",)])
def test_nothing_heavy_is_loaded(words: tuple[str, ...]) -> None:
    assert not loaded(*words) & (HEAVY | {"yaml"})


def test_recipes_are_read_without_anything_heavy(tmp_path: Path) -> None:
    assert not loaded("recipes") & HEAVY
    assert not loaded("init", str(tmp_path / "mine"), "--from", "nano") & HEAVY


def cpu_seconds(*words: str) -> float:
    """Least processor time of five runs of Python with these arguments."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_comes_at_once() -> None:
    assert cpu_seconds("-m", "ilf", "--help") - cpu_seconds("-c", "pass") < 0.15


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_that_parse_and_fits(name: str, ilf: Any) -> None:
    said = ilf(name, "--help")
    assert said.status == 0
    assert "examples:" in said.out
    assert all(len(line) <= 80 for line in said.out.partition("examples:")[0].splitlines())
    assert COMMANDS[name].examples
    for example in COMMANDS[name].examples:
        words = shlex.split(
            example.partition(" | ")[0] if example.startswith("ilf") else example.split("| ")[-1]
        )
        words = words[words.index("ilf") + 1 :]
        words = words[: words.index(">")] if ">" in words else words
        parsed, rest = entry.parser()[0].parse_known_args(words)
        assert parsed.command == name
        assert not [word for word in rest if "=" not in word], example


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu", "nano"], "no command 'rnu'. Did you mean 'run'?"),
        (["run", "nanno"], "no recipe 'nanno'"),
        (["run", "nanno"], "Did you mean 'nano'?"),
        (["run", "nano", "--dryrun"], "Did you mean '--dry-run'?"),
        (["run"], "the following arguments are required: RECIPE"),
        (["run", "nano", "--until"], "expected one argument"),
        (["export", "x", "--format", "trl-spo"], "Did you mean 'trl-dpo'?"),
        (["list", "rankrs"], "no family 'rankrs'. Did you mean 'rankers'?"),
        (["show", "nono"], "no run or step 'nono'"),
        (["show", "nano", "-n", "0"], "'0' is no whole number above 0"),
        (["run", "nano", "choose.ranker"], "write key=value"),
        (["run", "nano", "chose.ranker=length"], "Did you mean 'choose'?"),
    ],
)
def test_a_wrong_command_line_is_status_2_with_the_nearest_word(
    ilf: Any, words: list[str], told: str
) -> None:
    said = ilf(*words)
    assert said.status == 2
    assert said.err.startswith("ilf: error: ")
    assert told in said.err
    assert not said.out
    assert "Traceback" not in said.err


def test_without_a_command_the_help_is_shown(ilf: Any) -> None:
    said = ilf()
    assert said.status == 2
    assert "commands:" in said.err


def test_version(ilf: Any) -> None:
    assert ilf("--version").out.startswith("ilf ")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setattr(run, "run", fail)


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (DataError("file x, row 3"), 1, "ilf: error: file x, row 3"),
        (RankerError("no model"), 1, "ilf: error: no model"),
        (Waiting("4 of 9 are annotated"), 75, "ilf: waiting: 4 of 9 are annotated"),
        (OSError(28, "No space left on device", "x"), 1, "No space left on device: 'x'"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on"),
        (entry.Terminated(), 143, "interrupted; run the same command again to go on"),
        (
            ModuleNotFoundError("No module named 'yaml'", name="yaml"),
            1,
            "the package 'yaml' is not installed",
        ),
        (DataError("\x1b[2Jgone"), 1, "ilf: error: \\x1b[2Jgone"),
    ],
)
def test_an_error_is_told_without_a_traceback(
    ilf: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, told: str
) -> None:
    failing(monkeypatch, error)
    said = ilf("run", "nano")
    assert said.status == status
    assert told in said.err
    assert "Traceback" not in said.err


def test_the_traceback_is_there_for_those_who_ask(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DataError("row 3"))
    assert "Traceback" in ilf("run", "nano", "--debug").err
    monkeypatch.setenv("ILF_DEBUG", "1")
    assert "Traceback" in ilf("run", "nano").err


def test_a_fault_of_our_own_shows_where(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyError("lost"))
    said = ilf("run", "nano")
    assert said.status == 1
    assert "Traceback" in said.err
    assert "this is a fault of ilf, please report it" in said.err


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_no_secret_is_told(ilf: Any, monkeypatch: pytest.MonkeyPatch, debug: tuple[str, ...]) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "s3cret-value")
    failing(monkeypatch, DataError("401 for s3cret-value"))
    said = ilf("run", "nano", *debug)
    assert "s3cret" not in said.err
    assert "[LABEL_STUDIO_API_KEY]" in said.err


def test_a_reader_that_leaves_is_no_error(command: Any) -> None:
    process = command("list")
    process.stdout.close()  # before a word was written
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_terminal_without_the_letters_ends_no_command(command: Any, tmp_path: Path, step: Any) -> None:
    step(tmp_path / "runs" / "r" / "choose-0123456789", [{"id": "1", "prompt": "né 日本"}])
    process = command("show", "choose", env={"PYTHONIOENCODING": "ascii"}, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "n\\xe9 \\u65e5\\u672c" in out


def test_the_reference_is_what_the_parsers_say() -> None:
    """Make it again: python -m ilf.commands._reference > docs/cli.md."""
    from ilf.commands._reference import reference

    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference()


def test_only_the_command_line_knows_the_commands() -> None:
    """Everything points down: no other file of ilf, and nothing in rankers, imports them."""
    for package in ("ilf", "rankers"):
        for path in (ROOT / package).rglob("*.py"):
            if path.parent.name != "commands" and path.name != "__main__.py":
                assert "ilf.commands" not in path.read_text(encoding="utf-8"), path


def test_every_command_is_in_the_help(ilf: Any) -> None:
    told = ilf("--help").out
    assert list(COMMANDS) == [
        "run",
        "plan",
        "compare",
        "report",
        "list",
        "recipes",
        "init",
        "show",
        "curves",
        "export",
        "try",
        "label-studio",
        "assist",
        "agreement",
        "verdict",
        "forget",
        "doctor",
        "clean",
    ]
    assert all(re.search(rf"^    {name}\s", told, re.MULTILINE) for name in COMMANDS)
