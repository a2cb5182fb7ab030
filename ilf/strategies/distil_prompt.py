"""One instruction from many critiques: for a policy that uses critiques without training."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilf._decode import Request, decode
from ilf._forms import form_template
from ilf.errors import ComponentError, DataError, UsageError
from ilf.files import write_whole
from ilf.protocols import Row
from ilf.strategies._models import own_randomness
from rankers import RankerError, fill
from rankers._lm import LM, load, resolve_device
from rankers._words import Words, dot, words_of

log = logging.getLogger("ilf")

#: What is written into ``folder/model``.
_FILE = "instruction.txt"
#: Sentences end at a point, an exclamation or a question mark, or a semicolon before space, or a line's end.
_END_OF_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
#: Sentences with this cosine or more say the same: half of their weight is in common words.
_SAME = 0.5


@dataclass(frozen=True)
class DistilPrompt:
    """Writes one instruction made of critiques to ``folder/model/instruction.txt``; nothing is trained.

    The generator ``prompt_from_critiques`` puts it to every prompt (``memory: steps.NAME``). Rows with a
    blank critique are left out and counted.

    ``by: model`` asks the model ``start`` greedily, in the words of ``form`` (uses ``distil`` and ``merge``):
    for an instruction from every chunk of critiques that its context has room for, then for one from these,
    until one is left. A critique too long for the context is left out and counted. ``by: extraction`` asks
    nobody: it takes sentences of the critiques, the most central and general first, none that says the same
    as one before it, up to ``max_words`` in all. Central is what is near to many (the sum of the cosines of
    tf-idf vectors to those of all sentences: degree centrality of Erkan and Radev 2004, arXiv 1109.2128,
    section 3.1, without a threshold); general, ours, is a sentence whose rarest word stands in many.

    There are no weights, and the log has no loss: a row is an instruction with the number of critiques (or
    instructions) that it was made of, the last row the one that is kept.
    """

    by: Literal["model", "extraction"] = "model"
    form: str = "instruct"
    max_words: int = 30
    """The model is asked to keep to it, extraction does."""
    max_new_tokens: int = 128
    chat: Literal["auto", "never"] = "auto"
    device: str = "auto"

    needs: ClassVar[tuple[str, ...]] = ("critique",)
    revision: ClassVar[int] = 1
    #: ``folder/model`` holds text that a generator's ``memory`` names, no model.
    has_weights: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuses settings with which nothing can be written."""
        if self.max_words < 1 or self.max_new_tokens < 1:
            raise UsageError("distil_prompt: max_words and max_new_tokens must be 1 or more.")
        form_template(self.form, "distil", "distil_prompt")

    def train(
        self,
        rows: Sequence[Row],
        folder: Path,
        *,
        start: str,
        seed: int,
        probe: Callable[[Sequence[Row]], Mapping[str, float]] | None = None,
    ) -> Iterator[Row]:
        """Distils the rows' critiques; one log row per instruction written. ``seed`` decides nothing.

        DataError where there is no critique, ComponentError where the model cannot be had, its context is too
        small or it writes nothing.
        """
        critiques = [row["critique"] for row in rows if (row["critique"] or "").strip()]
        if not critiques:
            raise DataError(f"distil_prompt: none of {len(rows)} row(s) has a critique.")
        blank = {"blank": len(rows) - len(critiques)}
        if self.by == "extraction":
            *others, last = [_row(1, len(critiques), extracted(critiques, self.max_words))]
        else:
            with own_randomness(resolve_device(self.device), "distil_prompt", seed):
                *others, last = _Distiller(self, self._loaded(start)).rows(critiques)
        yield from ({**row, **blank} for row in others)
        model = folder / "model"
        model.mkdir(parents=True, exist_ok=True)
        # Half an emoji from a broken export cannot be written, and says nothing.
        text = last["instruction"].encode("utf-8", "replace").decode("utf-8")
        write_whole(model / _FILE, f"{text}\n")
        yield {**last, "instruction": text, **blank}

    def _loaded(self, start: str) -> LM:
        try:
            return load(start, device=self.device, who="distil_prompt (by: model)")
        except RankerError as error:
            raise ComponentError(
                f"{error} It is asked to write the instruction: give start=<folder or hub id>, or use "
                "by: extraction, which needs no model."
            ) from None


