"""load: prompts from a world, or rows of one's own from a file, a folder or the hub (before ILF step 1)."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ilf._load.columns import Converter, Plan
from ilf._load.intake import Intake, named
from ilf._load.layouts import LAYOUTS, SAID
from ilf._load.layouts_sets import arranged
from ilf._load.sources import Source, export_source, file_source, hub_source, newest_commit
from ilf._load.spool import Spool
from ilf.errors import DataError, UsageError, listed, nearest
from ilf.protocols import Row, World
from ilf.records import row_id, seed_of

#: Rows that go to the disk together.
WINDOW = 1000

Job = Literal["critique", "rank", "demonstrate"]

#: Draws of one row after which a world is held to be exhausted.
_DRAWS = 1000
#: Settings that a world takes.
_OF_WORLDS = ("world", "split", "n", "skip", "twins", "seed", "done")


def columns(arguments: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Columns that are read (none), and those that are added, or None where only the hub knows.

    Reads the first row of a file. UsageError where settings, split, file or mapped columns do not fit.
    """
    arguments = {**_defaults(), **arguments}
    _check_settings(arguments)
    if arguments["world"] is not None:
        return (), ("id", "prompt", "facts", *(("twin_of", "group_of") if arguments["twins"] else ()))
    plan, source = _plan(arguments), _source(arguments)
    if arguments["dataset"] is not None:
        # Nothing is asked of the network before the run.
        first: Mapping[str, Any] | None = None if plan.columns is None else {}
    else:
        first = source.first()
        problems = [] if first is None else list(Converter(plan, first).header_problems().values())
        _refuse([f"columns: {source.name} {problem}" for problem in problems])
    if first is None:
        return (), None
    return (), tuple(named(dict.fromkeys(["prompt", *plan.targets(first)]), arguments["job"]))


def load(  # noqa: PLR0913 - the settings of its three kinds of sources
    *,
    world: World | None = None,
    split: str = "train",
    n: int | None = None,
    skip: int = 0,
    twins: bool = False,
    path: str | None = None,
    format: Literal["auto", "jsonl", "csv", "parquet"] = "auto",
    dataset: str | None = None,
    subset: str | None = None,
    revision: str | None = None,
    layout: str | None = None,
    job: Job | None = None,
    columns: dict[str, str | tuple[str, ...]] | None = None,
    values: dict[str, dict[str, Any]] | None = None,
    constants: dict[str, Any] | None = None,
    optional: tuple[str, ...] = (),
    where: dict[str, Any] | None = None,
    part: tuple[float, float] = (0.0, 1.0),
    shuffle: bool = False,
    strip_prefix: dict[str, str] | None = None,
    newlines: Literal["keep", "unix"] = "keep",
    clip: dict[str, tuple[float, float]] | None = None,
    on_problem: Literal["refuse", "drop"] = "refuse",
    seed: int = 0,
    done: int = 0,
) -> Iterator[Row]:
    """The first ``n`` rows of a world's split, of a file or folder (``path``), or of a hub ``dataset``.

    A world's rows come after its first ``skip``: another round's posts, which no earlier one had.
    With ``twins`` every second row of a world is the twin of the one before: the same facts about a person of
    the other group (``group_of``), for measuring bias. Each row gets an ``id``, a hash of its content. All
    rows are checked before the first is given, in memory that does not grow with their number: DataError
    names file, line and column of every problem. The settings are
    explained in ``docs/your-data.md``. ``done`` rows are left out; the rest is what an unbroken run gives.
    """
    arguments = dict(locals())
    _check_settings(arguments)
    if world is not None:
        if twins:
            return _twins(world, split, n or 0, seed, done)
        return _from_world(world, split, skip + (n or 0), seed, skip + done)
    return _from_source(arguments)


def _from_source(arguments: Mapping[str, Any]) -> Iterator[Row]:
    n, shuffle = arguments["n"], arguments["shuffle"]
    with contextlib.closing(Spool()) as spool:
        intake = Intake(
            _source(arguments),
            _plan(arguments),
            spool,
            arguments["job"],
            tuple(arguments["part"]),
            arguments["seed"] if shuffle else None,
        )
        intake.run(n, drop=arguments["on_problem"] == "drop")
        yield from spool.rows(arguments["done"], n, shuffled=shuffle)


def _from_world(world: World, split: str, n: int, seed: int, done: int) -> Iterator[Row]:
    """Row i depends on the seed, the split, i and the prompts before it, never on ``n``."""
    with contextlib.closing(Spool()) as seen:
        for index in range(n):
            rng = random.Random(seed_of(seed, "load", split, index))
            for _ in range(_DRAWS):
                facts = world.facts(rng, split)
                prompt = world.prompt(facts)
                if seen.seen_at(prompt, str(index)) is None:
                    break
            else:
                raise DataError(
                    f"n: the split '{split}' gave {index} different prompts, not {n}; ask for fewer."
                )
            if index >= done:
                yield {"id": row_id({"prompt": prompt}), "prompt": prompt, "facts": facts}


