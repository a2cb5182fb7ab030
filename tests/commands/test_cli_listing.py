"""ilf list, ilf recipes, ilf init."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from ilf.commands import listing
from ilf.config import FAMILIES, modules
from ilf.recipe import packaged


def test_every_component_is_listed_with_a_line(ilf: Any) -> None:
    told = json.loads(ilf("list", "--json").out)
    assert set(listing.FAMILIES.values()) == set(FAMILIES)
    for family, protocol in listing.FAMILIES.items():
        assert [entry["name"] for entry in told[family]] == sorted(modules(protocol))
        assert all(entry["about"] for entry in told[family])
    said = ilf("list")
    assert "fixpoint" in said.out
    assert all(len(line) <= 80 for line in said.out.splitlines())


@pytest.mark.parametrize("word", ["rankers", "ranker", "Rankers"])
def test_one_family(ilf: Any, word: str) -> None:
    said = ilf("list", word)
    assert "similarity" in said.out
    assert "jsonl_file" not in said.out


def test_what_a_component_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {entry["name"]: entry["needs"] for entry in listing.components("rankers")}
    assert needs["fixpoint"] == ["needs model="]
    assert needs["length"] == needs["similarity"] == []
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda n: None if n == "sentence_transformers" else real(n)
    )
    needs = {entry["name"]: entry["needs"] for entry in listing.components("rankers")}
    assert needs["similarity"] == ["needs pip install 'ilf[rank]'"]


def test_recipes(ilf: Any) -> None:
    told = json.loads(ilf("recipes", "--json").out)
    assert [entry["name"] for entry in told] == list(packaged())
    assert all(entry["about"] for entry in told)
    assert "The whole loop in a closed world" in ilf("recipes").out


def test_init_copies_all_and_says_what_is_next(ilf: Any, toy: Path) -> None:
    (toy / "data").mkdir()
    (toy / "data" / "rows.jsonl").write_text("{}\n" * 3)
    (toy / "runs").mkdir()
    (toy / "recipe.yaml").chmod(0o444)
    said = ilf("init", "deep/mine", "--from", "toy")
    assert said.status == 0
    assert "ilf run deep/mine --dry-run" in said.out
    assert sorted(p.relative_to("deep").as_posix() for p in Path("deep").rglob("*") if p.is_file()) == [
        "mine/data/rows.jsonl",
        "mine/recipe.yaml",
    ]
    assert Path("deep/mine/recipe.yaml").stat().st_mode & 0o200, "a copy of a read-only package can be edited"
    assert ilf("run", "deep/mine", "--dry-run").status == 0


@pytest.mark.parametrize("name", list(packaged()))
def test_every_packaged_recipe_can_be_copied(ilf: Any, name: str) -> None:
    assert ilf("init", "mine", "--from", name).status == 0
    assert ilf("run", "mine", "--dry-run").status == 0


def test_init_overwrites_nothing(ilf: Any) -> None:
    Path("mine").mkdir()
    said = ilf("init", "mine", "--from", "nano")
    assert said.status == 2
    assert "exists already; nothing was copied" in said.err
    Path("mine").rmdir()
    Path("mine").symlink_to("nowhere")
    assert ilf("init", "mine", "--from", "nano").status == 2
    assert not list(Path().glob(".ilf-init-*"))


def test_init_needs_a_recipe_folder(ilf: Any, toy: Path) -> None:
    (toy / "recipe.yaml").rename(toy / "one.yaml")
    assert ilf("init", "mine", "--from", "toy/one.yaml").status == 2
    assert ilf("init", "mine", "--from", "nanno").status == 2
    (toy / "one.yaml").rename(toy / "recipe.yaml")
    assert "lies inside the recipe" in ilf("init", "toy/copy", "--from", "toy").err
