"""Chain of hindsight: the worse answer, its critique and the better answer as one text to learn from."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilf.errors import ComponentError, UsageError
from ilf.protocols import Row
from ilf.strategies._imitation import Text, but_the_last, check_template, imitation_loss, opened
from ilf.strategies._models import save_model, write_card
from ilf.strategies._tuning import Tuning
from rankers import fill
from rankers._lm import LM

#: Where a template names an answer; splitting by it leaves answers at the odd places.
_ANSWER = re.compile(r"\{(?:output|completion)\}")


@dataclass(frozen=True)
class ChainOfHindsight(Tuning):
    """Maximises log p of both answers in one text, each given all that stands before it: Liu et al. 2023.

    arXiv 2302.02676, equation 1, with people's critiques as the feedback between the answers: prompt, output,
    critique, completion. Prompt, critique and the words of the template get no loss. The model is then asked
    behind the cue of the better answer, through the generator ``framed``, with ``chat: never``.

    Differences from the paper and its released code:
    1. The feedback is a critique of the output, where theirs is one of some fixed phrases ("a worse answer
       is"), so the better answer always comes last.
    2. A row is read once an epoch in each of the ``templates``; theirs draws one. Of its kinds of text the
       two that end with the better answer are the default: the chain, and the better answer alone behind
       its cue. Without the latter the cue never follows a prompt in training as it does when the model is
       asked.
    3. The end token stands, and is learnt, where a text ends, thus behind the completion; none is inside,
       as in the code's first release (its second puts one behind every answer).
    4. Past tokens are hidden only if ``forget_share`` says so (paper 0.15, released code 0): then each text
       draws a share from [0, forget_share], and each of its tokens but the first is hidden with that
       probability from all tokens, itself included, in every layer; drawn anew in each epoch.
    5. No pretraining text is mixed in. Prompts of several messages become one text, and no chat template is
       used: a chain is plain text.
    6. Optimiser and schedule are those of ``sft``; the loss is a mean over the answers' tokens of a batch.
    """

    templates: tuple[str, ...] = (
        "{prompt}\n\nAn answer:\n{output}\n\nWhat a reader says about it:\n{critique}\n\nA better answer:\n"
        "{completion}",
        "{prompt}\n\nA better answer:\n{completion}",
    )
    """Texts to learn from: ``{prompt}``, ``{critique}`` and the answers ``{output}`` and ``{completion}``."""
    forget_share: float = 0.0
    chat: Literal["never"] = "never"

    needs: ClassVar[tuple[str, ...]] = ("prompt", "output", "critique", "completion")
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuses templates from which the better answer cannot be learnt, and shares outside [0, 1)."""
        super().__post_init__()
        if not 0 <= self.forget_share < 1:
            raise UsageError(f"{self.name}.forget_share: {self.forget_share} must be in [0, 1).")
        if not self.templates:
            raise UsageError(f"{self.name}.templates: at least one text to learn from is needed.")
        for i, template in enumerate(self.templates):
            where = f"{self.name}.templates[{i}]"
            check_template(where, template, ("prompt", "completion"), ("output", "critique"))
            answers = _ANSWER.findall(template)
            if not template.endswith("{completion}") or len(answers) > len(set(answers)):
                raise UsageError(
                    f"{where}: must end with {{completion}}, which ends as its text does, and name each "
                    f"answer once; it is {template!r}."
                )
            if "{prompt}" not in _ANSWER.split(template)[0]:
                raise UsageError(f"{where}: {{prompt}} must stand before the answers; it is {template!r}.")

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Tunes ``start`` on every row in every template; one log row an update, loss in nats a token.

        ``probe`` is not asked: nothing is sampled.
        """
        lm, parts = opened(self, rows, start, seed)
        chains = [[chain(template, row, lm) for template in self.templates] for row in rows]
        self.check_lengths([max(map(len, of_row)) for of_row in chains], lm)
        texts = [text for of_row in chains for text in of_row]
        inputs = self._forgetful(texts, lm, seed) if self.forget_share else None
        loss = imitation_loss(parts, texts, lm.device, inputs)
        log = yield from but_the_last(self.updates(lm, [len(text) for text in texts], loss, seed=seed))
        save_model(lm.model, lm.tokenizer, folder / "model", merge=self.merge)
        write_card(folder / "model", self, start=start, seed=seed, n_rows=len(rows), log=log)
        yield log[-1]

    def _forgetful(
        self, texts: Sequence[Text], lm: LM, seed: int
    ) -> Callable[[Sequence[int]], dict[str, Any]]:
        """What hides past tokens from the trunk: a text's draws depend on seed, text and epoch alone."""
        import torch

        model = lm.model.get_base_model() if hasattr(lm.model, "get_base_model") else lm.model
        if "position_ids" not in inspect.signature(model.forward).parameters:
            raise ComponentError(
                f"{self.name}: {type(model).__name__} counts positions over visible tokens: hiding one would "
                "move the others. Set forget_share=0, or use another model."
            )
        n_read = [0] * len(texts)

        def inputs(part: Sequence[int]) -> dict[str, Any]:
            n_inputs = max(len(texts[i]) for i in part) - 1
            visible = torch.ones((len(part), n_inputs), dtype=torch.long)
            for at, i in enumerate(part):
                n_read[i] += 1
                rng = random.Random(f"{self.name} forget {seed} {n_read[i]} {i}")
                mask = visible_tokens(len(texts[i]) - 1, self.forget_share, rng)
                visible[at, : len(mask)] = torch.tensor(mask)
            positions = torch.arange(n_inputs).expand(len(part), n_inputs)
            return {"attention_mask": visible.to(lm.device), "position_ids": positions.to(lm.device)}

        return inputs


def chain(template: str, row: Mapping[str, Any], lm: LM) -> Text:
    """The row in a template as one text whose answers count, the end token behind the last of them included.

    Words and answers are tokenised apart, so that no token spans their border.
    """
    ids: list[int] = []
    loss_mask: list[int] = []
    words, answers = _ANSWER.split(template), _ANSWER.findall(template)
    for before, answer in zip(words, answers, strict=False):
        told = fill(before, row)
        known = lm.completion_ids(told, eos=False) if ids else lm.prompt_ids(told, "never")
        learnt = lm.completion_ids(fill(answer, row), eos=False)
        ids += [*known, *learnt]
        loss_mask += [0] * len(known) + [1] * len(learnt)
    return Text((*ids, lm.tokenizer.eos_token_id), (*loss_mask, 1))


def visible_tokens(n_tokens: int, forget_share: float, rng: random.Random) -> list[int]:
    """1 for every token that may be looked at, 0 for the hidden ones; the first is always visible."""
    share = rng.uniform(0.0, forget_share)
    return [1, *(int(rng.random() >= share) for _ in range(n_tokens - 1))]
