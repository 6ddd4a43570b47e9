"""A search: its axes, its points and what it makes of the answers."""

import math
from pathlib import Path

import pytest

from condiff.config.compose import read_command
from condiff.config.spaces import Axis
from condiff.errors import ConfigError
from condiff.sweeps.search import Optuna
from condiff.sweeps.searching import refuse_search

CONF = Path(__file__).parents[2] / "conf"
SEARCH = ("-m", "experiment=cfg_latent", "hydra/sweeper=optuna")


def command(*overrides):
    found = read_command([*SEARCH, *overrides], CONF)
    assert found is not None
    assert found.search is not None
    return found


AXES = {
    "guidance.scale=interval(1,8)": Axis("guidance.scale", (), 1.0, 8.0),
    "guidance.scale=tag(log,interval(0.1,8))": Axis("guidance.scale", (), 0.1, 8.0, None, True),
    "sampler.steps=int(interval(4,32))": Axis("sampler.steps", (), 4, 32, 1),
    "sampler.steps=range(8,33,8)": Axis("sampler.steps", (), 8, 32, 8),
    "sampler.steps=range(5,0,-2)": Axis("sampler.steps", (), 1, 5, 2),
    "seed=range(0,1000000000)": Axis("seed", (), 0, 999999999, 1),
    "guidance.scale=range(1.5,3,0.5)": Axis("guidance.scale", (), 1.5, 2.5, 0.5),
    "sampler.steps=16,8": Axis("sampler.steps", ["16", "8"]),
    "guidance=cfg,none": Axis("guidance", ["cfg", "none"]),
}


@pytest.mark.parametrize("text", AXES)
def test_an_axis_is_written_in_hydras_own_words(text):
    assert command(text).search.axes == [AXES[text]]


NO_SPACE = {
    "guidance.scale=interval(8,1)": ["must be below the other, got 8 and 1", "guidance.scale=interval(1,8)"],
    "guidance.scale=interval(3,3)": ["got 3 and 3", "write guidance.scale=3"],
    "guidance.scale=interval(1,inf)": ["must be finite", "guidance.scale=interval(1,8)"],
    "guidance.scale=tag(log,interval(0,8))": ["must be above 0, got 0", "write guidance.scale=interval(0,8)"],
    "guidance.scale=tag(lin,interval(1,8))": ["no such tag, lin", "tag(log,interval(1,8))"],
    "guidance.scale=tag(log,range(1,8))": ["a tag has no effect here", "tag(log,interval(LOW,HIGH))"],
    "sampler.steps=range(5,1)": ["is a sweep over nothing", "write sampler.steps=range(1,5)"],
    "sampler.steps=range(1,5,0)": ["a step other than 0", "write sampler.steps=range(1,5)"],
    "sampler.steps=interval(1,8)": ["must be an integer", "write sampler.steps=int(interval(1,8))"],
    "sampler.steps=interval(1.5,8)": ["must be an integer", "write sampler.steps=int(interval(1.5,8))"],
    "sampler.steps=tag(log,interval(2,8))": ["must be", "sampler.steps=int(tag(log,interval(2,8)))"],
}


@pytest.mark.parametrize("text", NO_SPACE)
def test_what_is_no_axis_is_one_line_that_says_what_to_write(text):
    with pytest.raises(ConfigError) as told:
        command(text)
    (line,) = told.value.lines
    assert text in line
    assert all(words in line for words in NO_SPACE[text]), line


def test_every_mistake_of_a_space_has_its_line():
    with pytest.raises(ConfigError) as told:
        command("guidance.scale=interval(8,1)", "sampler.steps=range(5,1)", "seed=x", "trainer.steps=9,y")
    assert len(told.value.lines) == 4


@pytest.mark.parametrize("text", ["sampler.steps=range(5,1)", "seed=range(1,5,0)", "seed=range(0,inf)"])
def test_a_range_that_is_none_is_one_line_of_a_plain_sweep(text):
    with pytest.raises(ConfigError) as told:
        read_command(["-m", "experiment=cfg_latent", text], CONF)
    (line,) = told.value.lines
    assert line.startswith(f"{text}: ")


def test_the_corners_of_a_space_are_checked_before_it_is_searched():
    runs = command("guidance.scale=interval(1,8)", "sampler=heun,euler,ddim").runs
    found = [
        (run.cfg["guidance"]["scale"], run.cfg["sampler"]["_target_"].rpartition(".")[2]) for run in runs
    ]
    assert found == [(1.0, "Heun"), (8.0, "Heun"), (1.0, "Euler"), (1.0, "DDIM")]
    with pytest.raises(ConfigError, match=r"guidance\.scale: must be a number >= 0, got -1"):
        command("guidance.scale=interval(-1,8)")


def test_a_point_is_a_run():
    found = command("guidance.scale=interval(1,8)", "seed=3").search
    run = found.at({"guidance.scale": "2.5"})
    assert run.cfg["guidance"]["scale"] == 2.5
    assert run.overrides == ["experiment=cfg_latent", "guidance.scale=2.5", "seed=3"]


def test_a_point_with_a_mistake_is_no_run():
    found = command("network.norm_groups=int(interval(4,8))").search
    assert found.at({"network.norm_groups": "4"}).cfg["network"]["norm_groups"] == 4
    with pytest.raises(ConfigError, match=r"network\.widths"):
        found.at({"network.norm_groups": "5"})


def asked(num, seed=0):
    """The points of a search for the top of -(x - 3)^2, and the best of them."""
    optuna = Optuna(num, [], ["height"], seed)
    trials, points, found = optuna.begin(), [], []
    for _ in range(num):
        trial, words = trials.ask([Axis("x", (), 0.0, 10.0)])
        points.append(float(words["x"]))
        found.append({"height": -((points[-1] - 3) ** 2), "other": 0.0})
        trials.tell(trial, found[-1])
    return points, optuna.best(found)


