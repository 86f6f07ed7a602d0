"""Put rewards together in Python and see, part by part, what they pay.

Run it: python examples/01_compose.py
"""

from leanthink import RolloutBatch, load_recipe, schedules
from leanthink.algorithms import Grpo, Rloo
from leanthink.rewards import Correct, KimiLength, Scale, SigmoidLength, SoftOverlong, Sum


def main() -> None:
    # One prompt, six responses: right or wrong, and how many tokens each took.
    batch = RolloutBatch.of(
        group=["2 + 3 = ?"] * 6,
        length=[500, 1000, 1500, 2000, 3000, 2500],
        correct=[1, 0, 1, 0, 0, 1],
        step=30,
    )
    reward = Sum(
        correct=Correct(),
        length=Scale(by=schedules.Stairs(values=(0.0, 0.5), boundaries=(20,)), of=KimiLength()),
        overlong=SoftOverlong(limit=3000, buffer=500),
    )
    result = reward.breakdown(batch)
    for name, values in {**result.parts, "total": result.reward}.items():
        print(f"{name:>9}", [round(value, 3) for value in values.tolist()])

    # The same reward gives different gradients under different advantages.
    for advantage in (Grpo(), Grpo(scale="none"), Rloo()):
        print(f"{advantage!r}:", [round(value, 3) for value in advantage(result.reward, batch.group).tolist()])

    # A recipe is the same thing in YAML.
    assert load_recipe("trle").reward == SigmoidLength(alpha=0.1)


if __name__ == "__main__":
    main()
