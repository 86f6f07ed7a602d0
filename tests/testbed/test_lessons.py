from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from leanthink.testbed.lessons import COURSES, Course, Teacher, answer_after, search_batches
from leanthink.testbed.muon import Muon, orthogonal
from leanthink.testbed.search import Search, SearchQuestion, right_candidate, split_of
from leanthink.testbed.task import boxed_answer
from leanthink.testbed.tokenizer import vocabulary
from leanthink.testbed.training import IGNORED, new_model, train

TASK = Search()
WORDS = list(vocabulary(TASK))
TINY = Course(
    steps=6, batch_size=20, hidden_size=16, layers=1, heads=2, key_value_heads=1, intermediate_size=16, warmup_steps=2,
    phases=((2, {"tries": 0.5, "pairs": 0.5}), (4, {"pairs": 0.2, "traces": 0.6, "cuts": 0.2}), (6, {"traces": 1.0})),
)  # fmt: skip


def drawn(lesson: str, count: int = 60) -> list[tuple[SearchQuestion, list[str], list[bool]]]:
    """Lessons as question, words behind the prompt, and which of them are learnt."""
    teacher = Teacher(TASK, 0)
    found = []
    for _ in range(count):
        ids, labels = teacher.lessons[lesson]()
        assert all(label in (IGNORED, identity) for identity, label in zip(ids, labels, strict=True))
        words = [WORDS[identity] for identity in ids]
        start = words.index("<assistant>") + 1
        asked = words[1 : start - 1]
        times = asked.index("times")
        question = SearchQuestion(
            candidates=tuple(map(int, asked[:times])), multiplier=int(asked[times + 1]), target=int(asked[times + 3])
        )
        assert split_of(question) == "train"
        assert all(label == IGNORED for label in labels[:start])
        found.append((question, words[start:], [label != IGNORED for label in labels[start:]]))
    return found


@pytest.mark.parametrize("lesson", ["tries", "pairs"])
def test_tries_and_pairs_are_right_and_learn_what_can_be_known(lesson: str) -> None:
    for question, words, learnt in drawn(lesson):
        assert words[0] == "<think>" and not learnt[0]
        tried = []
        for at in range(1, len(words), 4):
            candidate, result, verdict, wait = words[at : at + 4]
            assert int(result) == 100 + int(candidate) * question.multiplier % 97
            assert verdict == ("yes" if int(result) == question.target else "no") and wait == "wait"
            second = lesson == "pairs" and len(tried) % 2 == 1
            assert learnt[at : at + 4] == [second, True, True, False]
            if second:
                place = question.candidates.index(tried[-1])
                assert int(candidate) == question.candidates[place + 1]
            tried.append(int(candidate))
        assert len(tried) == 16


def test_tries_know_the_right_candidate_often_enough() -> None:
    rights = [int(words[at]) == right_candidate(q) for q, words, _ in drawn("tries") for at in range(1, 65, 4)]
    assert 0.2 < sum(rights) / len(rights) < 0.35


def test_traces_are_learnt_whole() -> None:
    for _, words, learnt in drawn("traces"):
        assert all(learnt) and words[-1] == "<eos>"


def test_a_cut_thinking_learns_its_answer_only() -> None:
    kinds = set()
    for question, words, learnt in drawn("cuts", 300):
        assert learnt == [*[False] * (len(words) - 3), True, True, True]
        end = words.index("</think>")
        given = boxed_answer(" ".join(words[:-1]))
        assert given == answer_after(words[:end], question, TASK)
        kinds.add(words[end - 1] if not words[end - 1].isdecimal() else int(words[end - 1]) > 100)
    # Candidates and results, by whether they are above 100, and every other word of a thinking.
    assert kinds == {"<think>", True, False, "yes", "no", "wait"}


@pytest.mark.parametrize(
    ("thinking", "answer"),
    [
        ("<think>", 21),
        ("<think> 21", 21),
        ("<think> 21 168", 42),
        ("<think> 21 168 no wait", 42),
        ("<think> 21 168 no wait 42", 42),
        ("<think> 21 168 no wait 42 119 yes", 42),  # as it was read
        ("<think> 21 168 no wait 42 139 no", 13),
        ("<think> 21 168 no wait 42 139 no wait 13 120 no", 13),
    ],
)
def test_the_answer_where_a_thinking_ends(thinking: str, answer: int) -> None:
    question = SearchQuestion(candidates=(21, 42, 13), multiplier=91, target=119)
    assert answer_after(thinking.split(), question, TASK) == answer


def test_a_course_goes_from_pieces_to_traces() -> None:
    for course in COURSES:
        assert course.phases[-1][0] == course.steps
        assert all(sum(shares.values()) == pytest.approx(1.0) for _, shares in course.phases)
    assert [set(TINY.shares_at(step)) for step in (0, 1, 2, 4, 9)] == [
        {"tries", "pairs"}, {"tries", "pairs"}, {"pairs", "traces", "cuts"}, {"traces"}, {"traces"},
    ]  # fmt: skip
    sizes = [sum(len(inputs) for inputs, _ in parts) for parts in search_batches(TINY, TASK, 0)]
    assert len(sizes) == 6 and all(abs(size - 20) <= 1 for size in sizes)


def test_the_search_policy_trains_and_training_is_seeded() -> None:
    def run(seed: int) -> list[float]:
        losses: list[float] = []
        course = replace(TINY, steps=40, phases=((40, {"tries": 0.5, "pairs": 0.5}),))
        train(
            course,
            new_model(course, TASK, seed),
            search_batches(course, TASK, seed),
            report=lambda step, loss, seconds: losses.append(loss),
            checkpoint=lambda step, model: None,
            every=10,
        )
        return losses

    first = run(0)
    assert first == run(0) != run(1)
    assert first[-1] < first[0] - 0.5


def test_an_orthogonal_update_keeps_the_singular_vectors() -> None:
    torch.manual_seed(0)
    for shape in ((3, 8, 8), (2, 12, 5), (2, 5, 12)):
        matrices = torch.randn(shape)
        found = orthogonal(matrices)
        for matrix, update in zip(matrices, found, strict=True):
            u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
            inner = u.T @ update @ vt.T
            torch.testing.assert_close(inner, torch.diag(inner.diag()), atol=1e-3, rtol=0)
            assert ((inner.diag() > 0.3) & (inner.diag() < 1.3)).all()


def test_muon_does_matrices_of_one_shape_together_as_it_does_one_alone() -> None:
    torch.manual_seed(0)
    start, slopes = torch.randn(3, 6, 4), torch.randn(2, 3, 6, 4)
    together = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    alone = [torch.nn.Parameter(matrix.clone()) for matrix in start]
    optimizers = [Muon(together, lr=0.1, weight_decay=0.5), *(Muon([p], lr=0.1, weight_decay=0.5) for p in alone)]
    for step in slopes:
        for params in (together, alone):
            for param, slope in zip(params, step, strict=True):
                param.grad = slope.clone()
        for optimizer in optimizers:
            optimizer.step()
    for one, other, before in zip(together, alone, start, strict=True):
        torch.testing.assert_close(one, other)
        assert not torch.equal(one, before)
