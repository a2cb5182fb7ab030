"""self_refine: who is asked what, with which seeds, when it stops; and what a policy's answer costs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_model
from toys.echo import Echo
from toys.recorder import Recorder

from ilf._forms import form_template
from ilf.errors import UsageError
from ilf.generators.best_of_n import BestOfN
from ilf.generators.critiques_in_context import CritiquesInContext
from ilf.generators.framed import Framed
from ilf.generators.prompt_from_critiques import PromptFromCritiques
from ilf.generators.self_refine import SelfRefine
from ilf.generators.transformers_lm import TransformersLM
from ilf.protocols import Generator
from ilf.records import seed_of
from rankers.length import Length


def test_one_round_asks_for_answer_critique_and_rewrite() -> None:
    """In the form's own words, the critique without the space that a completion begins with."""
    writer, critic, refiner = Recorder("w"), Recorder("c", says={"TL;DR:": " Say what. "}), Recorder("r")
    policy = SelfRefine(writer, form="nano", critic=critic, refiner=refiner)
    seeds = [seed_of(5, "self_refine", stage, 0, 0) for stage in ("critique", "rewrite")]
    assert policy.generate(["POST: {x}\nTL;DR:"], 1, [5]) == [[f" r{seeds[1]}.0"]]
    assert writer.asked == [("POST: {x}\nTL;DR:", 1, 5)]
    assert critic.asked == [("POST: {x}\nTL;DR: w5.0\nFEEDBACK:", 1, seeds[0])]
    assert refiner.asked == [
        ("POST: {x}\nTL;DR: w5.0\nFEEDBACK: Say what.\nBETTER:", 1, seeds[1]),
    ]


def test_every_copy_and_every_round_has_seeds_of_its_own_and_rewrites_the_last_text() -> None:
    everyone = Recorder()
    policy = SelfRefine(everyone, rounds=3, form="nano")
    found = policy.generate(["A:", "B:"], 2, [5, 5])
    seeds = [seed for _, n, seed in everyone.asked[2:]]
    assert len(seeds) == 3 * 2 * 4
    assert len(set(seeds)) == 3 * 2 * 2, "of equal rows seeds are equal, of copies, rounds and stages never"
    last = [prompt for prompt, _, _ in everyone.asked if prompt.endswith("BETTER:")][-4:]
    again = [seed_of(5, "self_refine", "rewrite", 1, copy) for copy in (0, 1)]
    assert [f"g{seed}.0\nFEEDBACK:" in prompt for seed, prompt in zip(again * 2, last, strict=True)] == [
        True
    ] * 4
    assert found[0] == [f" g{seed_of(5, 'self_refine', 'rewrite', 2, copy)}.0" for copy in (0, 1)]


def test_the_first_answers_are_the_generators_own() -> None:
    """What is stopped at once, whatever the case of the phrase, is what the generator would have said."""
    happy = Recorder("c", says={"": "well, NOTHING to Change here"})
    policy = SelfRefine(
        Echo(), rounds=2, critic=happy, refiner=Recorder("r"), stop_phrase="nothing to change"
    )
    assert policy.generate(["a", "b"], 3, [1, 2]) == Echo().generate(["a", "b"], 3, [1, 2])
    assert len(happy.asked) == 6, "nobody is asked again about a text that was found good enough"
    unstopped = SelfRefine(Echo(), critic=happy, refiner=Recorder("r"))
    assert unstopped.generate(["a"], 1, [1])[0][0].startswith(" r")


def test_only_texts_that_are_not_good_enough_go_on() -> None:
    critic = Recorder("c", says={"Task:\nB": "Fine."})
    refiner = Recorder("r")
    policy = SelfRefine(Recorder("w"), rounds=2, critic=critic, refiner=refiner, stop_phrase="fine")
    found = policy.generate(["A", "B"], 1, [1, 2])
    assert [text[:2] for row in found for text in row] == [" r", " w"]
    assert (len(critic.asked), len(refiner.asked)) == (3, 2)


