"""A prompt and its completion in token ids: THE encoding that strategies train on and that is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rankers._api import RankerError
from rankers._lm import LM, Chat


class MessagesRefusedError(RankerError):
    """The chat template refuses the messages of a prompt; other rows may well be fine."""


def sequence(
    lm: LM, prompt: str | Sequence[Mapping[str, Any]], completion: str, chat: Chat = "auto"
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt, and of the completion, which ends with the end token.

    They are tokenised apart, so that no token spans their border. With a chat template the prompt is rendered
    open for the answer, and the completion is what the template would put behind it. Raises RankerError where
    the template rewrites the prompt once it has an answer, or where messages meet a tokenizer without a
    template; MessagesRefusedError where the template refuses the messages.
    """
    if isinstance(prompt, str) and (chat == "never" or not lm.has_chat_template):
        return lm.prompt_ids(prompt, "never"), lm.completion_ids(completion, eos=True)
    if not lm.has_chat_template:
        raise RankerError(
            "the prompts are messages, and the tokenizer has no chat template. "
            "Use an instruct model, or prompts that are strings."
        )
    return _in_chat(lm, prompt, completion)


def _in_chat(
    lm: LM, prompt: str | Sequence[Mapping[str, Any]], completion: str
) -> tuple[list[int], list[int]]:
    from jinja2 import TemplateError

    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    answer = {"role": "assistant", "content": completion.strip()}
    render = lm.tokenizer.apply_chat_template
    try:
        asked = render(messages, tokenize=False, add_generation_prompt=True)
        answered = render([*messages, answer], tokenize=False)
    except TemplateError as error:
        raise MessagesRefusedError(f"the chat template refuses these messages: {error}") from None
    if not answered.startswith(asked):
        raise RankerError(
            "the chat template changes the prompt once an answer follows, so what is trained would not be "
            "what is sampled. Set chat=never (prompts must be strings then), or use another model."
        )
    # Rendered texts have their begin token already.
    ids = lm.completion_ids(asked, eos=False)
    # Behind an answer and its end token templates put line breaks, which are never sampled.
    target = lm.completion_ids(answered[len(asked) :].rstrip(), eos=True)
    return ids, target[: target.index(target[-1]) + 1]
