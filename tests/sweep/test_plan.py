"""From a sweep file to runs: what is combined, what runs are called, and what is refused before anything starts."""

import re
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from leanthink.commands.sweep import resolver
from leanthink.core.errors import ConfigError
from leanthink.recipe.yaml import parse_yaml
from leanthink.sweep.plan import Resolved, sweep_from
from timing import is_within


def stub(arguments):
    return Resolved(steps=5, profile="cpu", facts={"arguments": list(arguments)})


def plan(text, tmp_path, resolve=stub):
    return sweep_from(parse_yaml(text, "sweep.yaml"), tmp_path / "sweep.yaml", resolve)


@pytest.fixture(scope="module")
def real():
    """The check that the command makes, verl's keys included."""
    return resolver()


def test_recipes_by_own_grid_by_common_grid_by_seeds(tmp_path):
    text = """
    recipes:
      trle: {reward.sigmoid_length.alpha: [0.2, 0.4]}
      grpo:
    grid: {actor_rollout_ref.actor.optim.lr: [1e-4, 2e-4]}
    seeds: [1, 2]
    """
    sweep = plan(text, tmp_path)
    assert len(sweep.runs) == (2 + 1) * 2 * 2
    assert sweep.runs[0].name == "trle lr=0.0001 alpha=0.2 seed=1"
    assert sweep.runs[-1].name == "grpo lr=0.0002 seed=2"
    assert sweep.runs[0].overrides == {"actor_rollout_ref.actor.optim.lr": 1e-4, "reward.sigmoid_length.alpha": 0.2}
    assert sweep.varied == ("actor_rollout_ref.actor.optim.lr", "reward.sigmoid_length.alpha")
    assert len({run.key for run in sweep.runs}) == 12


def test_variants_have_names_changes_and_grids(tmp_path):
    text = """
    variants:
      plain: {recipe: grpo}
      harsh: {recipe: trle, set: {reward.sigmoid_length.alpha: 0.9, advantage: {grpo: {scale: none}}}}
      both: {recipe: trle, grid: {loss.ppo_clip.low: [0.1, 0.2]}}
    set: {trainer.save_freq: 5}
    grid: {reward.sigmoid_length.alpha: [0.5]}
    """
    runs = plan(text, tmp_path).runs
    assert [run.name for run in runs] == ["plain seed=1", "harsh seed=1", "both low=0.1 seed=1", "both low=0.2 seed=1"]
    assert runs[1].overrides == {
        "trainer.save_freq": 5,
        "reward.sigmoid_length.alpha": 0.9,  # a variant's own change wins over the common grid
        "advantage": {"grpo": {"scale": "none"}},
    }
    assert runs[2].overrides["reward.sigmoid_length.alpha"] == 0.5
    assert 'advantage={"grpo": {"scale": "none"}}' in runs[1].arguments


def test_the_key_is_of_the_content_not_of_the_name(tmp_path):
    one, two = (plan(f"variants: {{{name}: {{recipe: grpo}}}}", tmp_path).runs[0] for name in "ab")
    assert one.key == two.key and one.folder != two.folder
    assert plan("variants: {a: {recipe: trle}}", tmp_path).runs[0].key != one.key


def test_what_all_runs_share_becomes_arguments(tmp_path):
    text = """
    recipes: [grpo]
    steps: 9
    profile: gpu
    model: org/model
    train_files: [a.parquet, b.parquet]
    val_files: c.parquet
    nodes: 2
    gpus: 4
    stop: {below: 0.3, evaluations: 3, every: 5}
    """
    assert " ".join(plan(text, tmp_path).runs[0].arguments) == (
        "grpo --profile gpu --model org/model --steps 9 --nodes 2 --gpus 4 --train-file a.parquet "
        "--train-file b.parquet --val-file c.parquet --stop-below 0.3 --stop-evaluations 3 trainer.test_freq=5 --seed 1"
    )


def test_the_engine_of_the_cpu_profile_is_part_of_what_a_run_is(tmp_path, real):
    tiny, vllm = (
        plan(f"recipes: [grpo]\nprofile: cpu\nengine: {name}", tmp_path, real).runs[0] for name in ("tiny", "vllm")
    )
    assert " ".join(vllm.arguments) == "grpo --profile cpu --engine vllm --seed 1"
    assert tiny.key != vllm.key
    with pytest.raises(
        ConfigError, match=r"sweep.yaml \(run 'grpo seed=1'\): argument --engine: invalid choice: 'vlm'"
    ):
        plan("recipes: [grpo]\nengine: vlm", tmp_path, real)


