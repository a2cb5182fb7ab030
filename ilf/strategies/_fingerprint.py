"""The name of a trunk's weights: an adapter is put on the trunk that it was trained on, or refused."""

from __future__ import annotations

import hashlib
from typing import Any

#: Elements of a parameter that are looked at: any tuning moves nearly all of them.
_SAMPLED = 1024


def fingerprint(model: Any) -> str:
    """SHA-256 over names, shapes and every n-th weight of the trunk's parameters, as float32.

    The same for a causal model, a classifier or a bare trunk with these weights, stored in whichever
    precision that holds them, with or without adapters beside them (adapters are not looked at).
    """
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    found = hashlib.sha256()
    for name, parameter in base.base_model.named_parameters():
        if "lora_" in name:
            continue
        flat = parameter.detach().flatten()
        step = max(1, -(-flat.numel() // _SAMPLED))
        sample = flat[::step].to(device="cpu", dtype=torch.float32).contiguous()
        found.update(f"{name.replace('.base_layer', '')} {tuple(parameter.shape)}\n".encode())
        found.update(sample.numpy().tobytes())
    return found.hexdigest()
