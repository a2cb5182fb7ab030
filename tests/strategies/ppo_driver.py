"""Trains and writes the log row by row, as a run does: the process that tests kill, or start twice.

python ppo_driver.py FOLDER '{"reward": ..., "start": ..., settings of PPO}'
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ilf import _ranks
from ilf.strategies.ppo import PPO

ROWS = [{"prompt": f"POST: My name is Tom. I broke {n} kettles.\nTL;DR:"} for n in range(6)]


def main(folder: Path, settings: dict[str, object]) -> None:
    """Goes on where a checkpoint is, keeping the rows that belong to it."""
    import torch

    torch.set_num_threads(1)
    start = str(settings.pop("start"))
    folder.mkdir(exist_ok=True)
    log, kept = folder / "rows.jsonl", folder / "checkpoint" / "rows"
    n_kept = int(kept.read_text()) if kept.exists() else 0
    lines = log.read_text().splitlines(keepends=True)[:n_kept] if log.exists() else []
    assert len(lines) == n_kept, "the checkpoint is ahead of the log"
    is_main = _ranks.index() == 0
    with (log if is_main else Path(os.devnull)).open("w") as file:
        file.writelines(lines)
        for row in PPO(**settings).train(ROWS, folder, start=start, seed=5):  # type: ignore[arg-type]
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno()) if is_main else None
    _ranks.meet()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
