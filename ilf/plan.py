"""Planning: the steps of a recipe, checked whole before any work, and which arms share which steps."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ilf.config import MODEL_SETTINGS, Spec, parameters, resolve
from ilf.errors import IlfError, UsageError, listed, nearest
from ilf.records import digest

#: The verbs, in the order of the loop. Each is a function of that name in a module of that name.
VERBS = (
    "load",
    "sample",
    "select",
    "collect",
    "settle",
    "buy",
    "unlabel",
    "refine",
    "choose",
    "choice",
    "pair",
    "train",
    "evaluate",
)
#: Verbs that ask a source of feedback; they are told where it keeps what people say.
ASKING = ("collect", "settle")
#: Keys at the top of a recipe that are not defaults of settings.
RESERVED = ("about", "steps", "compare", "threads")
#: Settings that name a file; relative ones belong to the recipe's folder.
PATH_SETTINGS = ("path", "gold")


@dataclass(frozen=True)
class PlannedStep:
    """One checked step: which verb runs with which settings on the rows of which steps."""

    name: str
    verb: str
    reads: tuple[str, ...]
    spec: Spec
    threads: int | None = None

    @property
    def module(self) -> ModuleType:
        """The verb's module."""
        return verb_module(self.verb)

    @property
    def asks_people(self) -> bool:
        """Whether this step may ask people."""
        return self.verb in ASKING

    @property
    def models_from(self) -> tuple[str, ...]:
        """Names of the steps whose trained model this step uses."""
        return tuple(m.removeprefix("steps.") for m in self.spec.models() if m.startswith("steps."))

    @property
    def inputs(self) -> tuple[str, ...]:
        """All steps that must be finished before this one."""
        return tuple(dict.fromkeys((*self.reads, *self.models_from)))


def verb_module(verb: str) -> ModuleType:
    """The module of a verb (``ilf.refine`` is the function, so that it can be imported from ilf)."""
    return importlib.import_module(f"ilf.{verb}")


def plan_steps(raw: Mapping[str, Any], folder: Path) -> list[PlannedStep]:
    """The checked steps of a recipe in order; UsageError lists all its problems at once."""
    problems: list[str] = []
    steps = _steps(raw, folder, problems)
    if not problems:
        _check_columns(steps, problems)
    if problems:
        where = folder / "recipe.yaml"
        raise UsageError(f"{where}: {len(problems)} problem(s), nothing was run:\n{listed(problems)}")
    return steps


def _steps(raw: Mapping[str, Any], folder: Path, problems: list[str]) -> list[PlannedStep]:
    defaults = {k: v for k, v in raw.items() if k not in RESERVED}
    threads = raw.get("threads")
    if threads is not None and (not isinstance(threads, int) or isinstance(threads, bool) or threads < 1):
        problems.append(f"threads: {threads!r} must be a whole number above 0.")
    planned: list[PlannedStep] = []
    settings_seen: set[str] = set()
    for name, given in raw["steps"].items():
        settings = dict(given or {}) if isinstance(given, Mapping) or given is None else None
        if settings is None:
            problems.append(f"{name}: a step is a mapping of settings, not {given!r}.")
            continue
        verb = settings.pop("do", name)
        if verb not in VERBS:
            problems.append(f"{name}: no verb '{verb}'.{nearest(verb, VERBS)} Verbs: {', '.join(VERBS)}")
            continue
        function = getattr(verb_module(verb), verb)
        settings_seen.update(parameters(function))
        reads = _reads(name, verb, settings.pop("reads", None), [s.name for s in planned], problems)
        spec = _spec(function, verb, name, located(settings, folder), defaults, problems)
        settings_seen.update(_setting_names(spec))
        step = PlannedStep(name, verb, reads, spec, threads)
        _check_models(step, planned, problems)
        planned.append(step)
    problems += [
        f"{key}: no step has a setting of this name.{nearest(key, [*settings_seen, *RESERVED])}"
        for key in defaults
        if key not in settings_seen
    ]
    return planned


def _spec(
    function: Callable[..., Any],
    verb: str,
    name: str,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
    problems: list[str],
) -> Spec:
    """A step's settings; a key that the verb does not have is a default for the step's components."""
    own = {k: v for k, v in settings.items() if k in parameters(function)}
    if "start" in parameters(function) and "start" not in defaults and "model" in defaults:
        # A recipe's model is also the one that training starts from.
        own = {"start": defaults["model"], **own}
    inner = {k: v for k, v in settings.items() if k not in own}
    spec = resolve(function, verb, own, name, {**defaults, **inner}, problems)
    names = _setting_names(spec)
    problems += [
        f"{name}.{key}: unknown setting of {verb}.{nearest(key, names)}" for key in inner if key not in names
    ]
    return spec


