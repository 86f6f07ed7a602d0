import asyncio
from types import SimpleNamespace

import pytest

from leanthink.core.errors import BatchError
from leanthink.rewards import StepwiseGain
from leanthink.testbed.tokenizer import build_tokenizer
from leanthink.verify import Verifier
from leanthink.verl.rollout.probes import Probed, Prober, check_known, columns_of, probe_metrics

TOKENIZER = build_tokenizer()
EOS = TOKENIZER.eos_token_id
PART = StepwiseGain(markers=("wait",), skip_chars=0, min_gap_chars=0, probes=2, probe_tokens=6)
RESPONSE = TOKENIZER.encode(r"<think> 47 + 12 = 58 wait + 12 = 59 wait + 12 = 59 </think> \boxed{ 59 } <eos>")


def prober(part=PART):
    return Prober(part, TOKENIZER, Verifier(), frozenset({EOS}))


def says(text, reason="completed"):
    return SimpleNamespace(token_ids=TOKENIZER.encode(text), stop_reason=reason)


def probe(answer, response=RESPONSE, gold="59", part=PART, opened=False, limit=6):
    """Probe with an engine that is a function of the prefix's text and the answer's number."""
    asked = []

    async def generate(prefix_ids, n):
        text = TOKENIZER.decode(prefix_ids)
        asked.append((text, n))
        await asyncio.sleep(0)
        return answer(text, n), limit

    return asyncio.run(prober(part).probe(response, gold, generate, opened)), asked


def last_number(prefix, n):
    return says(rf"\boxed{{ {prefix.removesuffix(' </think>').split()[-1]} }} <eos>")


def test_accuracies_by_prefix_and_what_it_cost():
    probed, asked = probe(last_number)
    assert probed.cut_tokens == [6, 11, 16]
    assert probed.probe_accuracies == [0.0, 1.0, 1.0]
    assert [text for text, n in asked if n == 0] == [
        "<think> 47 + 12 = 58 </think>",
        "<think> 47 + 12 = 58 wait + 12 = 59 </think>",
        "<think> 47 + 12 = 58 wait + 12 = 59 wait + 12 = 59 </think>",
    ]
    assert (probed.asked, probed.unknown, probed.truncated) == (6, 0, 0)
    assert (probed.read_tokens, probed.written_tokens) == (2 * (7 + 12 + 17), 6 * 4)
    assert columns_of(probed.node()) == {"cut_tokens": [6, 11, 16], "probe_accuracies": [0.0, 1.0, 1.0]}


def test_samples_of_a_prefix_are_averaged():
    probed, _ = probe(lambda prefix, n: says(rf"\boxed{{ {59 if n else 58} }} <eos>"))
    assert probed.probe_accuracies == [0.5, 0.5, 0.5]


def test_a_failed_probe_makes_its_prefix_unknown_and_no_other(caplog):
    def engine(prefix, n):
        if prefix.count("wait") == 1 and n == 1:
            raise ValueError("no room")
        return says(r"\boxed{ 59 } <eos>")

    probed, _ = probe(engine)
    assert probed.probe_accuracies == [1.0, None, 1.0]
    assert (probed.asked, probed.unknown) == (6, 1)
    assert "1 of 6 probes of a response failed, the first: ValueError: no room" in caplog.text


def test_an_aborted_probe_is_unknown():
    assert probe(lambda *_: says(r"\boxed{ 59 }", "aborted"))[0].probe_accuracies == [None] * 3


def test_an_unknown_verdict_is_unknown(monkeypatch):
    class Slow(Verifier):
        async def acheck(self, gold, response, *, truncated=False):
            from leanthink.verify import Judgement, Verdict

            return Judgement(verdict=Verdict.UNKNOWN, extracted=None, judge="x", reason="timeout: 5 s")

    slow = Prober(PART, TOKENIZER, Slow(), frozenset({EOS}))

    async def generate(prefix_ids, n):
        return says("59"), 6

    probed = asyncio.run(slow.probe(RESPONSE, "59", generate))
    assert probed.probe_accuracies == [None] * 3 and probed.unknown == 6


