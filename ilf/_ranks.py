"""The processes of ``torchrun``: the first makes the steps and writes, the others only take part in training.

    torchrun --nproc_per_node 2 -m ilf run rlhf_nano

Without torchrun there is one process, and nothing here costs anything.
"""

from __future__ import annotations

import os
from typing import Any


def index() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def meet() -> None:
    """Waits until every process is here."""
    if count() > 1:
        state().wait_for_everyone()


def state() -> Any:
    """Accelerate's state of the process group, made on first use: gloo without a GPU, NCCL with."""
    from accelerate import PartialState

    return PartialState()
