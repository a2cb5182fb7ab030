"""One trunk for all roles: policy, reference, reward and value are adapters on it, or none."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ilf.errors import ComponentError
from ilf.strategies._fingerprint import fingerprint
from ilf.strategies._models import learner
from ilf.strategies._policy import (
    Role,
    Roles,
    ValueInit,
    check_tokenizer,
    named,
    policy_of,
    reads_trees,
    reward_of,
    value_head,
)  # fmt: skip
from rankers._lm import LM

#: Names of the adapters; the policy's is the one that peft saves without a folder of its own.
_POLICY, _REWARD, _VALUE = "default", "reward", "value"


def load_one_trunk(
    start: str, strategy: Any, value: ValueInit | None, *, value_adapter: bool = False
) -> Roles:
    """The roles as adapters on the trunk of ``start``; a reward model without an adapter is a second trunk.

    The policy is the trunk with its adapter on, the reference the same with all adapters off, the reward the
    same with the reward model's adapter on. The value is a head on the reward's states, or with
    ``value_adapter`` has an adapter of its own that starts as the reward's. ComponentError where the reward's
    adapter was trained on another trunk.
    """
    adapted = learner(start, strategy)
    peft = adapted.model
    # The base model has the adapters in its layers, and a signature that the sampler can read.
    lm = dataclasses.replace(adapted, model=peft.get_base_model())
    trained = {f"policy.{name}": p for name, p in peft.named_parameters() if p.requires_grad}
    switch = _Switch(peft)
    folder = Path(strategy.reward) / "adapter"
    has_adapter = folder.is_dir()
    if has_adapter:
        reward_head, mean = _load_reward_adapter(peft, lm, folder, strategy)
        reward = Role(lm.model.get_decoder(), reward_head, switch.to(_REWARD))
        reward_length, said = lm.max_length, "one trunk: the reward is an adapter on it"
    else:
        model = reward_of(lm, strategy)
        reward_head, mean, reward_length = model.head, model.mean, model.max_length
        reward = Role(model.trunk, reward_head)
        said = "two trunks: the reward model has no adapter, so it was loaded as a model of its own"
    head = own = None
    if value is not None:
        head = value_head(value, reward_head, mean, lm)
        trained |= named("value.head", head)
    if value == "reward" and value_adapter:
        if not has_adapter:
            raise ComponentError(
                f"{strategy.name}.value_adapter: the reward model has no adapter to start from. Train one "
                "with lora_rank from this start (strategy `reward`), or leave value_adapter out."
            )
        trained |= _add_value_adapter(peft)
        own = Role(lm.model.get_decoder(), reward_head, switch.to(_VALUE))
    for parameter in peft.parameters():
        parameter.requires_grad_(requires_grad=False)
    for parameter in trained.values():
        parameter.requires_grad_(requires_grad=True)
    for layer in switch.layers:
        _make_lean(layer)
    with switch.to(_POLICY)():
        policy, can_share = policy_of(lm)
    return Roles(
        lm=lm, policy=policy, reference=Role(policy.trunk, policy.head, switch.to(None)), reward=reward,
        reward_mean=mean, reward_length=reward_length, value=own, value_head=head, value_init=value,
        trained=trained,
        can_share=can_share and reads_trees(reward, lm), context=lambda: strategy.autocast(lm.device),
        said=said, peft=peft, sampling=switch.merged,
    )  # fmt: skip


class _Switch:
    """Switches the adapters of a trunk and leaves what is trained as it is: peft's own switch freezes."""

    def __init__(self, peft: Any) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.layers: list[Any] = [module for module in peft.modules() if isinstance(module, BaseTunerLayer)]

    def to(self, name: str | None) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """Makes a context in which the adapter ``name`` is on, or none; then the policy's is on again."""

        @contextlib.contextmanager
        def switched() -> Iterator[None]:
            self._set(name)
            try:
                yield
            finally:
                self._set(_POLICY)

        return switched

    @contextlib.contextmanager
    def merged(self) -> Iterator[None]:
        """Adds the policy's adapter to the weights, so that sampling token by token pays nothing for it.

        Afterwards every weight is what it was, to the bit: copies are put back, nothing is subtracted. Layers
        of other kinds than plain ones stay as they are, all of them.
        """
        import torch

        if not all(_is_plain(layer) for layer in self.layers):
            yield
            return
        held = [(layer, layer.base_layer.weight) for layer in self.layers]
        kept = [weight.detach().clone() for _, weight in held]
        with self.to(None)():
            try:
                with torch.no_grad():
                    for layer, weight in held:
                        weight.add_(layer.get_delta_weight(_POLICY))
                yield
            finally:
                with torch.no_grad():
                    for (_, weight), copied in zip(held, kept, strict=True):
                        weight.copy_(copied)

    def _set(self, name: str | None) -> None:
        was_trained = [(p, p.requires_grad) for layer in self.layers for p in layer.parameters()]
        for layer in self.layers:
            layer.enable_adapters(name is not None)
            if name is not None:
                layer.set_adapter(name)
        for parameter, flag in was_trained:
            parameter.requires_grad_(flag)