def test_a_recipe_file_lies_beside_the_sweep_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("reward: correct")
    run = plan("recipes: [mine.yaml]", tmp_path).runs[0]
    assert (run.variant, run.recipe, run.arguments[0]) == ("mine", "mine.yaml", str(tmp_path / "mine.yaml"))
    assert plan("recipes: [elsewhere.yaml]", tmp_path).runs[0].arguments[0] == "elsewhere.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[grpo]", "sweep.yaml: ['grpo'] is no mapping"),
        ("steps: 5", "sweep.yaml: nothing to train; give recipes"),
        ("recepies: [grpo]", "no key 'recepies'; did you mean 'recipes'?"),
        ("recipes: grpo", "sweep.yaml, recipes: 'grpo' is no list; write [grpo]"),
        ("recipes: [grpo, grpo]", "'grpo' is given twice"),
        ("{recipes: [grpo], seeds: 3}", "sweep.yaml, seeds: 3 is no list of whole numbers"),
        ("{recipes: [grpo], seeds: [1, 1]}", "names a seed twice"),
        ("{recipes: [grpo], seeds: []}", "seeds: the list is empty"),
        ("{recipes: [grpo], grid: {a.b: 3}}", "sweep.yaml, grid, a.b: 3 is no list of values; write [3]"),
        ("{recipes: [grpo], grid: {a.b: [3, 3]}}", "holds a value twice"),
        ("{recipes: [grpo], steps: many}", "sweep.yaml, steps: 'many' is not a whole number"),
        ("{recipes: [grpo], profile: tpu}", "give cpu or gpu"),
        ("{recipes: [grpo], stop: {belwo: 0.3}}", "sweep.yaml, stop: no key 'belwo'; did you mean 'below'?"),
        ("{recipes: [grpo], stop: {below: 30}}", "sweep.yaml, stop, below: the floor is an accuracy of 30"),
        ("{recipes: [grpo], stop: {below: 0.3, every: 0}}", "give whole numbers from 1"),
        ("variants: {a: {set: {}}}", "sweep.yaml, variants, a: 'recipe' is missing"),
        ("variants: {a: {recipe: grpo, sett: {}}}", "variants, a: no key 'sett'; did you mean 'set'?"),
        ("variants: [a]", "give {NAME: {recipe: R"),
        ("{recipes: [grpo], stop: {below: true}}", "stop: 'below' is missing or no number"),
        (
            "{recipes: [grpo], stop: {below: 0.3, every: true}}",
            "every is True, evaluations 2; give whole",
        ),
        ('recipes: [1, "1"]', "sweep.yaml, recipes: 1 is no text; give a recipe's name, or a path ending in .yaml"),
        ("recipes: [[grpo]]", "recipes: ['grpo'] is no text; give a recipe's name"),
        ("variants: {a: {recipe: 5}}", "variants, a, recipe: 5 is no text; give a recipe's name"),
        ("{recipes: [grpo], train_files: 5}", "sweep.yaml, train_files: 5 is no list of paths; write [data/"),
        ("{recipes: [grpo], val_files: [a.parquet, [b]]}", "val_files: ['b'] is no text; give a file's path"),
        ("{recipes: [grpo], set: {a=b: 1}}", "set: the key 'a=b' holds a =, at which it would be cut"),
        ("{recipes: [grpo], variants: {again: {recipe: grpo}}}", "no error: the stub's runs differ"),
    ],
)
def test_what_is_wrong_with_the_file(text, expected, tmp_path):
    if expected.startswith("no error"):
        with pytest.raises(ConfigError, match="'again seed=1' would be the same run as 'grpo seed=1'; leave one out"):
            plan(text, tmp_path)
        return
    with pytest.raises(ConfigError) as error:
        plan(text, tmp_path)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("recipes: [{}]", "recipes"),
        ("recipes: {{{}: }}", "recipes"),
        ("variants: {{a: {{recipe: {}}}}}", "variants, a, recipe"),
        ("{{recipes: [grpo], model: {}}}", "model"),
        ("{{recipes: [grpo], testbed: {}}}", "testbed"),
        ("{{recipes: [grpo], profile: {}}}", "profile"),
        ("{{recipes: [grpo], train_files: {}}}", "train_files"),
        ("{{recipes: [grpo], val_files: [{}]}}", "val_files"),
        ("{{recipes: [grpo], set: {{{}: 1}}}}", "set"),
        ("{{recipes: [grpo], grid: {{{}: [1]}}}}", "grid"),
        ("variants: {{a: {{recipe: grpo, set: {{{}: 1}}}}}}", "variants, a, set"),
    ],
)
@pytest.mark.parametrize("given", ["--help", "-h", "--trust-code", "--out=elsewhere"])
def test_no_value_is_taken_as_an_option(text, place, given, tmp_path, real):
    with pytest.raises(ConfigError) as error:
        plan(text.format(f'"{given}"'), tmp_path, real)
    assert str(error.value).startswith(f"{tmp_path / 'sweep.yaml'}, {place}: {given!r} begins as an option does; give")


