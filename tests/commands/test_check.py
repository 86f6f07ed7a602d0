"""`leanthink check`: what it says of good and of broken rewards and advantages, and how it ends."""

import sys

import pytest
import torch

from leanthink import cli
from leanthink.commands.check import _column as column

OWN = '''
from dataclasses import dataclass

import torch

from leanthink import Reward, Scope, StatefulReward
from leanthink.algorithms import Advantage


@dataclass(frozen=True, kw_only=True)
class Fine(Reward):
    """Correctness, and a little for a budget kept."""

    bonus: float = 0.1
    requires = frozenset({"budget"})

    def score(self, batch):
        return batch.correct * (1 + self.bonus * (batch.length <= batch.column("budget")))


@dataclass(frozen=True, kw_only=True)
class Leaks(Reward):
    """Counts its group, but says it looks at single responses."""

    def score(self, batch):
        return batch.correct / torch.bincount(batch.group)[batch.group]


@dataclass(frozen=True, kw_only=True)
class Crashes(Reward):
    """Takes the mean of nothing."""

    def score(self, batch):
        return batch.correct * (1 + max(batch.length.tolist()))


@dataclass(frozen=True, kw_only=True)
class PerToken(Reward):
    """A price for every token."""

    price: float

    def score(self, batch):
        return batch.correct - self.price * batch.length


@dataclass(frozen=True, kw_only=True)
class Plain(Advantage):
    """No baseline."""

    def __call__(self, reward_N, group_N, length_N=None):
        return reward_N.double()


@dataclass(frozen=True, kw_only=True)
class Gambles(Advantage):
    """Leaves out whom it draws."""

    reads_state = True

    def __call__(self, reward_N, group_N, length_N=None):
        return torch.zeros_like(reward_N.double())

    def select(self, reward_N, group_N, length_N, state):
        return torch.rand(len(reward_N)) < 0.5, {}


@dataclass(frozen=True, kw_only=True)
class Returns(StatefulReward):
    """Counts batches, and gives back what it is told to."""

    what: str

    def init(self):
        return {"batches": 0}

    def update(self, batch, state):
        after = {"batches": state["batches"] + 1}
        return {
            "reward": batch.correct,
            "swapped": (after, batch.correct),
            "nothing": (batch.correct, None),
            "others": (batch.correct, {"steps": 1}),
            "three": (batch.correct, after, 0),
        }[self.what]


class Other:
    pass
'''


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("own_parts", None)


def check(capsys, *arguments):
    code = cli.main(["check", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_column_is_drawn_from_low_to_high():
    name, draw = column("budget=3:5")
    drawn = draw(torch.Generator().manual_seed(1), 100)
    assert (name, drawn.dtype, set(drawn.tolist())) == ("budget", torch.float64, {3.0, 4.0, 5.0})
    assert set(column("budget=7:7")[1](torch.Generator(), 3).tolist()) == {7.0}


def test_a_good_reward(capsys):
    code, out, _ = check(capsys, "own_parts:Fine", "bonus=0.2", "--column", "budget=0:16000")
    assert code == 0
    assert "Fine(bonus=0.2)" in out
    assert "looks at: each response by itself" in out
    assert "ok: it keeps every promise" in out


def test_registered_parts_with_arguments(capsys):
    assert check(capsys, "sigmoid_length", "alpha=0.2")[0] == 0
    assert check(capsys, "{sigmoid_length: {alpha: 0.2}}")[0] == 0
    assert check(capsys, "grpo")[0] == 0
    assert check(capsys, "reinforce_pp")[0] == 0


@pytest.mark.parametrize(
    ("what", "promise", "meaning", "cure"),
    [
        ("own_parts:Leaks", "responses do not leak", "depends on the others", "declare `scope = Scope.GROUP`"),
        ("own_parts:Crashes", "every batch has a finite value", "empty", "leanthink.core.groups"),
        ("own_parts:Gambles", "it chooses alike", "leave out other responses", "by the arguments of `select`"),
        ("own_parts:Plain", "sums to 0 over a group", "pushed up or down", "--not-centred"),
    ],
)
def test_a_broken_promise_is_told_in_plain_words(capsys, what, promise, meaning, cure):
    code, out, _ = check(capsys, what)
    assert code == 3
    for text in ("BROKEN: ", promise, meaning, cure, "seen on: batch = RolloutBatch.of("):
        assert text in out


@pytest.mark.parametrize(
    ("what", "given"),
    [
        ("reward", "returned a tensor of shape (0,); return the rewards (N,) and the state after the batch, as a pair"),
        ("swapped", "returned dict and a tensor"),
        ("nothing", "returned a tensor of shape (0,) and NoneType"),
        ("others", "returned a state with the keys ['steps'], it starts with ['batches']"),
        ("three", "returned tuple; return the rewards"),
    ],
)
def test_a_wrong_update_is_not_told_as_a_wrong_batch(capsys, what, given):
    code, out, _ = check(capsys, "own_parts:Returns", f"what={what}")
    assert code == 3
    assert "BROKEN: update gives a new state" in out and f"Returns.update {given}" in out
    assert "cure: end update with `return reward_N, state`" in out


def test_right_below_wrong_may_be_declared(capsys):
    code, out, _ = check(capsys, "own_parts:PerToken", "price=0.001")
    assert code == 3
    assert "a short wrong answer instead of a long right one" in out
    code, out, _ = check(capsys, "own_parts:PerToken", "price=0.001", "--wrong-may-beat-correct")
    assert code == 0
    assert "right above wrong was not asked" in out
    assert "length: right responses earn by it" in out


def test_a_recipe_and_its_declaration(capsys, own):
    recipe = "reward: {'own_parts:PerToken': {price: 0.001}}\nadvantage: rloo\n"
    (own / "mine.yaml").write_text(recipe, encoding="utf-8")
    code, _, told = check(capsys, "mine.yaml")
    assert code == 1 and "names code to run, own_parts:PerToken" in told  # a file, and nobody has read it
    assert check(capsys, "mine.yaml", "--trust-code")[0] == 3
    (own / "mine.yaml").write_text(recipe + "wrong_may_beat_correct: true\n", encoding="utf-8")
    code, out, _ = check(capsys, "mine.yaml", "advantage=grpo", "--trust-code")
    assert code == 0
    assert "Grpo(" in out


def test_a_reward_tree_in_a_file(capsys, own):
    (own / "tree.yaml").write_text("scale: {by: 0.5, of: correct}", encoding="utf-8")
    assert check(capsys, "tree.yaml")[0] == 0


def test_an_advantage_that_means_it(capsys):
    assert check(capsys, "own_parts:Plain", "--not-centred")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("own_parts:Fine",), "requires the column 'budget'; say how to draw it, as in --column budget=100:4000"),
        (("own_parts:Fine", "--column", "budget=4"), "write NAME=LOW:HIGH"),
        (("own_parts:Nobody",), "has no 'Nobody'"),
        (("nowhere:Fine",), "cannot import 'nowhere'"),
        (("own_parts:Other",), "neither a reward nor an advantage"),
        (("own_parts:Fine", "bonsu=1"), "did you mean 'bonus'?"),
        (("own_parts:PerToken",), "'price' is missing"),
        (("sigmoid_lenght",), "did you mean 'sigmoid_length'?"),
        (("correct", "alpha"), "write name=value"),
        (("correct", "--rounds", "0"), "--rounds is 0"),
    ],
)
def test_what_cannot_be_checked(capsys, arguments, expected):
    code, _, err = check(capsys, *arguments)
    assert code == 1
    assert expected in err
    assert err.count("\n") == 1