def _is_plain(layer: Any) -> bool:
    """Whether a layer is W x + s B A x and nothing else: no variant of LoRA, no dropout."""
    import torch
    from peft.tuners.lora.layer import Linear

    return (
        type(layer) is Linear
        and not layer.lora_variant
        and all(isinstance(dropout, torch.nn.Identity) for dropout in layer.lora_dropout.values())
    )


def _make_lean(layer: Any) -> None:
    """Gives a plain LoRA layer a forward that passes over its output once more, not thrice: 7 % of a step."""
    import torch

    if not _is_plain(layer):
        return

    def forward(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = layer.base_layer(x)
        if layer.disable_adapters:
            return found
        for name in layer.active_adapters:
            if name in layer.lora_A:
                low = x.flatten(0, -2) @ layer.lora_A[name].weight.t()
                scaled = layer.lora_B[name].weight * layer.scaling[name]
                found = torch.addmm(found.flatten(0, -2), low, scaled.t()).view(found.shape)
        return found

    layer.forward = forward


def _load_reward_adapter(peft: Any, lm: LM, folder: Path, strategy: Any) -> tuple[Any, float]:
    """Puts the reward model's adapter on the trunk; its head and its mean."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    base = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    if base["fingerprint"] != fingerprint(lm.model):
        raise ComponentError(
            f"{strategy.name}.reward: the reward model's adapter was trained on another trunk than the "
            "start. Train the reward model from this start, start from the model that it was trained from, "
            f"or remove its folder `{folder.name}`: its merged weights are then loaded as a second model."
        )
    check_tokenizer(lm, AutoTokenizer.from_pretrained(folder.parent), strategy)
    found = peft.load_adapter(str(folder), adapter_name=_REWARD, is_trainable=False)
    missing = [name for name in found.missing_keys if f".{_REWARD}." in name]
    if missing or found.unexpected_keys:
        raise ComponentError(
            f"{strategy.name}.reward: the adapter in '{folder}' does not fit the start: "
            f"{len(missing)} weights are missing, {len(found.unexpected_keys)} are not known. Train the "
            "reward model again from this start."
        )
    weight = load_file(folder / "head.safetensors", device=lm.device)["weight"]
    head = torch.nn.Linear(weight.shape[-1], 1, bias=False, device=lm.device)
    head.requires_grad_(requires_grad=False)
    head.weight.copy_(weight)
    return head, float(base["reward_mean"])


def _add_value_adapter(peft: Any) -> dict[str, Any]:
    """Adds the value's adapter with the weights of the reward's; its parameters."""
    import torch

    peft.add_adapter(_VALUE, copy.deepcopy(peft.peft_config[_REWARD]))
    held = dict(peft.named_parameters())
    found = {name: p for name, p in held.items() if f".{_VALUE}." in name}
    with torch.no_grad():
        for name, parameter in found.items():
            parameter.copy_(held[name.replace(f".{_VALUE}.", f".{_REWARD}.")])
    return {f"value.{name}": p for name, p in found.items()}