def _twins(world: World, split: str, n: int, seed: int, done: int) -> Iterator[Row]:
    """Posts and their twins in turn, ``n`` rows in all."""
    pairs = (
        {"twin_of": row["id"], "facts": facts}
        for row in _from_world(world, split, (n + 1) // 2, seed, 0)
        for facts in (row["facts"], world.twin(row["facts"]))
    )
    for pair in itertools.islice(pairs, done, n):
        facts = pair["facts"]
        prompt = world.prompt(facts)
        yield {"id": row_id({"prompt": prompt}), "prompt": prompt, **pair, "group_of": world.group(facts)}


def _source(arguments: Mapping[str, Any]) -> Source:
    if arguments["layout"] == "label_studio":
        said = (_plan(arguments).columns or {})[SAID[arguments["job"]]]
        return export_source(arguments["path"], said if isinstance(said, str) else None)
    if arguments["path"] is not None:
        source = file_source(arguments["path"], arguments["format"], arguments["split"])
    else:
        source = hub_source(
            arguments["dataset"], arguments["subset"], arguments["split"], arguments["revision"]
        )
    return dataclasses.replace(source, records=lambda: arranged(source.records(), arguments["layout"]))


def _plan(arguments: Mapping[str, Any]) -> Plan:
    """The plan of the layout, if one is named, with the recipe's own settings over it."""
    base = LAYOUTS[arguments["layout"]][arguments["job"] or ""] if arguments["layout"] else Plan()
    given = arguments["columns"]
    return Plan(
        columns=base.columns if given is None else {**(base.columns or {}), **given},
        values={**base.values, **(arguments["values"] or {})},
        constants=arguments["constants"] or {},
        optional=(*base.optional, *arguments["optional"]),
        where={**base.where, **(arguments["where"] or {})},
        strip_prefix=arguments["strip_prefix"] or {},
        newlines=arguments["newlines"],
        clip=arguments["clip"] or {},
    )


def _defaults() -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(load).parameters.items()}


def _check_settings(arguments: Mapping[str, Any]) -> None:
    """Raises UsageError with all that is wrong with the settings themselves."""
    named_sources = [name for name in ("world", "path", "dataset") if arguments[name] is not None]
    if len(named_sources) != 1:
        told = " and ".join(named_sources) or "none"
        _refuse([f"path: give one of world, path and dataset, not {told} (null takes a default back)."])
    _refuse([*_world_problems(arguments)] if named_sources == ["world"] else [*_source_problems(arguments)])


def _world_problems(arguments: Mapping[str, Any]) -> Iterator[str]:
    split, splits = arguments["split"], arguments["world"].splits
    if split not in splits:
        yield f"split: the world has no '{split}'.{nearest(split, splits)} It has: {', '.join(splits)}"
    if arguments["n"] is None or arguments["n"] < 1:
        yield f"n: a world is endless; say how many rows, not {arguments['n']}."
    elif arguments["skip"] < 0 or (arguments["skip"] and arguments["twins"]):
        yield f"skip: {arguments['skip']} must be 0 or more, and 0 where twins are asked for."
    elif arguments["twins"] and _twin_of_first(arguments) is None:
        yield "twins: this world has no groups of people to swap, so bias cannot be measured in it."
    defaults = _defaults()
    for name, value in arguments.items():
        if name not in _OF_WORLDS and value != defaults[name]:
            yield f"{name}: belongs to path and dataset, not to a world."


def _twin_of_first(arguments: Mapping[str, Any]) -> Any:
    world, split = arguments["world"], arguments["split"]
    return world.twin(world.facts(random.Random(0), split)) if split in world.splits else {}


def _source_problems(arguments: Mapping[str, Any]) -> Iterator[str]:
    layout, part, n = arguments["layout"], arguments["part"], arguments["n"]
    if n is not None and n < 1:
        yield f"n: {n} rows were asked for, must be 1 or more."
    if len(part) != 2 or not 0 <= part[0] < part[1] <= 1:
        yield f"part: {list(part)} must be [low, high] with 0 <= low < high <= 1."
    yield from _hub_problems(arguments)
    if layout is not None and layout not in LAYOUTS:
        yield f"layout: no layout '{layout}'.{nearest(layout, LAYOUTS)} Layouts: {', '.join(LAYOUTS)}"
    elif layout == "label_studio" and arguments["path"] is None:
        yield "layout: label_studio is an exported file; give it as path."
    elif layout is not None and (arguments["job"] or "") not in LAYOUTS[layout]:
        jobs = ", ".join(job for job in LAYOUTS[layout] if job)
        yield (
            f"job: the layout {layout} needs one of: {jobs}"
            if jobs
            else f"job: the rows of {layout} are no annotations; leave it out."
        )
    else:
        yield from _plan(arguments).problems()


def _hub_problems(arguments: Mapping[str, Any]) -> Iterator[str]:
    dataset, revision = arguments["dataset"], arguments["revision"]
    if dataset is None:
        given = [name for name in ("subset", "revision") if arguments[name] is not None]
        yield from (f"{name}: belongs to a dataset of the hub." for name in given)
    elif not re.fullmatch("[0-9a-f]{40}", revision or ""):
        # A branch moves: the same recipe would come to mean other rows, without a change of its address.
        newest = newest_commit(dataset)
        now = f" It is now at {newest}." if newest else " Its page lists them (Files, History)."
        yield f"revision: name the commit of '{dataset}' that is meant (40 hex digits), not {revision}.{now}"


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise UsageError(
            problems[0] if len(problems) == 1 else f"{len(problems)} problems:\n{listed(problems)}"
        )
