"""What contract tests feed components with. A new component is tested without an edit while this table suffices.

A row is made from the columns that a component says it needs, a component from the settings that have no default.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import random
import typing
from pathlib import Path
from typing import Any

from tiny_classifiers import tiny_classifier
from tiny_models import tiny_model, tiny_reward_model

from ilf.config import MODEL_SETTINGS, family_of, find, modules, parameters, resolve
from ilf.records import COLUMNS

Row = dict[str, Any]
#: Texts to judge: good, bad, none at all, and not meant for this world.
OUTPUTS = (
    " Tom broke his kettle, which cost 270 coins.",
    " Anna is a fool.",
    "",
    "\x00 ??? 日本 \u2028",
    "    return a + b\n",
)
#: The component that stands in where another of its family is asked for.
STAND_INS = {"World": "nano", "Ranker": "length", "Grader": "exact_match", "Generator": "toys.echo"}
#: Values of columns that COLUMNS does not describe.
SPECIAL: dict[str, Any] = {
    "reference": "Tom broke a kettle; it cost 270 coins.",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)\n",
    "options": ["a lamp", "a kettle", "I have no comment."],
    "correct": [0, 1, 0],
}
#: Settings that a component of some family needs here although it has defaults for them.
GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("Grader", "classifier"): {"label": "toxic"},
    # Rows of the contract have two outputs.
    ("Grader", "worst_of"): {"n": 2, "grader": "lexicon"},
    ("Grader", "combined"): {"graders": ["token_f1", "lexicon"]},
}
#: What is said about an output: one fault, two, none; critiques that are all alike rank nothing.
CRITIQUES = ("The price is missing.", "Hm, say the town; and do not call her a fool.", "Nothing to change.")
GENERAL: dict[str, Any] = {
    "str": "r0",
    "text": "def add(a, b):\n",
    "text or messages": "def add(a, b):\n",
    "list of texts": list(OUTPUTS[:3]),
    "number": 12.5,
    "list of numbers": [0.5, 0.25, 0.0],
    "list of groups": [[1], [0, 2]],
}


def names(family: str) -> list[str]:
    """Every component of a family, by the files in its folders."""
    return sorted(modules(family))


def public_class(family: str, name: str) -> type:
    """The component's class, with what holds for all families asserted."""
    cls = find(family, name)
    assert isinstance(cls, type)
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen, "settings never change: frozen=True"  # type: ignore[attr-defined]
    assert "".join(part for part in name.split("_")).lower() in cls.__name__.lower(), (
        "the file is named like the class"
    )
    assert isinstance(getattr(cls, "revision", None), int), "revision: ClassVar[int]"
    assert "revision" not in {field.name for field in dataclasses.fields(cls)}
    doc = inspect.getdoc(cls) or ""
    first = doc.partition("\n")[0]
    assert first, "the first line of the docstring is shown by `ilf list`"
    assert not first.startswith(f"{cls.__name__}("), "the docstring is the one that dataclass makes up"
    return cls


def build(family: str, name: str, folder: Path, **given: Any) -> Any:
    """The component as a recipe would make it, with values for the settings that have no default."""
    cls = public_class(family, name)
    given = {**GIVEN.get((family, name), {}), **given}
    if name == "classifier" and "model" not in given:
        given["model"] = str(_classifier(folder))
    hints = typing.get_type_hints(cls)
    for key, parameter in parameters(cls).items():
        if key not in given and parameter.default in (inspect.Parameter.empty, ""):
            value = _setting(key, hints[key], folder)
            if value is not None:
                given[key] = value
    problems: list[str] = []
    spec = resolve(cls, name, given, name, {"device": "cpu"} if "device" in parameters(cls) else {}, problems)
    assert not problems, f"{problems}\nA setting without a default needs a value in tests/contract_cases.py"
    return spec.build()


def _setting(key: str, hint: Any, folder: Path) -> Any:
    if key == "reward":
        return str(_reward_model(folder))
    if key == "memory":
        return str(_memory(folder))
    if key in MODEL_SETTINGS:
        return str(_model(folder))
    if key == "path":
        return str(folder / "answers.jsonl")
    return STAND_INS.get(family_of(hint) or "")


@functools.cache
def _model(folder: Path) -> Path:
    return tiny_model(folder / "model", chat=True)


@functools.cache
def _reward_model(folder: Path) -> Path:
    return tiny_reward_model(folder / "given-reward", _model(folder))


@functools.cache
def _classifier(folder: Path) -> Path:
    return tiny_classifier(folder / "given-classifier", _model(folder))


@functools.cache
def _memory(folder: Path) -> Path:
    """What strategies without weights write: past critiques of nano's posts, and an instruction."""
    memory = folder / "given-memory"
    memory.mkdir()
    rows = [
        {key: row[key] for key in ("prompt", "output", "critique")}
        for row in rows_for(("prompt", "output", "critique"))
    ]
    (memory / "critiques.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (memory / "instruction.txt").write_text("Say what it cost.\n")
    return memory


def rows_for(needs: tuple[str, ...], *, n_posts: int = 3) -> list[Row]:
    """Rows with the columns of a sample and those in ``needs``: every text of OUTPUTS, and answers to nano's posts."""
    world = find("World", "nano")()
    rows: list[Row] = []
    for i in range(n_posts):
        rng = random.Random(i)
        facts = world.facts(rng, "train")
        prompt = world.prompt(facts)
        for output in (world.demonstrate(rng, facts), world.faulty(rng, facts), *OUTPUTS):
            row = {"id": f"r{len(rows)}", "sample_id": f"r{len(rows)}", "prompt": prompt, "output": output}
            pair = {"chosen": f" {world.demonstrate(rng, facts)}", "rejected": f" {world.faulty(rng, facts)}"}
            row |= {column: text for column, text in pair.items() if column in needs}
            if "ranking" in needs:
                row["outputs"] = list(OUTPUTS[:3])
            rows.append({"outputs": [output, world.faulty(rng, facts)], **row, **_columns(needs, row, facts)})
    return rows


def _columns(needs: tuple[str, ...], row: Row, facts: Any) -> Row:
    special = {**SPECIAL, "facts": facts, "critique": CRITIQUES[len(row["output"]) % len(CRITIQUES)]}
    missing = [column for column in needs if column not in row]
    unknown = [column for column in missing if column not in special and column not in COLUMNS]
    assert not unknown, f"tests/contract_cases.py has no value for the column(s) {unknown}"
    return {column: special[column] if column in special else GENERAL[COLUMNS[column]] for column in missing}