def test_what_train_would_not_take_is_told_with_the_file(tmp_path, real, capsys):
    with pytest.raises(ConfigError) as error:
        plan("{recipes: [grpo], testbed: nope}", tmp_path, real)
    assert str(error.value).startswith(f"{tmp_path / 'sweep.yaml'} (run 'grpo seed=1'): argument --testbed: ")
    assert "'nope'" in str(error.value) and "'chains'" in str(error.value)
    assert capsys.readouterr() == ("", "")


def test_too_many_runs_are_refused_before_any_is_looked_at(tmp_path):
    def never(arguments):
        raise AssertionError

    keys = ", ".join(f"a.x{n}: [{', '.join(map(str, range(100)))}]" for n in range(6))
    many = ", ".join(f"a.x{n}: [0, 1]" for n in range(3000))
    for text, count in (
        (f"{{recipes: [grpo], grid: {{{keys}}}}}", "1,000,000,000,000"),
        (f"{{recipes: [grpo], grid: {{{many}}}}}", "more than 1,000,000,000,000,000,000"),
        (f"{{recipes: [grpo], seeds: {[*range(10_001)]}}}", "10,001"),
        (f"{{recipes: {{grpo: {{a.b: {[*range(101)]}}}, trle: }}, seeds: {[*range(100)]}}}", "10,200"),
    ):
        with pytest.raises(ConfigError, match=f"asks for {count} runs: .*; ask for up to 10,000") as error:
            plan(text, tmp_path, never)
        assert len(str(error.value)) < 500


def test_the_wrong_change_among_very_many_is_not_looked_for_without_end(tmp_path):
    asked = []

    def wrong(arguments):
        asked.append(1)
        raise ConfigError("wrong")

    changes = ", ".join(f"a.x{n}: 1" for n in range(5000))
    with pytest.raises(ConfigError, match="wrong"):
        plan(f"{{recipes: [grpo], set: {{{changes}}}}}", tmp_path, wrong)
    assert len(asked) <= 101


@pytest.mark.parametrize(
    ("text", "place", "cure"),
    [
        ("recipes: [trel]", "", "did you mean 'trle'?"),
        (
            "recipes: {trle: {reward.sigmoid_length.alhpa: [0.1]}}",
            ", recipes, trle, reward.sigmoid_length.alhpa",
            "did you mean 'alpha'?",
        ),
        (
            "recipes: [trle]\ngrid: {reward.sigmoid_length.alpha: [0.1, 2]}",
            ", grid, reward.sigmoid_length.alpha",
            "alpha",
        ),
        ("recipes: [grpo]\nset: {data.trian_batch_size: 8}", ", set, data.trian_batch_size", "'train_batch_size'?"),
        ("recipes: [grpo]\ngrid: {data.train_batch_size: [a]}", ", grid, data.train_batch_size", "give a number"),
        ("recipes: [grpo]\nset: {data.shuffle: 3}", ", set, data.shuffle", "give true or false"),
        (
            "variants: {a: {recipe: grpo, set: {leanthink.unkown: mask}}}",
            ", variants, a, set, leanthink.unkown",
            "did you mean 'unknown'?",
        ),
        ("recipes: [grpo]\nset: {trainer.default_local_dir: x}", ", set, trainer.default_local_dir", "--out"),
    ],
)
def test_every_key_is_checked_before_anything_starts(text, place, cure, tmp_path, real):
    with pytest.raises(ConfigError) as error:
        plan(f"profile: cpu\n{text}", tmp_path, real)
    assert str(error.value).startswith(f"{tmp_path / 'sweep.yaml'}{place} (run '")
    assert cure in str(error.value)


def test_the_same_run_under_two_spellings_is_refused(tmp_path, real):
    """0.1 is trle's own alpha."""
    text = "{profile: cpu, recipes: [trle], variants: {mild: {recipe: trle, set: {reward.sigmoid_length.alpha: 1e-1}}}}"
    with pytest.raises(ConfigError, match="'mild seed=1' would be the same run as 'trle seed=1'"):
        plan(text, tmp_path, real)


def test_data_and_model_count_by_their_content(tmp_path, real):
    """The same file under two names is the same run; another one under the same name is another run."""
    for name, rows in (("one", 3), ("same", 3), ("two", 4)):
        pyarrow.parquet.write_table(pyarrow.table({"x": list(range(rows))}), tmp_path / f"{name}.parquet")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")

    def key(file):
        files = f"train_files: {tmp_path / file}.parquet, val_files: {tmp_path / 'one'}.parquet"
        return plan(f"{{profile: cpu, recipes: [grpo], model: {model}, {files}}}", tmp_path, real).runs[0].key

    first = key("one")
    assert key("same") == first
    assert key("two") != first
    (tmp_path / "same.parquet").write_bytes((tmp_path / "two.parquet").read_bytes())
    assert key("same") == key("two")
    (model / "config.json").write_text("{ }")
    assert key("one") != first