@dataclass(frozen=True)
class _Distiller:
    """A model that is asked for instructions."""

    settings: DistilPrompt
    lm: LM

    def rows(self, critiques: Sequence[str]) -> list[Row]:
        """A log row per question, the last one's instruction made of all critiques that could be read."""
        found: list[Row] = []
        texts, use = [" ".join(critique.split()) for critique in critiques], "distil"
        while not found or len(texts) > 1:
            chunks = self._chunks(texts, use)
            if use == "merge" and len(chunks) == len(texts):
                raise ComponentError(
                    f"distil_prompt: two instructions of {self.settings.max_new_tokens} tokens leave no room "
                    f"in the model's context of {self.lm.max_length}. Lower max_new_tokens."
                )
            texts = []
            for chunk in chunks:
                if use == "merge" and len(chunk) == 1:  # nothing to merge it with in this turn
                    texts += chunk
                    continue
                text = self._asked(chunk, use)
                found.append(_row(len(found) + 1, len(chunk), text))
                texts += [text] if text else []
            if not texts:
                raise ComponentError(
                    "distil_prompt: the model wrote nothing. Use another, or by: extraction."
                )
            use = "merge"
        if found[-1]["instruction"] != texts[0]:  # the last question was answered with nothing
            found.append(_row(len(found) + 1, 1, texts[0]))
        return found

    def _chunks(self, texts: Sequence[str], use: str) -> list[list[str]]:
        """The texts in their order, as many together as there is room for."""
        frame = len(self.lm.prompt_ids(self._question((), use), self.settings.chat))
        room = self.lm.max_length - self.settings.max_new_tokens - frame
        chunks: list[list[str]] = []
        used = n_long = 0
        for text in texts:
            # One more for each, because at their joints texts may fall into other tokens than alone.
            size = len(self.lm.completion_ids(f"- {text}\n", eos=False)) + 1
            if size > room:
                n_long += 1
            elif chunks and used + size <= room:
                chunks[-1].append(text)
                used += size
            else:
                chunks.append([text])
                used = size
        if n_long:
            log.warning(
                "distil_prompt: %d of %d texts are too long for the model and were left out",
                n_long, len(texts),
            )  # fmt: skip
        if not chunks:
            raise ComponentError(
                f"distil_prompt: no critique leaves room for {self.settings.max_new_tokens} new tokens in "
                f"the model's context of {self.lm.max_length}. Lower max_new_tokens, or use another model."
            )
        return chunks

    def _question(self, texts: Sequence[str], use: str) -> str:
        told = "\n".join(f"- {text}" for text in texts)
        template = form_template(self.settings.form, use, "distil_prompt")
        return fill(
            template, {"critiques": told, "instructions": told, "words": str(self.settings.max_words)}
        )

    def _asked(self, texts: Sequence[str], use: str) -> str:
        ids = self.lm.prompt_ids(self._question(texts, use), self.settings.chat)
        [[tokens]] = decode(
            self.lm,
            [Request(ids, 0, 1)],
            temperature=0.0,
            top_p=1.0,
            max_new_tokens=self.settings.max_new_tokens,
            stop=(),
            batch_size=1,
        )
        written: Any = self.lm.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(written).strip()


def extracted(critiques: Sequence[str], max_words: int) -> str:
    """The most central and general sentences of critiques, none twice in other words, up to ``max_words``.

    Where not even one sentence is that short, the first of them is cut.
    """
    sentences = [
        sentence
        for critique in critiques
        for part in _END_OF_SENTENCE.split(critique)
        if words_of(sentence := part.rstrip("; ").strip())
    ]
    if not sentences:
        raise DataError("distil_prompt: the critiques hold no word.")
    vectors = Words(sentences).vectors
    everything: dict[str, float] = {}
    for vector in vectors:
        for word, weight in vector.items():
            everything[word] = everything.get(word, 0.0) + weight
    n_with = Counter(word for vector in vectors for word in vector)
    # A sentence is as general as its rarest word: a name or a price concerns a single task.
    scores = [dot(vector, everything) * min(n_with[word] for word in vector) for vector in vectors]
    # Rounded, so that a sum's last digit decides nothing; of equals the first.
    central = sorted(range(len(sentences)), key=lambda i: (-round(scores[i], 6), i))
    taken: list[int] = []
    n_words = 0
    for i in central:
        size = len(sentences[i].split())
        if n_words + size <= max_words and all(dot(vectors[i], vectors[j]) < _SAME for j in taken):
            taken.append(i)
            n_words += size
    if not taken:
        return " ".join(sentences[central[0]].split()[:max_words])
    return " ".join(_closed(sentences[i]) for i in taken)


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _row(step: int, n: int, instruction: str) -> Row:
    words = len(instruction.split())
    return {"step": step, "loss": None, "made_of": n, "instruction": instruction, "words": words}
