"""ilf try: a model answers prompts in the terminal, beside another one where asked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ilf.commands._parser import Parser, Subparsers, add_command, add_json, add_runs, count
from ilf.commands._terminal import cells, clipped, json_text, number, width, wrapped
from ilf.errors import UsageError, nearest


class Ask(NamedTuple):
    """A prompt, what is known about its truth, and the world that knows it."""

    prompt: str
    facts: Any = None
    world: Any = None

    def grade(self, answer: str) -> float | None:
        """The world's grade of an answer, or None where there is no world."""
        if self.world is None:
            return None
        grade = self.world.grade(self.facts, answer).get("grade")
        return float(grade) if isinstance(grade, (int, float)) else None


def add(subparsers: Subparsers) -> None:
    """Adds ``ilf try``."""
    parser = add_command(
        subparsers,
        "try",
        try_model,
        "answer prompts with a model, or with two side by side",
        more="MODEL is the shipped model (nano), a trained step (nano/train), a folder, or a hub id.\n"
        "Prompts come from --prompt, from a world (--example), or line by line from stdin.",
        examples=(
            "ilf try nano --example 2",
            "ilf try nano/train --against nano --example 3",
            "ilf try ./my-model --prompt 'Why is the sky blue?' -n 2 --temperature 0.7",
            r"ilf try nano --form 'POST: {prompt}\nTL;DR:' --prompt 'I am Tom. I broke my kettle.'",
            "cat prompts.txt | ilf try ./my-model --json",
        ),
    )
    parser.add_argument("model", metavar="MODEL", help="the model that answers")
    parser.add_argument("--against", metavar="MODEL2", help="another model, its answers beside")
    parser.add_argument(
        "--prompt", action="append", metavar="TEXT", help="a prompt; may be given several times"
    )
    parser.add_argument(
        "--example", nargs="?", const=1, type=count, metavar="N", help="N prompts of the world (default: 1)"
    )
    parser.add_argument(
        "--form",
        type=_form,
        default="{prompt}",
        metavar="TEXT",
        help=r"what a prompt is put into, \n for a new line (nano: 'POST: {prompt}\nTL;DR:')",
    )
    parser.add_argument("--world", default="nano", metavar="NAME", help="world of --example (default: nano)")
    _add_sampling(parser)
    add_runs(parser)
    add_json(parser)


def _add_sampling(parser: Parser) -> None:
    parser.add_argument("-n", type=count, default=1, metavar="N", help="answers per prompt (default: 1)")
    parser.add_argument(
        "--temperature", type=_heat, default=1.0, metavar="T", help="0 is greedy (default: 1)"
    )
    parser.add_argument("--max-new-tokens", type=count, default=128, metavar="N", help="default: 128")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="SEED", help="same seed, same answers (default: 0)"
    )


def _form(text: str) -> str:
    if "{prompt}" not in text:
        raise argparse.ArgumentTypeError(f"'{text}' has no place for the {{prompt}}")
    return text.replace("\\n", "\n")


def _heat(text: str) -> float:
    try:
        heat = float(text)
    except ValueError:
        heat = -1.0
    if not 0.0 <= heat < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no temperature; give 0 or more")
    return heat


def try_model(arguments: argparse.Namespace) -> int:
    """Answers every prompt as it comes."""
    if arguments.prompt and arguments.example:
        raise UsageError("--prompt and --example: give one of them.")
    names = [arguments.model, *([arguments.against] if arguments.against else [])]
    folders = [_model(name, Path(arguments.runs)) for name in names]
    asks = _asks(arguments)
    models = [_loaded(folder, arguments) for folder in folders]
    answered = []
    for index, ask in enumerate(asks):
        answers = [_answers(model, ask, index, arguments) for model in models]
        if arguments.json:
            answered.append(_as_json(ask, names, answers))
        else:
            print(_as_text(ask, names, answers), end="\n\n", flush=True)
    if arguments.json:
        print(json_text({"temperature": arguments.temperature, "seed": arguments.seed, "answers": answered}))
    return 0


