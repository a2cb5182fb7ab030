"""The processes of ``torchrun``: the first makes the steps and writes, the others only take part in training.

    torchrun --nproc_per_node 2 -m ilf run rlhf_nano

Without torchrun there is one process, and nothing here costs anything.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

_Item = TypeVar("_Item")


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


@functools.cache
def state() -> Any:
    """Accelerate's state of the process group, made on first use: gloo without a GPU, NCCL with."""
    from accelerate import PartialState

    made = PartialState()
    atexit.register(_leave)
    return made


def _leave() -> None:
    """Takes the process group down while Python is whole.

    Its threads end a process with SIGABRT where they outlive it, or let go of a tensor while Python
    leaves: so nothing may hold a piece of work that is done when the group goes, nor the group afterwards.
    """
    import torch

    gc.collect()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    state.cache_clear()
    gc.collect()


def share(items: Sequence[_Item]) -> Sequence[_Item]:
    """This process's part of what all hold: one piece without gaps, pieces in the order of the processes."""
    return items[index() * len(items) // count() : (index() + 1) * len(items) // count()]


def gathered(items: Sequence[_Item]) -> list[_Item]:
    """What the processes hold, one after the other, in every process: undoes ``share``."""
    if count() == 1:
        return list(items)
    import torch

    state()
    held: list[Any] = [None] * count()
    torch.distributed.all_gather_object(held, list(items))
    return [item for part in held for item in part]


def add_up(tensors: Iterable[Any]) -> None:
    """Replaces every tensor by its sum over the processes, the same bits in each of them."""
    if count() == 1:
        return
    import torch

    state()
    held = list(tensors)
    # In one piece: many small messages would wait for each other.
    flat = torch.cat([tensor.reshape(-1) for tensor in held])
    torch.distributed.all_reduce(flat)
    first = 0
    for tensor in held:
        tensor.copy_(flat[first : first + tensor.numel()].view_as(tensor))
        first += tensor.numel()