@pytest.mark.parametrize(
    ("critic", "refiner", "told"),
    [
        (Recorder("c", says={"": " \n"}), Recorder("r"), "2 blank critiques"),
        (Recorder("c"), Recorder("r", says={"": ""}), "4 blank rewrites"),
        (Recorder("c", room=3), Recorder("r"), "2 without room in the context"),
        (Recorder("c"), Recorder("r", room=3), "2 without room in the context"),
    ],
)
def test_what_cannot_be_rewritten_stays_and_is_counted(
    critic: Recorder, refiner: Recorder, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = SelfRefine(Recorder("w"), rounds=2, critic=critic, refiner=refiner)
    with caplog.at_level(logging.WARNING, logger="ilf"):
        assert policy.generate(["A", "B"], 1, [1, 2]) == [[" w1.0"], [" w2.0"]]
    assert f"of 2 texts in 2 round(s): {told}; these texts stayed" in caplog.text


def test_nothing_is_said_where_nothing_went_wrong(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="ilf"):
        SelfRefine(Recorder(), rounds=2).generate(["A"], 2, [1])
    assert not caplog.records


def test_batches_change_nothing(tmp_path: Path) -> None:
    """With a model: rows together, alone, and by two sizes of batch."""
    folder = str(tiny_model(tmp_path / "model"))

    def answers(batch_size: int, prompts: list[Any], seeds: list[int]) -> list[list[str]]:
        lm = TransformersLM(folder, max_new_tokens=6, device="cpu", batch_size=batch_size)
        return SelfRefine(lm, rounds=2, form="nano").generate(prompts, 2, seeds)

    prompts, seeds = ["Tom broke the kettle.\nTL;DR:", "A", "Anna, a cook"], [3, 4, 5]
    together = answers(256, prompts, seeds)
    assert answers(1, prompts, seeds) == together
    assert [answers(4, [p], [s])[0] for p, s in zip(prompts, seeds, strict=True)] == together


def test_settings_that_cannot_work_are_refused() -> None:
    for rounds in (0, 4):
        with pytest.raises(UsageError, match=rf"self_refine\.rounds: {rounds} must be from 1 to 3"):
            SelfRefine(Recorder(), rounds=rounds)
    with pytest.raises(UsageError, match=r"self_refine\.stop_phrase: a blank text"):
        SelfRefine(Recorder(), stop_phrase=" ")
    with pytest.raises(UsageError, match=r"self_refine\.form: no prompt form 'nan'.*'nano'"):
        SelfRefine(Recorder(), form="nan")
    with pytest.raises(UsageError, match="self_refine: 0 completions"):
        SelfRefine(Recorder()).generate(["a"], 0, [1])
    assert "{critique}" in form_template("instruct", "refine", "x")


# --- what a policy's answer costs -------------------------------------------------------------------------


def test_samples_per_answer_multiply_and_add_through_nesting() -> None:
    lm = TransformersLM("m")
    four = BestOfN(lm, Length(), n=4)
    costs: list[tuple[Generator, float]] = [
        (lm, 1.0),
        (four, 4.0),
        (BestOfN(four, Length(), n=2), 8.0),
        (BestOfN(Echo(), Length(), n=3), 3.0),  # one that does not say costs one
        (Framed(four, "{prompt}:"), 4.0),
        (CritiquesInContext(four, "m"), 4.0),
        (PromptFromCritiques(four, "m"), 4.0),
        (SelfRefine(lm), 3.0),
        (SelfRefine(lm, rounds=2), 5.0),
        (SelfRefine(four, rounds=2), 20.0),
        (SelfRefine(four, rounds=2, critic=lm, refiner=lm), 8.0),
        (BestOfN(SelfRefine(lm, critic=four), Length(), n=2), 12.0),
    ]
    assert [generator.samples_per_answer for generator, _ in costs] == [cost for _, cost in costs]  # type: ignore[attr-defined]


def test_what_is_said_is_what_is_sampled() -> None:
    recorder = Recorder()
    policy = SelfRefine(BestOfN(recorder, Length(), n=3), rounds=2)
    policy.generate(["A", "B"], 4, [1, 2])
    assert sum(n for _, n, _ in recorder.asked) == 2 * 4 * policy.samples_per_answer


def test_room_goes_through_nesting(tmp_path: Path) -> None:
    """And is that of the model where there is one: to the token."""
    tight = Recorder(room=8)
    for policy in (BestOfN(tight, Length()), SelfRefine(tight), CritiquesInContext(tight, "m")):
        assert policy.has_room("12345678")
        assert not policy.has_room("123456789")
    assert Framed(tight, "{prompt}:").has_room("1234567")
    assert not Framed(tight, "{prompt}:").has_room("12345678")
    assert BestOfN(Echo(), Length()).has_room("x" * 10**6), "one that does not say has room"
    lm = TransformersLM(str(tiny_model(tmp_path / "m", positions=32)), max_new_tokens=8, device="cpu")
    fits = [n for n in range(1, 60) if lm.has_room("x" * n)]
    assert max(len(lm.prompt_ids("x" * n)) for n in fits) == 24
