"""Recipes: YAML, dotted overrides, and the check of the whole recipe before any work.

A recipe names steps; a step is a verb with settings. It reads the step before it unless ``reads`` says
otherwise, and is named like its verb unless ``do`` says otherwise. A key at the top of a recipe (``seed``,
``model``, ``world`` ...) is the default of every setting of that name; so is a key of a step, for what is
inside that step. A recipe that ``extends`` another is that one with the dotted overrides of its ``set``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf.config import MODEL_SETTINGS
from ilf.errors import UsageError, listed, nearest
from ilf.plan import PATH_SETTINGS, PlannedStep, ancestors, located, plan_steps

#: Models that ship with ilf: name -> folder below the package.
SHIPPED = {
    "nano": "worlds/checkpoints/nano",
    "word_removal_small": "worlds/checkpoints/word_removal_small",
    "word_removal_medium": "worlds/checkpoints/word_removal_medium",
    "word_removal_large": "worlds/checkpoints/word_removal_large",
}


def shipped(name: str) -> str:
    """The folder of a model that ships with ilf, for use from Python (a recipe just says ``model: nano``)."""
    if name not in SHIPPED:
        raise UsageError(
            f"no shipped model '{name}'.{nearest(name, SHIPPED)} There are: {', '.join(SHIPPED)}"
        )
    return str(Path(__file__).parent / SHIPPED[name])


@dataclass(frozen=True)
class Recipe:
    """A recipe as read, overrides applied; ``plan`` checks it."""

    name: str
    folder: Path
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """One sentence saying what the recipe does."""
        return str(self.raw.get("about", "")).strip()

    def override(self, overrides: Mapping[str, Any]) -> Recipe:
        """A copy with dotted keys replaced, e.g. ``{"choose.ranker": "chance", "seed": 3}``.

        None takes a setting out, as if the recipe did not say it.
        """
        raw = _unshared(self.raw)
        for key, value in overrides.items():
            _override(raw, key, value)
        return Recipe(self.name, self.folder, raw)

    def plan(self, *targets: str) -> list[PlannedStep]:
        """The steps in order, everything checked; with targets only what those steps need.

        UsageError lists every problem of the recipe at once.
        """
        steps = plan_steps(self.raw, self.folder)
        return ancestors(steps, *targets) if targets else steps


def recipes_folder() -> Path:
    """The folder of the packaged recipes, in a checkout or in an installed wheel."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.exists() else Path(__file__).parent.parent / "recipes"


def packaged() -> dict[str, Path]:
    """Name -> folder of every packaged recipe."""
    return {p.parent.name: p.parent for p in sorted(recipes_folder().glob("*/recipe.yaml"))}


def read_recipe(name: str) -> Recipe:
    """Reads a recipe by the path of its file or folder, or by the name of a packaged one."""
    return _parse(_found(name, Path()))


def _found(name: str, folder: Path) -> Path:
    path = folder / name
    for candidate in (path, path / "recipe.yaml"):
        if candidate.is_file():
            return candidate
    known = packaged()
    if name not in known:
        raise UsageError(f"no recipe '{name}': neither a file, a folder with recipe.yaml, nor one of "
                         f"{', '.join(known)}.{nearest(name, known)} See: ilf recipes")  # fmt: skip
    return known[name] / "recipe.yaml"


def _parse(path: Path, extending: tuple[Path, ...] = ()) -> Recipe:
    import yaml

    path = path.resolve()
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {error}") from None
    name = path.parent.name if path.name == "recipe.yaml" else path.stem
    if isinstance(raw, dict) and "extends" in raw:
        return Recipe(name, path.parent, _extended(path, raw, (*extending, path)))
    if not isinstance(raw, dict) or not isinstance(raw.get("steps"), dict) or not raw["steps"]:
        raise UsageError(
            f"{path}: a recipe is a mapping with 'steps', each a verb with settings. See: ilf init --help"
        )
    return Recipe(name, path.parent, raw)


#: What a recipe that extends another may say.
_EXTENDING = ("about", "extends", "set")


def _extended(path: Path, raw: Mapping[str, Any], extending: tuple[Path, ...]) -> dict[str, Any]:
    """The other recipe, found from this one's folder or among the packaged, with this one's overrides."""
    overrides = raw.get("set") or {}
    problems = [
        f"{key}: a recipe that extends another says {', '.join(_EXTENDING)}; write it under 'set'."
        for key in raw
        if key not in _EXTENDING
    ]
    if not isinstance(overrides, Mapping):
        problems.append(f"set: must be a mapping of dotted keys, is {overrides!r}.")
    if problems:
        raise UsageError(f"{path}: {len(problems)} problem(s):\n{listed(problems)}")
    try:
        other = _found(str(raw["extends"]), path.parent)
        if other.resolve() in extending:
            raise UsageError(f"extends itself, by way of {raw['extends']}.")
        base = _parse(other, extending)
        # What the other recipe names by a relative path lies beside it, not beside this one.
        steps = {name: located(given, base.folder) for name, given in base.raw["steps"].items()}
        extended = Recipe(base.name, base.folder, {**base.raw, "steps": steps}).override(overrides)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return {**extended.raw, **({"about": raw["about"]} if "about" in raw else {})}


def _loader() -> Any:
    """PyYAML's safe loader, refusing a key that stands twice (YAML would silently keep the last)."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = {str(key) for key in keys if keys.count(key) > 1}
            if twice:
                raise yaml.YAMLError(
                    f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} stands twice"
                )
            return super().construct_mapping(node, deep)

    return Loader


def read_overrides(words: Iterable[str]) -> dict[str, Any]:
    """``key=value`` words of the command line, values read as YAML; paths are from the current folder."""
    import yaml

    overrides: dict[str, Any] = {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign or not key:
            raise UsageError(f"'{word}' is no override; write key=value, for example choose.ranker=chance")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        last = key.rpartition(".")[2]
        if isinstance(value, str) and (
            last in PATH_SETTINGS
            or (last in MODEL_SETTINGS and value not in SHIPPED and Path(value).is_dir())
        ):
            value = str(Path(value).resolve())
        overrides[key] = value
    return overrides


def _override(raw: dict[str, Any], key: str, value: Any) -> None:
    first, *rest = key.split(".")
    steps = raw["steps"]
    if not rest:
        if first in ("steps", "about") or first in steps:
            raise UsageError(f"override '{key}': name one setting, for example {first}.n=100")
        _put(raw, first, value)
        return
    if first in steps:
        node = steps[first] = {} if steps[first] is None else steps[first]
    elif first in raw:
        node, rest, first = raw, [first, *rest], "recipe"
    else:
        raise UsageError(
            f"override '{key}': the recipe has no step '{first}'.{nearest(first, [*steps, *raw])}"
        )
    for part in rest[:-1]:
        if part not in node and part in raw:
            node[part] = copy.deepcopy(raw[part])
        inner = node.get(part, {})
        # The short form 'ranker: chance' becomes the long one before one of its settings is set.
        node[part] = {"name": inner} if isinstance(inner, str) else inner
        node = node[part]
        if not isinstance(node, dict):
            raise UsageError(f"override '{key}': '{part}' has no settings of its own.")
    _put(node, rest[-1], value)


def _unshared(value: Any) -> Any:
    """A deep copy in which what YAML anchors made one thing is several: an override means one place."""
    if isinstance(value, dict):
        return {key: _unshared(each) for key, each in value.items()}
    return [_unshared(each) for each in value] if isinstance(value, list) else value


def _put(node: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        node.pop(key, None)
    else:
        node[key] = value