@pytest.mark.parametrize(
    ("answer", "right", "truncated"),
    [
        (says(r"\boxed{ 59 } <eos>"), 1.0, 0),
        (says(r"\boxed{ 59 }"), 1.0, 0),  # a stop string
        (says(r"\boxed{ 58 } <eos>"), 0.0, 0),
        (says("59 <eos>"), 1.0, 0),  # the verifier's fallback, as for the outcome
        (says("4 4 4 4 4 59", "length"), 0.0, 6),  # cut off without a box: nothing is searched
        (says("4 4 4 4 4 59"), 0.0, 6),
        (says("<eos>"), 0.0, 0),
        (says(r"<think> \boxed{ 59 } <eos>"), 0.0, 0),  # it resumed thinking
    ],
)
def test_what_counts_as_an_answer(answer, right, truncated):
    probed, _ = probe(lambda *_: answer)
    assert probed.probe_accuracies == [right] * 3 and probed.truncated == truncated


def test_an_answer_that_the_context_ends_is_truncated():
    assert probe(lambda *_: says("4 4 4"), limit=3)[0].truncated == 6
    assert probe(lambda *_: says("4 4 4"), limit=6)[0].truncated == 0


def test_a_response_without_cuts_costs_nothing():
    probed, asked = probe(last_number, TOKENIZER.encode(r"<think> 47 + 12 = 59 </think> \boxed{ 59 } <eos>"))
    assert asked == [] and probed.asked == 0 and probed.cut_tokens == probed.probe_accuracies == []


def test_end_tokens_are_no_thinking():
    cut_off = TOKENIZER.encode("<think> 47 + 12 = 58 wait + 12 <eos>")
    probed, asked = probe(last_number, cut_off)
    assert asked[-1][0] == "<think> 47 + 12 = 58 wait + 12 </think>" and probed.cut_tokens == [6, 9]
    skipped, asked = probe(
        last_number, cut_off, part=StepwiseGain(markers=("wait",), skip_chars=0, truncated_last_prefix="skip")
    )
    assert skipped.probe_accuracies == [0.0, None] and len(asked) == 5 and skipped.unknown == 0


def test_a_prompt_that_opens_the_thinking():
    asking = prober()
    assert asking.opened_by(TOKENIZER.encode("<user> 47 + 12 = <assistant> <think>"))
    assert not asking.opened_by(TOKENIZER.encode("<user> 47 + 12 = <assistant>"))
    probed, asked = probe(last_number, RESPONSE[1:], opened=True)
    assert probed.cut_tokens == [5, 10, 15] and asked[0][0] == "47 + 12 = 58 </think>"


def test_sampling_parameters_are_the_rollouts_but_for_what_is_set():
    rollout = {"temperature": 0.6, "top_p": 0.95, "top_k": -1, "logprobs": True, "max_new_tokens": 99}
    assert prober().sampling_params(rollout) == {
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": -1,
        "logprobs": False,
        "max_tokens": 6,
    }
    own = prober(StepwiseGain(probe_temperature=0.0, probe_top_p=0.5)).sampling_params(rollout)
    assert (own["temperature"], own["top_p"], own["max_tokens"]) == (0.0, 0.5, 768)
    assert rollout["logprobs"] is True


def test_metrics():
    one = Probed(
        cut_tokens=[1, 5, 9],
        probe_accuracies=[0.0, None, 1.0],
        asked=6,
        unknown=1,
        truncated=2,
        read_tokens=60,
        written_tokens=20,
        seconds=2.0,
    )
    metrics = probe_metrics([one.node(), Probed().node()], [30, 10])
    assert metrics == {
        "probe/count": 6.0,
        "probe/cuts": 1.0,
        "probe/uncut_share": 0.5,
        "probe/read_tokens": 60.0,
        "probe/written_tokens": 20.0,
        "probe/written_per_response_token": 0.5,
        "probe/unknown_share": pytest.approx(1 / 6),
        "probe/truncated_share": pytest.approx(1 / 3),
        "probe/seconds": 2.0,
        "probe/accuracy": 0.5,
    }
    assert probe_metrics([Probed().node()], [30]).keys() == {f"probe/{name}" for name in (
        "count", "cuts", "uncut_share", "read_tokens", "written_tokens", "written_per_response_token"
    )}  # fmt: skip


def test_many_failed_probes_stop_the_run():
    check_known({"probe/unknown_share": 0.5}, 0.5, 3)
    check_known({}, 0.0, 3)
    with pytest.raises(BatchError, match=r"step 3: 60% of the probes are unknown.*max_unknown"):
        check_known({"probe/unknown_share": 0.6}, 0.5, 3)
