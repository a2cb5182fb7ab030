"""The model answers while a person types: a critique is committed on a page, and its rewrite appears there.

``ilf assist`` listens for Label Studio. The text that the model is asked for is the one that the recipe's
``refine`` step would ask for, from our own row and the person's critique; nothing that a page sends but that
critique reaches the model.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilf._assist import worker as workers
from ilf._assist.server import Limits, Protocol, Refused, Server
from ilf.errors import DataError, IlfError, UsageError
from ilf.label_studio import served
from ilf.protocols import Generator, Row
from ilf.records import digest, problem_of, seed_of
from ilf.refine import prompt_of, template_of

#: Jobs whose pages the model answers on.
JOBS = ("critique", "refine")
#: Controls of the page: what is read, and what is filled in.
CRITIQUE, REWRITE = "critique", "rewrite"
#: Requests that may wait for the generator, and seconds after which a request is given up. Label Studio gives
#: up after 100.
WAITING, SECONDS = 16, 60.0
#: Answers that are kept, so that a critique that is committed again costs nothing.
REMEMBERED = 1000
_REWRITE_TAG = re.compile(rf"<TextArea\b[^>]*\bname\s*=\s*[\"']{REWRITE}[\"'][^>]*>", re.IGNORECASE)
_TO_NAME = re.compile(r"\btoName\s*=\s*[\"']([\w-]+)[\"']", re.IGNORECASE)
_USER = re.compile(r", (\d+)$")


@dataclass(frozen=True)
class Rewriter:
    """Rewrites a task's output under a critique, as the recipe's refine step would.

    ``rows`` are the rows that people are shown, by item (``ilf_id``). The same item and critique give the
    same text.
    """

    rows: Mapping[str, Row]
    generator: Generator
    form: str
    job: str = "critique"
    seed: int = 0
    model: str = "model"

    def __post_init__(self) -> None:
        """Refuses an unknown form, and a job on whose page nothing is criticised."""
        template_of(self.form, "real")
        if self.job not in JOBS:
            raise UsageError(
                f"ilf assist: nobody criticises in the job '{self.job}'; jobs: {', '.join(JOBS)}."
            )

    @property
    def version(self) -> str:
        """What Label Studio is told of the model: no name."""
        return f"ilf-{digest(self.model, 8)}"

    def rewrite(self, item: str, critique: str) -> str:
        """The rewrite; raises KeyError for an unknown item, DataError where the model has no room for it."""
        row = self.rows[item]
        if self.job == "refine":  # what is criticised is the rewrite that the page shows
            row = {**row, "output": row["refinements"][0]}
        prompt = prompt_of(template_of(self.form, "real"), row, critique)
        ((text,),) = self.generator.generate([prompt], 1, [seed_of(self.seed, "assist", item, critique)])
        return text

    def warm_up(self) -> None:
        """Loads the model, so that the first person does not wait for that."""
        for item in itertools.islice(self.rows, 1):
            with contextlib.suppress(DataError):  # one text may be too long; who asks for it is told
                self.rewrite(item, "?")


@dataclass(frozen=True)
class Assistant:
    """Answers Label Studio's requests; every text is in the log of the people folder before it is shown."""

    rewriter: Rewriter
    folder: Path
    say: Callable[[str], None] = print
    waiting: int = WAITING
    seconds: float = SECONDS
    limits: Limits = field(default_factory=Limits)

    @functools.cached_property
    def _worker(self) -> workers.Worker:
        answer = functools.lru_cache(REMEMBERED)(self.rewriter.rewrite)
        return workers.Worker(answer, waiting=self.waiting, seconds=self.seconds)

    @functools.cached_property
    def _log(self) -> served.Log:
        return served.Log(self.folder)

    def server(self, secret: str, port: int = 0) -> Server:
        """A server that is listening already; ``serve_forever`` answers. UsageError for a taken port."""
        self._log  # noqa: B018 - a folder that cannot be written is found before anybody asks
        try:
            return Server(Protocol(self.setup, self.predict, secret, self.say, self.limits), port)
        except OSError as error:
            raise UsageError(f"--port {port}: {error.strerror}. Leave it out to get a free one.") from None

    def setup(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Label Studio asks which model this is; the body, with its owner's key, is not looked at."""
        return {"model_version": self.rewriter.version}

    def predict(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Label Studio asks for answers: with a context a person has committed something on a page."""
        started = time.monotonic()
        tasks, context = _tasks(body, self.limits.tasks), _context(body)
        if context is None:  # opening a page asks too; nobody has said anything yet, so there is no answer
            return {"results": [[] for _ in tasks]}
        if len(tasks) != 1:
            raise Refused(400, f"a context belongs to one task, not to {len(tasks)}")
        critique = critique_in(context)
        if critique is None:
            return self._results([])
        control = rewrite_control(body.get("label_config"))
        if control is None:
            raise Refused(422, f"the page has no text area '{REWRITE}'; set suggest: true on the feedback")
        text = self._rewritten(tasks[0], critique, started)
        region = {"id": REWRITE, "from_name": REWRITE, "to_name": control, "type": "textarea"}
        return self._results([{**region, "value": {"text": [text]}}])

    def _results(self, result: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        return {"results": [{"result": list(result), "model_version": self.rewriter.version}]}

    def _rewritten(self, task: Mapping[str, Any], critique: str, started: float) -> str:
        item = _item(task)
        if item not in self.rewriter.rows:
            raise Refused(404, "the task is none of this run's; has the recipe changed since it was pushed?")
        try:
            text = self._worker.ask(item, critique)
        except workers.Full:
            raise Refused(503, f"{self.waiting} requests are waiting already") from None
        except workers.TooSlow:
            raise Refused(504, f"the model gave no answer in {self.seconds:.0f} seconds") from None
        except IlfError as error:
            raise Refused(422, f"the model cannot answer ({type(error).__name__})") from error
        if not text.strip():
            raise Refused(422, "the model wrote nothing")
        self._note(task, item, critique, text, started)
        return text

    def _note(self, task: Mapping[str, Any], item: str, critique: str, text: str, started: float) -> None:
        """Writes down what is about to be shown; what cannot be written down is not shown."""
        number = task.get("id")
        entry = served.entry(
            item,
            critique,
            text,
            model=self.rewriter.model,
            seconds=time.monotonic() - started,
            task=number if isinstance(number, int) else None,
            person=self._person(task),
        )
        try:
            self._log.add(entry)
        except OSError as error:
            raise Refused(507, f"{served.SERVED} cannot be written: {error.strerror}") from None
        self.say(f"task {entry.task}: rewritten in {entry.seconds:.1f} s")

    def _person(self, task: Mapping[str, Any]) -> str | None:
        """The pseudonym of who asks, where the task brings a draft: Label Studio sends only their own."""
        from ilf.label_studio.events import pseudonym

        drafts = task.get("drafts")
        draft = drafts[-1] if isinstance(drafts, list) and drafts else None
        name = draft.get("created_username") if isinstance(draft, dict) else None
        found = _USER.search(name) if isinstance(name, str) else None
        return pseudonym(self.folder, int(found[1])) if found else None


def _tasks(body: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    tasks = body.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise Refused(400, "'tasks' must be a list of objects")
    if len(tasks) > most:
        raise Refused(413, f"more than {most} tasks")
    return tasks


def _context(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    params = body.get("params")
    if params is None:
        return None
    context = params.get("context", {}) if isinstance(params, dict) else params
    if context is not None and not isinstance(context, dict):
        raise Refused(400, "'params' must be an object, and its 'context' an object or null")
    return context


def _item(task: Mapping[str, Any]) -> str:
    data = task.get("data")
    item = data.get("ilf_id") if isinstance(data, dict) else None
    if not isinstance(item, str):
        raise Refused(400, "the task has no 'ilf_id' in its data")
    return item


def critique_in(context: Mapping[str, Any]) -> str | None:
    """The critique that was committed, or None where it was something else; Refused where it is nonsense."""
    result = context.get("result")
    if result is None:
        return None
    if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
        raise Refused(400, "the context's 'result' must be a list of objects")
    said: list[str] = []
    for entry in result:
        if entry.get("from_name") != CRITIQUE:
            continue
        value = entry.get("value")
        text = value.get("text") if isinstance(value, dict) else None
        lines = [text] if isinstance(text, str) else text
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise Refused(400, "a critique must be text")
        said += lines
    # Half an emoji from a page must not stop a tokenizer.
    critique = "\n".join(said).encode("utf-8", "replace").decode("utf-8")
    return None if problem_of("critique", critique) else critique


def rewrite_control(label_config: object) -> str | None:
    """What the page's text area for the rewrite belongs to (its ``toName``), or None where it has none."""
    found = _REWRITE_TAG.search(label_config) if isinstance(label_config, str) else None
    name = _TO_NAME.search(found[0]) if found else None
    return name[1] if name else None
