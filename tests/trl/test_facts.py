"""What is true of a response under TRL is what is true of it under verl: ends, cuts, tags in the prompt, answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from leanthink.core.errors import BatchError, ConfigError
from leanthink.recipe.definition import load_recipe
from leanthink.training import Settings
from leanthink.trl.mixin import ends_of, fitted
from leanthink.trl.rows import columns_of, dataset, gold_of, messages_of
from leanthink.trl.scorer import Found, Row, Scorer, evaluation_metrics, group_ids
from made_facts import fact

END, TURN, PAD = 1, 2, 3


class Signs:
    """A tokenizer of single signs."""

    eos_token_id = END

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(chr(one) for one in ids)


def signs(text: str) -> list[int]:
    return [ord(sign) for sign in text]


def scorer(**options: Any) -> Scorer:
    return Scorer(Settings.of(load_recipe("grpo"), **options), Signs(), frozenset({END, TURN}))


def row(text: str, *end: int, truncated: bool = False, prompt: str = "") -> Row:
    return Row({"prompt": "19 x 23?", "answer": "437"}, [*signs(text), *end], truncated, signs(prompt))


def test_every_end_token_of_the_models_settings_ends_a_response() -> None:
    model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[TURN, 9]))
    assert ends_of(model, Signs()) == {END, TURN, 9}
    assert ends_of(SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=TURN)), Signs()) == {END, TURN}
    asked = SimpleNamespace(generation_kwargs={"stop_token_ids": [7]})
    assert ends_of(SimpleNamespace(generation_config=None), Signs(), asked) == {END, 7}


def test_the_end_token_counts_and_is_no_text() -> None:
    found = scorer().find([row("\\boxed{437}", TURN), row("\\boxed{436}", END), row("", truncated=True)], keeps=True)
    assert [one.fact["acc"] for one in found] == [1, 0, 0]
    assert [one.fact["length"] for one in found] == [12, 12, 0]
    assert [one.fact["truncated"] for one in found] == [0, 0, 1]
    assert found[0].kept["output"] == "\\boxed{437}" and found[0].kept["gts"] == "437"
    assert len({one.prompt for one in found}) == 1


def test_a_response_behind_an_opening_tag_begins_in_its_thinking() -> None:
    """One that is cut there has no answer, whatever stands in it."""
    told = [row("\\boxed{437} but wait", truncated=True, prompt=prompt) for prompt in ("Q: <think>", "Q:")]
    assert [one.fact["acc"] for one in scorer().find(told)] == [0, 1]


def test_an_empty_response_is_trained_on_nowhere() -> None:
    one = scorer()
    made = one.train(one.find([row("\\boxed{437}", END), row("5", END), row("", truncated=True)]), 3)
    assert made.trained_N.tolist() == [True, True, False]
    assert made.reward_N.tolist() == [1, 0, 0]
    assert made.advantage[0] == -made.advantage[1] > 0 == made.advantage[2]


def test_an_empty_prompt_is_one_like_any_other() -> None:
    rows = [Row({"prompt": prompt, "answer": "437"}, signs("437"), False) for prompt in ("", "", [], [])]
    found = scorer().find(rows)
    assert [one.fact["acc"] for one in found] == [1] * 4
    assert group_ids([one.prompt for one in found], 2) == ["0", "0", "1", "1"]


def test_a_batch_of_unknown_verdicts_stops_the_run() -> None:
    one = scorer()
    rows = [Row({"prompt": "x", "answer": "proof"}, signs("5"), False)] * 2
    with pytest.raises(BatchError, match="100% of the verdicts are unknown"):
        one.train(one.find(rows), 2)


def test_groups_are_whole_or_an_error() -> None:
    assert group_ids(["a", "a", "a", "a"], 2) == ["0", "0", "1", "1"]
    with pytest.raises(BatchError, match=r"3 responses are no whole groups of 2; .* per_device_eval_batch_size"):
        group_ids(["a"] * 3, 2)
    with pytest.raises(BatchError, match=r"rows 2 to 3 should answer one prompt, and do not"):
        group_ids(["a", "a", "a", "b"], 2)


def test_advantages_by_token_are_cut_and_filled_to_a_processs_width() -> None:
    ids = torch.zeros(2, 3, dtype=torch.long)
    assert fitted(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), ids).tolist() == [[1, 2, 0], [3, 4, 0]]
    assert fitted(torch.ones(2, 5), ids).shape == (2, 3)
    assert fitted(torch.tensor([1.0, 2.0], dtype=torch.float64), ids).dtype == torch.float32


def test_evaluation_leaves_unknown_verdicts_out_and_counts_them() -> None:
    facts = [fact(1.0, 10), fact(0.0, 30, truncated=1.0), fact(0.0, 99, unknown=1.0)]
    metrics = evaluation_metrics(facts)
    assert (metrics["accuracy"], metrics["length/all"], metrics["truncated_share"]) == (0.5, 20, 0.5)
    assert metrics["unknown_share"] == pytest.approx(1 / 3)
    assert "accuracy" not in evaluation_metrics(facts[2:])


def test_rows_of_verl_and_of_trl() -> None:
    prompt = [{"role": "user", "content": "q"}]
    verls = {"prompt": prompt, "reward_model": {"ground_truth": "4"}, "extra_info": {"budget": 9}}
    assert gold_of(verls) == "4" and columns_of({**verls, "budget": 7, "level": 2}) == {"budget": 9, "level": 2}
    assert gold_of({"prompt": "q", "solution": "4", "mine": "5"}) == "4"
    assert gold_of({"prompt": "q", "solution": "4", "mine": "5"}, "mine") == "5"
    assert messages_of("q") == messages_of(verls["prompt"])
    with pytest.raises(ConfigError, match=r"the data have no column 'mine'; they have prompt"):
        gold_of({"prompt": "q"}, "mine")


def test_found_travels() -> None:
    import pickle

    one = scorer().find([row("4", END)])[0]
    assert pickle.loads(pickle.dumps(one)) == one and isinstance(one, Found)


def test_rows_with_arguments_of_their_own_for_the_template_are_refused() -> None:
    own = {"prompt": "1 + 1 =", "solution": "2", "chat_template_kwargs": {"reasoning_effort": "low"}}
    with pytest.raises(ConfigError, match="TRL gives its template the same arguments for all rows"):
        scorer().check_row(own)


@pytest.mark.parametrize(("limit", "kept"), [(None, 3), (-1, 3), (0, 0), (2, 2), (9, 3)])
def test_the_first_rows_of_the_data_as_many_as_verl_would_take(limit: int | None, kept: int) -> None:
    rows = [{"prompt": f"{number}", "answer": f"{number}"} for number in range(3)]
    assert list(dataset(rows, limit)) == rows[:kept]


def test_the_limit_is_that_of_the_coming_generation() -> None:
    falling = "limit={per_step: {at_most: {linear: {start: 30, stop: 10, steps: 2}}}}"
    one = Scorer(Settings.of(load_recipe("grpo", [falling])), Signs(), frozenset({END, TURN}))
    found = []
    for done in range(3):
        one.done = done
        found += one.limits([{"prompt": "19 x 23?", "answer": "437"}], 25)
    assert found == [25, 20, 10]  # the first is TRL's own