def _setting_names(spec: Spec) -> set[str]:
    names = set(parameters(spec.target))
    for value in spec.settings.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Spec):
                names |= _setting_names(item)
    return names


def located(settings: Any, folder: Path) -> Any:
    """Settings of a verb or component with relative paths made absolute from the recipe's folder.

    A mapping without a name is no component: its keys are the user's own words.
    """
    if isinstance(settings, Mapping):
        return {
            key: str((folder / value).resolve())
            if (key in PATH_SETTINGS and isinstance(value, str) and value)
            or (key in MODEL_SETTINGS and isinstance(value, str) and value.startswith("."))
            else located(value, folder)
            if isinstance(value, list) or (isinstance(value, Mapping) and "name" in value)
            else value
            for key, value in settings.items()
        }
    return [located(item, folder) for item in settings] if isinstance(settings, list) else settings


def _reads(name: str, verb: str, given: Any, before: Sequence[str], problems: list[str]) -> tuple[str, ...]:
    if given is None:
        return () if verb == "load" or not before else (before[-1],)
    reads = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else None
    if reads is None:
        problems.append(f"{name}.reads: {given!r} must be the name of an earlier step, or a list of names.")
        return ()
    unknown = [step for step in reads if step not in before]
    problems += [f"{name}.reads: no earlier step '{s}'.{nearest(str(s), before)}" for s in unknown]
    return reads


def _check_models(step: PlannedStep, before: Sequence[PlannedStep], problems: list[str]) -> None:
    trained = [s.name for s in before if s.verb == "train"]
    problems += [
        f"{step.name}: steps.{name} is no earlier train step.{nearest(name, trained)}"
        for name in step.models_from
        if name not in trained
    ]


def _check_columns(steps: Sequence[PlannedStep], problems: list[str]) -> None:
    """Follows the columns through the steps; where they cannot be known (a hub dataset) the check stops."""
    flow: dict[str, set[str] | None] = {}
    for step in steps:
        known = [flow.get(name) for name in step.reads]
        have = (
            None
            if any(k is None for k in known)
            else set.intersection(*(k or set() for k in known or [set()]))
        )
        try:
            needs, adds = step.module.columns(step.spec.arguments())
        except (IlfError, ValueError) as error:  # a component refuses its settings
            problems.append(f"{step.name}: {error}")
            flow[step.name] = None
            continue
        if have is not None and (step.reads or needs):
            for column in (c for c in needs if c not in have):
                source = [s.name for s in steps if column in (flow.get(s.name) or ())]
                hint = f" It is added by: {', '.join(source)}." if source else ""
                givers = " + ".join(step.reads) or "no step"
                problems.append(
                    f"{step.name}: needs column '{column}', which {givers} does not give."
                    f"{hint}{nearest(column, have)}"
                )
        removes: frozenset[str] = getattr(step.module, "REMOVES", frozenset())
        flow[step.name] = None if have is None or adds is None else (have - removes) | set(adds)


def ancestors(steps: Sequence[PlannedStep], *targets: str) -> list[PlannedStep]:
    """The target steps and all that they need, in order."""
    by_name = {step.name: step for step in steps}
    for target in targets:
        if target not in by_name:
            raise UsageError(f"the recipe has no step '{target}'.{nearest(target, by_name)}")
    wanted: set[str] = set()
    queue = list(targets)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue.extend(by_name[name].inputs)
    return [step for step in steps if step.name in wanted]


def keys(steps: Sequence[PlannedStep]) -> dict[str, str]:
    """A key per step from its settings and those of all that it depends on: equal keys, equal work.

    Unlike the address it is known before anything was run; arms share the steps whose keys are equal.
    """
    found: dict[str, str] = {}
    for step in steps:

        def model_id(reference: str) -> str:
            return (
                found.get(reference.removeprefix("steps."), reference)
                if reference.startswith("steps.")
                else reference
            )

        found[step.name] = digest(
            [
                step.name,
                step.verb,
                step.spec.described(model_id, speed_only=True),
                [found[r] for r in step.reads],
                step.threads,
            ]
        )
    return found
