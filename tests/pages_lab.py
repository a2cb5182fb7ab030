"""What the browser tests show to people: realistic rows, texts that would do harm, projects that hold them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Page

from ilf.label_studio.jobs import page, task_data

POST = """SUBREDDIT: r/relationships

TITLE: My (24F) flatmate (26M) keeps cancelling our walking holiday. Do I go alone?

POST: We have shared a flat for two years and get on very well. Last autumn the two of us decided to walk across the Lake District for a week. I booked the huts in January and paid the deposits, 180 pounds each, which he said he would pay back.

In March he moved the date because of a course. Fine. In May he moved it again because his sister was visiting. I asked whether he still wanted to go and he said yes, of course. Yesterday he told me, in passing while making tea, that he cannot get the week off after all and that "we can always do it next year".

I have used up my leave for that week, and the huts will not refund us a third time. I do not want a quarrel because we share the flat until next summer. But I am tired of being the one who plans everything, and I would love to do the walk.

My sister thinks I should go alone and ask him for his half of the deposits. My mother thinks a woman should not walk alone for a week. What would you do?

TL;DR:"""
OUTPUTS = [
    "My flatmate cancelled our walking holiday for the third time, after I paid the deposits. My sister wants to come with me instead, but my mother is against it. Should I move out?",
    "Flatmate has moved our Lake District walk twice and now cancelled it. I have paid the deposits and used my leave. Do I go alone and ask him for his half, without a quarrel at home?",
    "Holiday cancelled again. What would you do?",
    "My flatmate never pays his debts and I hate living with him, so I am going on holiday with my sister.",
]
CRITIQUE = "The sister does not want to come along; she only advises to go alone. And nobody thinks of moving out: the question is whether to go alone and ask for his half of the deposits."
REWRITE = "My flatmate cancelled our walking holiday for the third time, after I paid the deposits and took leave. My sister says to go alone and ask him for his half, my mother is against walking alone. What would you do?"
#: An order of the outputs for the pictures is drawn from the row's id.
ROW: dict[str, Any] = {
    "prompt": POST,
    "output": OUTPUTS[0],
    "outputs": OUTPUTS,
    "critique": CRITIQUE,
    "refinements": [REWRITE],
    "facts": {"secret": "SECRET"},
}
HARM = (
    "<script>window.harm=1</script><img src='http://harm.invalid/x.png' onerror='window.harm=2'>"
    "<iframe srcdoc='<script>top.harm=3</script>'></iframe><svg onload='window.harm=4'></svg>"
    "<style>body { display: none }</style><a href='javascript:window.harm=5'>a</a> http://harm.invalid/ s3://b/k\n"
    "$prompt ${output} $items[0].body {{idx}} {{7*7}} {{ilf_id}} [[style]] %s &lt;b&gt; &amp; \\n ]]> <!-- \r\n"
    "\ttab,  two blanks,   three\n\n\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202eturned\u202c "
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 \u4f60\u597d \u2028 end"
)
LONG = "".join(f"A sentence that is like all the others, but it is number {n}.\n" for n in range(1000))[
    :50_000
]


def row(job: str, number: int = 0, **change: Any) -> dict[str, Any]:
    made = {**ROW, "id": f"{job}-{number}", **change}
    if job in ("pairwise", "verdict"):
        made["outputs"] = made["outputs"][:2]
    return made


def options(job: str) -> dict[str, Any]:
    return {"n_outputs": 4} if job == "rank" else {}


@contextlib.contextmanager
def project(
    studio: Any, job: str, rows: list[dict[str, Any]], **options: Any
) -> Iterator[tuple[int, list[int]]]:
    """A project with the page of a job: its id, and those of its tasks."""
    shown = page(job, **options)
    settings = {
        "title": f"browser {job}",
        "label_config": shown.config,
        "expert_instruction": shown.instruction,
        "show_instruction": True,
        "show_skip_button": True,
        "enable_empty_annotation": False,
        "maximum_annotations": 2,
    }
    with studio.client() as client:
        made = client.post("/api/projects", json=settings).raise_for_status().json()["id"]
        tasks = [{"data": task_data(job, one)} for one in rows]
        sent = client.post(f"/api/projects/{made}/import?return_task_ids=true", json=tasks)
        yield made, sent.raise_for_status().json()["task_ids"]
        client.delete(f"/api/projects/{made}").raise_for_status()


def stored(studio: Any, task: int) -> list[dict[str, Any]]:
    with studio.client() as client:
        found: list[dict[str, Any]] = (
            client.get(f"/api/tasks/{task}").raise_for_status().json()["annotations"]
        )
        return found


#: Measures a page: what is cut off, too small, or outside the screen.
SIZES = """() => {
  const box = e => e.getBoundingClientRect();
  const main = document.querySelector('.lsf-main-view'), work = document.querySelector('.ilf-work');
  const inside = e => { const b = box(e); return b.left >= 0 && b.right <= innerWidth + 1 && b.width > 100 };
  const shown = [...document.querySelectorAll('.ilf-text')].filter(e => e.offsetParent);
  const submit = [...document.querySelectorAll('button')].filter(b => ['Submit', 'Skip'].includes(b.innerText.trim()));
  return {
    sideways: document.documentElement.scrollWidth - innerWidth + main.scrollWidth - main.clientWidth
      + Math.max(0, work.scrollWidth - work.clientWidth),
    down: document.documentElement.scrollHeight - innerHeight + main.scrollHeight - main.clientHeight,
    outside: shown.filter(e => !inside(e)).length,
    tall: shown.filter(e => box(e).height > innerHeight - 150).length,
    cut: shown.filter(e => box(e).height < 40).length,
    boxes: shown.length,
    buttons: submit.filter(b => box(b).bottom <= innerHeight && box(b).right <= innerWidth).length,
    small: shown.filter(e => parseFloat(getComputedStyle(e.querySelector('span')).fontSize) < 14).length,
  } }"""


def texts(person: Page) -> list[list[str]]:
    """The lines of every text box, in the order in which they stand in the page."""
    found: list[list[str]] = person.evaluate(
        "() => [...document.querySelectorAll('.ilf-text')].map(box => "
        "[...box.querySelectorAll('.lsf-richtext__line')].map(line => line.textContent))"
    )
    return found


def lines(text: str) -> list[str]:
    return re.split("[\r\n]", text)


_BOX = """word => { for (const line of document.querySelectorAll('.ilf-judged .lsf-richtext__line')) {
    const walk = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    for (let node; node = walk.nextNode();) { const at = node.data.indexOf(word); if (at < 0) continue;
      const range = document.createRange(); range.setStart(node, at); range.setEnd(node, at + word.length);
      const parts = [...range.getClientRects()], a = parts[0], z = parts[parts.length - 1];
      return [a.left + 1, (a.top + a.bottom) / 2, z.right - 1, (z.top + z.bottom) / 2] } } }"""


def drag_over(person: Page, words: str) -> None:
    """Presses the mouse at the beginning of words of the output and lets go at their end."""
    left, top, right, bottom = person.evaluate(_BOX, words)
    person.mouse.move(left, top)
    person.mouse.down()
    person.mouse.move((left + right) / 2, (top + bottom) / 2)
    person.mouse.move(right, bottom)
    person.mouse.up()


def click_on(person: Page, word: str) -> None:
    left, top, right, _ = person.evaluate(_BOX, word)
    person.mouse.click((left + right) / 2, top)
