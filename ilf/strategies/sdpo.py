"""SDPO: the model taught by itself as it would write with the critique before its eyes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ilf._forms import form_template
from ilf.errors import ComponentError, UsageError
from ilf.protocols import Row
from ilf.strategies._encode import Example, encode, padded
from ilf.strategies._exchange import Critiques, with_critiques
from ilf.strategies._imitation import Parts, but_the_last, opened
from ilf.strategies._models import save_model, write_card
from ilf.strategies._rl import kl_estimate
from ilf.strategies._teacher import Kind, Teacher
from ilf.strategies._tuning import Tuning
from rankers import fill
from rankers._lm import LM

if TYPE_CHECKING:
    import torch

Divergence = Literal["reverse", "forward", "jensen_shannon"]


@dataclass(frozen=True)
class SDPO(Tuning):
    """Lowers sum_t KL(p(. | prompt, x_<t) || p_T(. | prompt, output, critique, x_<t)): Huebotter et al. 2026.

    arXiv 2601.20802, its loss with feedback in words. x is the output that was criticised with its end token;
    p_T, the self-teacher, is the same model reading the question of ``refine`` in this ``form``, without
    gradient. Where the critique names a fault, the teacher holds other tokens likely than those that stand
    there, and the student, who reads the prompt alone, learns to hold them likely too. Nothing is sampled and
    no reward is needed; a prompt with several outputs that were criticised is several rows.

    ``teacher``: the weights of the ``start``, the ``live`` student's, or their moving average (``ema``, the
    paper's; its rate .05 is ``ema_decay`` .95). ``divergence``: KL(p || p_T) (``reverse``), KL(p_T || p)
    (``forward``), or ``jensen_shannon``, the paper's default in its code. ``over``: the whole vocabulary; the
    student's ``k`` likeliest tokens and one place for all others (paper: 20 or 100); or the output's token
    alone, (log p - log p_T)^2 / 2, whose gradient is that of the reverse KL where x is the student's sample.

    Differences from the paper:
    1. The outputs stay those that people read; the paper samples anew at every step and corrects the rest by
       importance weights. So few epochs: the student moves away from what was criticised.
    2. The teacher reads people's critiques, never another answer that succeeded.
    3. Of its two ways to steady the teacher the average is here, the trust region is not.
    4. Loss: a mean over the tokens of a batch (as in its code); optimiser and schedule are those of ``sft``,
       no dropout.

    ``critiques`` is for controls: what the method gains with those ``exchanged`` between the outputs of a
    prompt, or ``shuffled`` over all rows, owes nothing to the matching critique; with ``none`` the teacher
    reads the output alone and rewrites untold. A teacher that repeats its input teaches the output's own
    faults: worth it only where the model can use a critique that it reads.
    """

    form: str = "instruct"
    """The prompt form in which the teacher is shown output and critique."""
    teacher: Kind = "ema"
    ema_decay: float = 0.95
    over: Literal["vocabulary", "top_k", "token"] = "vocabulary"
    k: int = 100
    divergence: Divergence = "reverse"
    critiques: Critiques = "own"

    revision: ClassVar[int] = 1
    dropout: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that training reads."""
        return ("prompt", "output") if self.critiques == "none" else ("prompt", "output", "critique")

    def __post_init__(self) -> None:
        """Refuses forms that do not exist, and settings that do not go together."""
        super().__post_init__()
        form_template(self.form, "refine", self.name)
        if not 0.0 <= self.ema_decay < 1.0:
            raise UsageError(f"sdpo.ema_decay: {self.ema_decay} must be in [0, 1); for 1 set teacher=start.")
        if self.k < 1:
            raise UsageError(f"sdpo.k: {self.k} must be 1 or more.")
        if self.over == "token" and self.divergence != "reverse":
            raise UsageError(
                f"sdpo.divergence: {self.divergence} needs distributions; the output's token alone estimates "
                "the reverse KL. Set over=vocabulary or top_k."
            )

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on the rows' outputs; a log row an update, its loss in nats a token.

        ``log_ratio`` is the mean of log p - log p_T over the outputs' tokens: how much less likely they are
        once the critique is read. ``probe`` is not asked: nothing is sampled.
        """
        lm, parts = opened(self, rows, start, seed)
        told = with_critiques(rows, self.critiques, who=self.name, seed=seed)
        students, teachers = self._read(told, lm)
        lengths = [max(map(len, both)) for both in zip(students, teachers, strict=True)]
        self.check_lengths(lengths, lm)
        teacher = Teacher(lm.model, self.teacher, self.ema_decay)

        def part_loss(part: Sequence[int], batch: Sequence[int]) -> tuple[Any, Mapping[str, float]]:
            with teacher.speaking():
                theirs, tokens = next_tokens(parts, [teachers[i] for i in part], lm.device)
            mine, _ = next_tokens(parts, [students[i] for i in part], lm.device)
            n_targets = sum(len(students[i].completion) for i in batch)
            ratios = (mine.detach() - theirs).gather(-1, tokens[:, None])
            measured = {"tokens": len(tokens), "log_ratio": ratios.sum().item() / n_targets}
            return self._losses(mine, theirs, tokens).sum() / n_targets, measured

        updates = _followed(self.updates(lm, lengths, part_loss, seed=seed), teacher)
        log = yield from but_the_last(updates)
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(told), log=log)
        yield log[-1]

    def _read(self, rows: Sequence[Row], lm: LM) -> tuple[list[Example], list[Example]]:
        """The outputs as the student reads them, and as the teacher does: other prompts, the same tokens."""
        use = "refine_no_feedback" if self.critiques == "none" else "refine"
        template = form_template(self.form, use, self.name)
        students = [encode(row["prompt"], row["output"], lm, chat=self.chat) for row in rows]
        teachers = [encode(fill(template, row), row["output"], lm, chat=self.chat) for row in rows]
        for i, (mine, theirs) in enumerate(zip(students, teachers, strict=True), start=1):
            if mine.completion != theirs.completion:
                raise ComponentError(
                    f"sdpo: row {i}: the chat template writes the output differently behind another prompt, "
                    "so its tokens cannot be compared. Set chat=never."
                )
        return students, teachers

    def _losses(self, mine: torch.Tensor, theirs: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Log-probs (n, V) of student and teacher, the outputs' tokens (n,): losses (n,) in nats."""
        if self.over == "token":
            mine, theirs = (each.gather(-1, tokens[:, None]).squeeze(-1) for each in (mine, theirs))
            return kl_estimate(mine, theirs, "k2")
        if self.over == "top_k" and self.k < mine.shape[-1]:
            kept = mine.detach().topk(self.k).indices
            mine, theirs = gathered(mine, kept), gathered(theirs, kept)
        return divergence(mine, theirs, self.divergence)