def _model(name: str, runs: Path) -> str:
    """A model by its shipped name, folder, step, or hub id."""
    from ilf.commands import _runs
    from ilf.recipe import SHIPPED
    from ilf.run import model_path
    from ilf.store import MODEL

    if name in SHIPPED:
        return model_path(name, {})
    if (Path(name) / "config.json").is_file() or (Path(name) / "adapter_config.json").is_file():
        return name
    try:
        folder, others = _runs.find_step(name, runs)
    except UsageError:
        return _hub_id(name, runs)
    if not (folder / MODEL).is_dir():
        raise UsageError(f"{folder} has no model; name a train step.")
    if others:
        print(_runs.others_note(folder, others), file=sys.stderr)
    return str(folder / MODEL)


def _hub_id(name: str, runs: Path) -> str:
    """A name that is nothing here may be one of the hub, unless it looks like something that is here."""
    from ilf.commands._runs import runs_in, steps_in
    from ilf.recipe import SHIPPED

    found = runs_in(runs)
    known = [*SHIPPED, *(step.name for run in found for step in steps_in(run))]
    near = "" if "/" in name else nearest(name, known)
    owner = name.partition("/")[0]
    is_local = Path(name).exists() or Path(owner).is_dir() or owner in [run.name for run in found]
    if near or is_local or name.count("/") > 1:
        raise UsageError(
            f"no model '{name}': not shipped ({', '.join(SHIPPED)}), no folder of a model, no trained step "
            f"in {runs}, no hub id.{near} See: ilf try --help"
        )
    return name


def _asks(arguments: argparse.Namespace) -> Iterator[Ask]:
    from rankers import fill

    if arguments.example:
        return _examples(arguments.world, arguments.example, arguments.seed)
    texts = iter(arguments.prompt) if arguments.prompt else _stdin_lines()
    return (Ask(fill(arguments.form, {"prompt": text})) for text in texts)


def _examples(name: str, n: int, seed: int) -> Iterator[Ask]:
    import random

    from ilf.config import find
    from ilf.records import seed_of

    world = find("World", name)()
    for index in range(n):
        facts = world.facts(random.Random(seed_of(seed, "try", index)), "test")
        yield Ask(world.prompt(facts), facts, world)


def _stdin_lines() -> Iterator[str]:
    if sys.stdin.isatty():
        print("A prompt a line; Ctrl-D ends.", file=sys.stderr)
    while True:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")


def _loaded(model: str, arguments: argparse.Namespace) -> Any:
    from ilf.generators.transformers_lm import TransformersLM

    return TransformersLM(
        model=model, temperature=arguments.temperature, max_new_tokens=arguments.max_new_tokens
    )


def _answers(model: Any, ask: Ask, index: int, arguments: argparse.Namespace) -> Sequence[str]:
    from ilf.records import seed_of

    answers: list[list[str]] = model.generate(
        [ask.prompt], arguments.n, [seed_of(arguments.seed, "try", index)]
    )
    return answers[0]


def _as_json(ask: Ask, names: Sequence[str], answers: Sequence[Sequence[str]]) -> Mapping[str, Any]:
    def told(name: str, texts: Sequence[str]) -> dict[str, Any]:
        grades = {"grades": [ask.grade(t) for t in texts]} if ask.world is not None else {}
        return {"model": name, "outputs": list(texts), **grades}

    return {"prompt": ask.prompt, "models": [told(n, t) for n, t in zip(names, answers, strict=True)]}


def _as_text(ask: Ask, names: Sequence[str], answers: Sequence[Sequence[str]]) -> str:
    columns = width() if len(names) == 1 else (width() - 3) // 2
    blocks = [_block(ask, name, texts, columns) for name, texts in zip(names, answers, strict=True)]
    body = blocks[0] if len(blocks) == 1 else _beside(blocks[0], blocks[1], columns)
    return "\n".join([wrapped(ask.prompt, width()), "", *body])


def _block(ask: Ask, name: str, texts: Sequence[str], columns: int) -> list[str]:
    lines = [clipped(name, columns)]
    for text in texts:
        grade = ask.grade(text)
        told = "" if ask.world is None else f"   [grade {number(grade)}]"
        lines += wrapped((text.strip() or "(nothing)") + told, columns, "  ").split("\n")
    return lines


def _beside(left: Sequence[str], right: Sequence[str], columns: int) -> list[str]:
    height = max(len(left), len(right))
    padded = [[*block, *[""] * (height - len(block))] for block in (left, right)]
    return [f"{a}{' ' * (columns - cells(a))} | {b}".rstrip() for a, b in zip(*padded, strict=True)]
