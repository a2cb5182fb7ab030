"""Checkpoints: what a training cannot compute again from its seeds, written so that a kill never harms it.

folder/checkpoint/rows          how many rows of the log belong to it: written last, by one rename
folder/checkpoint/ROWS/         weights.safetensors, optimizer.pt, numbers.json
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilf import _ranks
from ilf.errors import ComponentError
from ilf.files import sync, write_whole

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint in ``folder`` of the training that ``key`` describes (JSON values)."""

    folder: Path
    key: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """How many rows of the log the checkpoint belongs to; 0 where there is none."""
        path = self.folder / "rows"
        return int(path.read_text(encoding="utf-8")) if path.exists() else 0

    def save(
        self, rows: int, weights: Mapping[str, torch.Tensor], optimizer: Any, numbers: Mapping[str, Any]
    ) -> None:
        """Writes a checkpoint behind row ``rows``, in the first process; then the one before goes."""
        if _ranks.index():
            return
        import torch
        from safetensors.torch import save_file

        before = self.rows
        part = self.folder / str(rows)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file(
            {name: tensor.detach().contiguous() for name, tensor in weights.items()},
            part / "weights.safetensors",
        )
        torch.save(optimizer.state_dict(), part / "optimizer.pt")
        (part / "numbers.json").write_text(json.dumps({"key": self.key, **numbers}), encoding="utf-8")
        for path in (*part.iterdir(), part, self.folder):
            sync(path)
        write_whole(self.folder / "rows", f"{rows}\n")
        if before != rows:
            shutil.rmtree(self.folder / str(before), ignore_errors=True)

    def load(
        self, put_back: Callable[[Mapping[str, torch.Tensor]], None], optimizer: Any
    ) -> dict[str, Any] | None:
        """Puts weights and optimiser back; the numbers that were saved, or None where there is no checkpoint.

        ComponentError where it belongs to another training.
        """
        import torch
        from safetensors.torch import load_file

        if not self.rows:
            return None
        part = self.folder / str(self.rows)
        numbers: dict[str, Any] = json.loads((part / "numbers.json").read_text(encoding="utf-8"))
        if numbers.pop("key") != json.loads(json.dumps(self.key)):
            raise ComponentError(
                f"'{self.folder}' is the checkpoint of a training with other settings, rows or seed. Remove "
                "it, or train into another folder."
            )
        put_back(load_file(part / "weights.safetensors"))
        optimizer.load_state_dict(torch.load(part / "optimizer.pt", weights_only=True))
        return numbers

    def remove(self) -> None:
        """Removes the checkpoint, what it says about rows first: half of it never looks like one."""
        if _ranks.index():
            return
        (self.folder / "rows").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