def test_the_testbeds_questions_are_not_looked_for_where_the_command_runs(tmp_path, real, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = plan("{profile: cpu, recipes: [grpo]}", tmp_path, real).runs[0].key
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "data" / "train.parquet")
    assert plan("{profile: cpu, recipes: [grpo]}", tmp_path, real).runs[0].key == before


def test_another_testbed_makes_other_runs(tmp_path, real):
    plain, search = (
        plan(f"{{profile: cpu, recipes: [grpo]{more}}}", tmp_path, real).runs[0] for more in ("", ", testbed: search")
    )
    assert plain.key != search.key and "--testbed search" in " ".join(search.arguments)
    assert plan("{profile: cpu, recipes: [grpo], testbed: chains}", tmp_path, real).runs[0].key == plain.key
    with pytest.raises(ConfigError, match="testbed: 1 is not text"):
        plan("{profile: cpu, recipes: [grpo], testbed: 1}", tmp_path, real)


def test_what_only_says_where_a_run_lies_or_what_is_logged_makes_no_other(tmp_path, real):
    plain = plan("{profile: cpu, recipes: [grpo]}", tmp_path, real).runs[0].key
    told = "{trainer.logger: [console], trainer.experiment_name: x, trainer.max_actor_ckpt_to_keep: 1}"
    assert plan(f"{{profile: cpu, recipes: [grpo], set: {told}}}", tmp_path, real).runs[0].key == plain
    for change in ("set: {data.train_batch_size: 8}", "seeds: [2]", "steps: 3", "stop: {below: 0.2, every: 1000000}"):
        assert plan(f"{{profile: cpu, recipes: [grpo], {change}}}", tmp_path, real).runs[0].key != plain


def test_steps_of_the_profile_are_known(tmp_path, real):
    assert plan("{profile: cpu, recipes: [grpo]}", tmp_path, real).runs[0].steps == 70


def test_the_file_that_the_docs_show(tmp_path):
    """Two strengths of trle, my recipe and the variant, at two batch sizes and three seeds."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "sweep.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(plan(block, tmp_path).runs) == (2 + 1 + 1) * 2 * 3


def test_the_docs_of_an_own_reward_show_the_examples():
    root = Path(__file__).parents[2]
    page = (root / "docs" / "tutorials" / "own_reward.md").read_text(encoding="utf-8")
    source = (root / "examples" / "near_shortest.py").read_text(encoding="utf-8")
    formula = source[source.index("        right_N = ") :]
    assert formula in page
    for name in ("near_shortest.yaml", "near_shortest_sweep.yaml"):
        for line in (root / "examples" / name).read_text(encoding="utf-8").splitlines():
            assert line.startswith(("#", "description", "profile")) or line in page, line


def test_long_values_make_no_long_folders_and_no_long_errors(tmp_path):
    one, other = "a" * 100_000, "b" * 100_000
    text = f"{{recipes: [grpo], grid: {{data.x: [{one}, {other}]}}, seeds: [1, 2]}}"
    runs = plan(text, tmp_path).runs
    assert [run.name for run in runs[:1]] == [f"grpo x={one} seed=1"]
    assert all(len(replace(run, key="c0ffee00").folder) < 200 for run in runs)
    assert replace(runs[0], key="c0ffee00").folder.startswith("grpo-x-aaa")

    def same(arguments):
        return Resolved(steps=5, profile="cpu", facts={})

    def wrong(arguments):
        raise ConfigError("it is wrong")

    for resolve, told in ((same, "would be the same run as"), (wrong, r"\(run 'grpo x=aaa.*…'\): it is wrong")):
        with pytest.raises(ConfigError, match=told) as caught:
            plan(text, tmp_path, resolve)
        assert len(str(caught.value)) < 1000


def test_keys_of_one_ending_are_told_apart_in_little_time(tmp_path):
    keys = [".".join([first, *["a"] * 95]) for first in "xyzuvw"]
    text = f"{{recipes: [grpo], grid: {{{', '.join(f'{key}: [1, 2]' for key in keys)}}}}}"
    assert is_within(5, plan, text, tmp_path)
    assert plan(text, tmp_path).runs[0].variant == " ".join(["grpo", *(f"{key}=1" for key in keys)])
    with pytest.raises(ConfigError, match=r"sweep.yaml, grid: the key 'x\.a.*\.\.\. has 201 signs; give up to 200"):
        plan(f"{{recipes: [grpo], grid: {{x{'.a' * 100}: [1, 2], y{'.a' * 100}: [1, 2]}}}}", tmp_path)
