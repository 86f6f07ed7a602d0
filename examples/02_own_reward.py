"""A reward of one's own: check its contract, see what it does to an advantage, use it in a recipe, plan its ablation.

Run it: python examples/02_own_reward.py
"""

from pathlib import Path

from near_shortest import NearShortest

from leanthink import RolloutBatch, load_recipe
from leanthink.algorithms import Rloo
from leanthink.cli import main as leanthink
from leanthink.testing import check_reward

HERE = Path(__file__).parent


def main() -> None:
    # 1. The reward is a class in near_shortest.py. Does it keep what every reward promises?
    reward = NearShortest()
    check_reward(reward)  # permutation, leaks between groups, degenerate batches, pickling, right above wrong

    # 2. What does it pay, and what becomes of that?
    batch = RolloutBatch.of(group=[0] * 4, length=[100, 200, 900, 50], correct=[1, 1, 1, 0])
    values, _ = reward(batch)
    print("reward   ", [round(value, 3) for value in values.tolist()])
    print("advantage", [round(value, 3) for value in Rloo()(values, batch.group).tolist()])

    # 3. A recipe names it by its module.
    recipe = str(HERE / "near_shortest.yaml")
    assert load_recipe(recipe).reward == reward
    assert load_recipe(recipe, ["reward.near_shortest:NearShortest.price=0.5"]).reward == NearShortest(price=0.5)

    # 4. The same from a shell: leanthink check near_shortest:NearShortest price=0.5
    assert leanthink(["check", "near_shortest:NearShortest", "price=0.5"]) == 0

    # 5. Train it at several prices, beside grpo. Without --dry-run it starts; --trust-code, as the file names code.
    assert leanthink(["sweep", str(HERE / "near_shortest_sweep.yaml"), "--dry-run", "--trust-code"]) == 0


if __name__ == "__main__":
    main()