def test_a_search_finds_a_known_optimum_and_its_seed_says_which_way():
    points, (best,) = asked(40)
    assert abs(points[best] - 3) < 0.5
    assert asked(10)[0] == points[:10]
    assert asked(10, seed=1)[0] != points[:10]


def test_two_objectives_have_a_front():
    found = [(1.0, 1.0), (2.0, 3.0), (3.0, 2.0), (1.0, 1.0), (1.5, 1.0), (0.0, math.nan)]
    measured = [{"low": low, "high": high} for low, high in found]
    assert Optuna(3, ["low"], ["high"]).best([*measured, {"low": 0.0}]) == [0, 1, 3]


def test_a_failed_trial_is_told_and_an_unmeasured_objective_is_refused():
    trials = Optuna(2, ["fd"], []).begin()
    for found in (None, {"fd": math.nan}, {"fd": 1.0}):
        trial, _ = trials.ask([Axis("x", ["a", "b"])])
        trials.tell(trial, found)
    assert [trial.state.name for trial in trials.study.trials] == ["FAIL", "FAIL", "COMPLETE"]
    trial, _ = trials.ask([Axis("x", ["a", "b"])])
    with pytest.raises(ConfigError, match="fd was not measured; there are kid"):
        trials.tell(trial, {"kid": 1.0})


def test_an_objective_is_a_metric_by_its_name_or_without_what_that_says_of_too_few_pictures():
    measured = {"fd_biased_n180": 2.0, "fd_floor": 1.0, "fd": 3.0, "kid_biased_n9": 4.0}
    assert Optuna(1, ["fd"], []).best([measured, {**measured, "fd": 2.5}]) == [1]
    assert Optuna(1, ["kid"], []).best([measured, {"kid_biased_n9": 3.0}]) == [1]
    assert Optuna(1, ["kid_biased_n8"], []).best([measured]) == []
    trials = Optuna(1, ["kid"], []).begin()
    trials.tell(trials.ask([Axis("x", (), 0, 1)])[0], measured)
    assert trials.study.trials[0].values == [4.0]


def goals(*words, minimize="[]", maximize="[]"):
    """What is said of these objectives."""
    given = (f"hydra.sweeper.minimize={minimize}", f"hydra.sweeper.maximize={maximize}")
    found = command("guidance.scale=interval(1,8)", *given, *words)
    try:
        refuse_search(found.search, found.runs)
    except ConfigError as error:
        return error.lines
    return ()


def test_an_objective_is_matched_by_the_whole_of_its_name():
    assert goals(minimize="[fd_judge]", maximize="[class_accuracy]") == ()
    assert goals("metrics=full", minimize="[kid_judge]", maximize="[prdc_judge_recall,is_judge_std]") == ()
    assert goals("metrics=full", minimize="[fd_judge_biased_n60]") == ()
    there = "there are class_accuracy, fd_judge, fd_judge_floor"
    assert goals(minimize="[fd_judged]") == (
        f"hydra.sweeper.minimize: no metric is called fd_judged; did you mean 'fd_judge'? {there}",
    )
    assert goals(maximize="[class_accuracy_top5,every]") == (
        "hydra.sweeper.maximize: no metric is called class_accuracy_top5; did you mean 'class_accuracy'? "
        + there,
        f"hydra.sweeper.maximize: no metric is called every; {there}",
    )
    (line,) = goals("metrics=full", maximize="[prdc_judge]")
    four = "prdc_judge_precision or prdc_judge_recall or prdc_judge_density or prdc_judge_coverage"
    assert f"no metric is called prdc_judge; it could be {four}; there are class_accuracy, " in line


def test_an_objective_is_measured_wherever_the_search_may_go():
    (line,) = goals("metrics=full,judged", minimize="[kid_judge]")
    assert "no metric is called kid_judge" in line
    (line,) = goals("stages=[data,autoencoder,latents,denoiser,samples]", minimize="[fd_judge]")
    assert line.startswith("hydra/sweeper: nothing is measured here")


@pytest.mark.parametrize(
    ("minimize", "maximize"),
    [("[fd_judge]", "[fd_judge]"), ("[fd_judge,fd_judge]", "[]"), ("[fd_judge_biased_n60]", "[fd_judge]")],
)
def test_an_objective_is_named_once(minimize, maximize):
    (line,) = goals(minimize=minimize, maximize=maximize)
    assert line == ("hydra.sweeper.minimize and maximize name fd_judge twice; name each metric once")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hydra.sweeper.num_trials=2",), "hydra.sweeper.num_trials: .* without hydra/sweeper=optuna;"),
        (("+hydra.sweeper.num_trials=2",), "hydra.sweeper.num_trials: .* without hydra/sweeper=optuna;"),
        (("hydra.launcher.parallel=2",), "hydra.launcher.parallel: .*launcher=processes or slurm or ray;"),
    ],
)
def test_an_argument_of_a_launcher_or_sweeper_that_was_not_chosen_is_told(words, said):
    with pytest.raises(ConfigError, match=said) as told:
        read_command(["-m", "experiment=cfg_latent", "guidance.scale=1,2", *words], CONF)
    assert len(told.value.lines) == 1


def test_a_range_in_fine_steps_has_as_many_words_as_values():
    (axis,) = command("guidance.scale=range(100000,100001,0.1)").search.axes
    assert axis.values() == ["100000", *(f"100000.{k}" for k in range(1, 10))]
    assert axis.size == len({*axis.values()})