def next_tokens(parts: Parts, examples: Sequence[Example], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Log p of all tokens (n, V) where a completion's token stands, and which one stands there (n,).

    n counts the completions' tokens, one example after the other; in nats, float32, differentiable.
    """
    trunk, head = parts
    ids, at, tokens = padded(examples)
    states = trunk(input_ids=ids.to(device), use_cache=False)[0]  # (B, T, hidden)
    return head(states.flatten(0, 1)[at.to(device)]).float().log_softmax(-1), tokens.to(device)


def divergence(student: torch.Tensor, teacher: torch.Tensor, kind: Divergence) -> torch.Tensor:
    """KL(student || teacher), KL(teacher || student), or their Jensen-Shannon divergence, in nats: (n,).

    From log-probabilities (n, V). Jensen-Shannon is the mean of both KLs to the mixture in halves, at most
    log 2 (the generalised form of Agarwal et al. 2024, arXiv 2306.13649, at one half).
    """
    if kind == "jensen_shannon":
        mixture = student.logaddexp(teacher) - math.log(2)
        return (divergence(student, mixture, "reverse") + divergence(teacher, mixture, "reverse")) / 2
    first, second = (student, teacher) if kind == "reverse" else (teacher, student)
    return (first.exp() * (first - second)).sum(-1)


def gathered(logprobs: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Log-probs (n, V) of the tokens ``kept`` (n, k), k below V, and of all others together: (n, k + 1)."""
    import torch

    others = logprobs.scatter(-1, kept, -math.inf).logsumexp(-1, keepdim=True)
    return torch.cat([logprobs.gather(-1, kept), others], dim=-1)


def _followed(updates: Iterable[Row], teacher: Teacher) -> Iterator[Row]:
    """The rows of the log; after every update, and before its row is read, the teacher moves on."""
    for row in updates:
        teacher.follow()
        yield row
