"""Settings: from plain YAML values to checked components, and to what a run's address hashes.

A component is found by its family (the protocol in a type hint) and its name (its file). Nothing is
registered.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf.errors import UsageError, nearest

#: Family (the name of its protocol) -> packages that are looked through, in order.
FAMILIES: dict[str, tuple[str, ...]] = {
    "Generator": ("ilf.generators",),
    "FeedbackSource": ("ilf.feedback",),
    "Ranker": ("rankers", "ilf.rankers"),
    "Selector": ("ilf.selectors",),
    "Strategy": ("ilf.strategies",),
    "Grader": ("ilf.graders",),
    "World": ("ilf.worlds",),
}
#: Settings that name a model: a folder, a hub id, a shipped checkpoint, or ``steps.X``.
MODEL_SETTINGS = ("model", "start", "reward", "memory")
#: Device files of which a Linux machine with a GPU that torch can use has at least one (NVIDIA, ROCm, WSL).
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Spec:
    """A checked component or verb: what to call, with all its settings; components inside are Specs too."""

    target: Callable[..., Any]
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    speed_only: frozenset[str] = frozenset()

    def build(self, model_of: Callable[[str], str] = str) -> Any:
        """Calls the target with its settings; ``model_of`` turns a model reference into folder or hub id."""
        return self.target(**self.arguments(model_of))

    def arguments(self, model_of: Callable[[str], str] = str) -> dict[str, Any]:
        """The keyword arguments, nested components built."""

        def value_of(key: str, value: Any) -> Any:
            if isinstance(value, Spec):
                return value.build(model_of)
            if isinstance(value, tuple):
                return tuple(value_of("", item) for item in value)
            return model_of(value) if key in MODEL_SETTINGS and value else value

        return {key: value_of(key, value) for key, value in self.settings.items()}

    def described(self, model_id: Callable[[str], Any] = str, *, speed_only: bool = False) -> dict[str, Any]:
        """Settings as JSON values, for hashing; ``model_id`` turns a model reference into a content hash."""

        def value_of(key: str, value: Any) -> Any:
            if isinstance(value, Spec):
                return value.described(model_id, speed_only=speed_only)
            if isinstance(value, tuple):
                return [value_of("", item) for item in value]
            if key == "device":
                return resolve_device(value)
            return model_id(value) if key in MODEL_SETTINGS and value else value

        kept = {k: v for k, v in self.settings.items() if speed_only or k not in self.speed_only}
        return {
            "name": self.name,
            "revision": getattr(self.target, "revision", 1),
            **{key: value_of(key, value) for key, value in sorted(kept.items())},
        }

    def only_speed(self) -> dict[str, Any]:
        """The settings that change speed alone, of this spec and those inside it: recorded, never hashed."""
        found = {key: self.settings[key] for key in sorted(self.speed_only)}
        inside = {key: value.only_speed() for key, value in self.settings.items() if isinstance(value, Spec)}
        return {**found, **{key: value for key, value in inside.items() if value}}

    def models(self) -> Iterator[str]:
        """Every model reference in this spec and those nested in it."""
        for key, value in self.settings.items():
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Spec):
                    yield from item.models()
                elif key in MODEL_SETTINGS and isinstance(item, str) and item:
                    yield item

    def uses(self, setting: str) -> bool:
        """Whether this spec or one nested in it has a setting of that name."""
        return setting in self.settings or any(
            item.uses(setting)
            for value in self.settings.values()
            for item in (value if isinstance(value, tuple) else (value,))
            if isinstance(item, Spec)
        )


def resolve_device(device: str) -> str:
    """``auto`` as the device that will be used; other names as they are."""
    if device != "auto":
        return device
    if "torch" not in sys.modules and sys.platform == "linux" and not any(map(os.path.exists, _GPU_FILES)):
        return "cpu"  # asking torch would cost seconds of import to hear the same
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def modules(family: str) -> dict[str, str]:
    """Component name -> module name, for a family, from the files in its folders."""
    found: dict[str, str] = {}
    for package in FAMILIES[family]:
        for path in sorted(_folder(package).glob("*.py")):
            if not path.name.startswith("_"):
                found.setdefault(path.stem, f"{package}.{path.stem}")
    return found


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"The package '{package}' is not installed; install ilf again.")
    return Path(next(iter(spec.submodule_search_locations)))


def summary(module: str) -> str:
    """The first line of the docstring of a component's class, read without importing it."""
    package, _, stem = module.rpartition(".")
    tree = ast.parse((_folder(package) / f"{stem}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and _is_dataclass(node):
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


@functools.cache
def find(family: str, name: str) -> Callable[..., Any]:
    """The class of a component; a dotted name is somebody's own module. Raises UsageError otherwise."""
    kind = family.lower()
    if "." in name:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise UsageError(f"no {kind} '{name}': {error}.") from None
    else:
        known = modules(family)
        if name not in known:
            raise UsageError(f"no {kind} '{name}'.{nearest(name, known)} See: ilf list")
        module = importlib.import_module(known[name])
    own = [
        value
        for value in vars(module).values()
        if dataclasses.is_dataclass(value)
        and isinstance(value, type)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
    if len(own) != 1:
        raise UsageError(f"{module.__name__} must define exactly one public dataclass, has {len(own)}.")
    return own[0]


@functools.cache
def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The settings of a component (its fields) or of a verb (its keyword-only parameters), with defaults."""
    if isinstance(target, type):
        return dict(inspect.signature(target).parameters)
    return {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "done"
    }


@functools.cache
def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a component or verb, evaluated."""
    return typing.get_type_hints(target)


def resolve(
    target: Callable[..., Any],
    name: str,
    given: Mapping[str, Any],
    where: str,
    defaults: Mapping[str, Any],
    problems: list[str],
) -> Spec:
    """Checks settings against a target's type hints; problems are collected, not raised.

    ``defaults`` are the recipe's top-level values: the default of every setting of the same name.
    """
    known = parameters(target)
    hints = type_hints(target)
    settings: dict[str, Any] = {}
    unknown = [key for key in given if key not in known]
    problems += [f"{where}.{key}: unknown setting of {name}.{nearest(key, known)}" for key in unknown]
    for key, parameter in known.items():
        if key in given:
            value = given[key]
        elif key in defaults:
            value = defaults[key]
        elif parameter.default is not inspect.Parameter.empty:
            if not isinstance(parameter.default, str) or family_of(hints[key]) is None:
                settings[key] = parameter.default
                continue
            value = parameter.default
        else:
            problems.append(f"{where}.{key}: {name} needs this setting ({_hint_name(hints[key])}).")
            continue
        settings[key] = _checked(value, hints[key], f"{where}.{key}", defaults, problems)
    speed_only = frozenset(
        f.name
        for f in (dataclasses.fields(target) if dataclasses.is_dataclass(target) else ())
        if not f.compare
    )
    return Spec(target, name, settings, speed_only)


def family_of(hint: Any) -> str | None:
    """The family that a type hint asks for, or None."""
    name = getattr(hint, "__name__", "")
    return name if name in FAMILIES and getattr(hint, "_is_protocol", False) else None


def _checked(value: Any, hint: Any, where: str, defaults: Mapping[str, Any], problems: list[str]) -> Any:
    family = family_of(hint)
    if family:
        return _component(value, family, where, defaults, problems)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional(value, arguments, hint, where, defaults, problems)
    if origin is typing.Literal:
        if not any(value == a and type(value) is type(a) for a in arguments):
            words = ", ".join(map(str, arguments))
            problems.append(
                f"{where}: {value!r} is none of: {words}.{nearest(str(value), map(str, arguments))}"
            )
        return value
    if origin in (tuple, list, Sequence):
        return _items(value, arguments, hint, where, defaults, problems)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            problems.append(f"{where}: {value!r} is no mapping.")
            return value
        return {k: _checked(v, arguments[1], f"{where}.{k}", defaults, problems) for k, v in value.items()}
    return _plain(value, hint, where, problems)


def _optional(
    value: Any,
    arguments: tuple[Any, ...],
    hint: Any,
    where: str,
    defaults: Mapping[str, Any],
    problems: list[str],
) -> Any:
    if value is None and type(None) in arguments:
        return None
    attempts = []
    for argument in (a for a in arguments if a is not type(None)):
        found: list[str] = []
        result = _checked(value, argument, where, defaults, found)
        if not found:
            return result
        attempts.append(found)
    problems += attempts[0] if len(attempts) == 1 else [f"{where}: {value!r} is no {_hint_name(hint)}."]
    return value


def _items(
    value: Any,
    arguments: tuple[Any, ...],
    hint: Any,
    where: str,
    defaults: Mapping[str, Any],
    problems: list[str],
) -> Any:
    if not isinstance(value, (list, tuple)):
        problems.append(f"{where}: {value!r} is no list ({_hint_name(hint)}).")
        return value
    return tuple(_checked(v, arguments[0], f"{where}[{i}]", defaults, problems) for i, v in enumerate(value))


def _plain(value: Any, hint: Any, where: str, problems: list[str]) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-5 as a string.
        try:
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        problems.append(f"{where}: {value!r} is {type(value).__name__}, must be {_hint_name(hint)}.")
    return value


def _component(
    value: Any, family: str, where: str, defaults: Mapping[str, Any], problems: list[str]
) -> Spec | None:
    given = {"name": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        problems.append(
            f"{where}: {value!r} names no {family.lower()}; write its name, or a mapping with 'name'."
        )
        return None
    try:
        target = find(family, given["name"])
    except UsageError as error:
        problems.append(f"{where}: {error}")
        return None
    own = {k: v for k, v in given.items() if k != "name"}
    # A nested component never inherits its own family's default, or it would contain itself.
    inherited = {k: v for k, v in defaults.items() if k != where.rpartition(".")[2]}
    return resolve(target, given["name"], own, where, inherited, problems)


def _hint_name(hint: Any) -> str:
    return getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint).replace("typing.", "")  # type: ignore[return-value]
