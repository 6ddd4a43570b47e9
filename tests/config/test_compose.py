"""The preflight of a command line: each mistake in one line with its key or file, all at once."""

import re
from pathlib import Path

import pytest
from config.conftest import write_config
from omegaconf import OmegaConf

from condiff.config.command_line import MAX_RUNS
from condiff.config.compose import check, register
from condiff.errors import ConfigError

STAGES = ("data", "denoiser", "samples")
STUDY = "experiment=small"


def told(conf: Path, *argv: str) -> tuple[str, ...]:
    """The mistakes of a command, none for one that may run."""
    try:
        check([*argv], conf, STAGES)
    except ConfigError as error:
        return error.lines
    return ()


def scales(conf: Path, *argv: str) -> list[float]:
    return [cfg["guidance"]["scale"] for cfg in check([*argv], conf, STAGES) or []]


def test_a_value_that_a_file_asks_for_is_given_without_a_plus(conf):
    (cfg,) = check([STUDY, "data=folder", "data.path=here"], conf, STAGES) or []
    assert cfg["data"]["path"] == "here"


def test_a_study_may_do_without_a_part(conf):
    body = "# @package _global_\nname: x\nstages: [data]\n"
    write_config(conf, "experiment/key", body + "guidance: null")
    write_config(conf, "experiment/choice", body + "defaults: [override /guidance: null]")
    for name in ("key", "choice"):
        (cfg,) = check([f"experiment={name}"], conf, STAGES) or []
        assert cfg["guidance"] is None


def test_a_right_command_gives_its_canonical_config(conf):
    (cfg,) = check([STUDY, "guidance.scale=3", "sampler=heun"], conf, STAGES) or []
    assert cfg["name"] == "small"
    assert repr(cfg["guidance"]["scale"]) == "3.0"
    assert cfg["sampler"]["_target_"].endswith("Heun")
    assert "hydra" not in cfg


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("guidance.scal=2", "guidance.scal: no such argument of ClassifierFree; did you mean 'scale'?"),
        ("+guidance.scal=2", "guidance.scal: no such argument of ClassifierFree; did you mean 'scale'?"),
        ("++guidance.scal=2", "guidance.scal: no such argument of ClassifierFree; did you mean 'scale'?"),
        ("gudance=cfg", "gudance: a run has no such part; did you mean 'guidance'?"),
        ("+gudance.scale=2", "gudance: a run has no such part; did you mean 'guidance'?"),
        ("experment=small", "experment: a run has no such part; did you mean 'experiment'?"),
        (
            "guidance=chain guidance.links=[]",
            "guidance.links: must name at least one guidance, got []",
        ),
        ("metrics.every=-5", "metrics.every: must be an integer >= 0, got -5; 0 measures once, at the end"),
        (
            "metrics.every=often",
            "metrics.every: must be an object with a _target_ or an integer, got '",
        ),
        ("guidance=cgf", "guidance=cgf: no such choice; did you mean 'cfg'? there are: cfg, chain, none"),
        ("guidance=null", "guidance=null: no such choice; there are: cfg, chain, none"),
        ("sampler=zzz", "sampler=zzz: no such choice; there are: ddim, heun"),
        ("seed=abc", "seed: must be an integer >= 0, got 'abc'"),
        ("seed.x=3", "seed: must be an integer >= 0, got a mapping {'x': 3}"),
        ("sampler.steps=0", "sampler.steps: must be an integer >= 1, got 0"),
        ("sampler.steps=null", "sampler.steps: must be an integer >= 1, got null"),
        ("~sampler.steps", "sampler.steps: is required by DDIM; give it"),
        ("~guidance", "guidance: is null, and stage samples needs it; choose one, guidance=NAME"),
        ("~name", "name: is required; give it, e.g. name=..."),
        ("~nothing.here", "~nothing.here: there is no nothing.here to delete"),
        ("data=folder", "data.path: is required; give it, e.g. data.path=..."),
        ("runtime.cahce=x", "runtime.cahce: no such key of runtime; did you mean 'cache'?"),
        (
            "network.dropout=0.5",
            "network.dropout: is not in the config yet; to add it, write +network.dropout=0.5",
        ),
        ("+seed=3", "+seed=3: is in the config already; write seed=3"),
        ("+sampler.steps=3", "+sampler.steps=3: is in the config already; write sampler.steps=3"),
        ("+sampler=heun", "+sampler=heun: is chosen already; write sampler=heun"),
        ("hydra.run.dir=${nothing}", "hydra.run.dir: Interpolation key 'nothing' not found"),
        ("hydra.mode=R${data}", "hydra: "),
        ("data._target_=${nothing}", "data._target_: Interpolation key 'nothing' not found"),
        ("hydra.run.dir=''", "hydra.run.dir: must be a folder, got "),
        ("foo", "foo: cannot be read as key=value (missing EQUAL at '<EOF>')"),
        ("a=[", "a=[: cannot be read as key=value (no viable alternative at input '[')"),
        ("data.size=${nothing}", "data.size: Interpolation key 'nothing' not found"),
        ("data.size=${oc.env:HOME}", "data.size: Unsupported interpolation type oc.env"),
        ("hydra.searchpath=[pkg://this]", "hydra.searchpath=[pkg://this]: is not allowed"),
        ("+hydra.callbacks.x._target_=os.system", "hydra.callbacks: is not allowed, got"),
        (
            "hydra.launcher._target_=os.system -m",
            "hydra.launcher: must be a choice of hydra/launcher as it stands",
        ),
        (
            "+hydra.sweeper.x={_target_:os.system} -m",
            "hydra.sweeper: must be a choice of hydra/sweeper as it stands",
        ),
        ("hydra.sweeper.params={_target_:os.system} -m", "hydra.sweeper.params={_target_:os.system}: "),
        (
            "hydra.launcher=basic -m",
            "hydra.launcher=basic: is written hydra/launcher=basic; there are: basic",
        ),
        ("hydra/lancher=mine -m", "hydra/lancher=mine: is written hydra/launcher=NAME; there are: basic"),
        ("launcher=basic", "launcher=basic: is written hydra/launcher=basic; there are: basic"),
        ("sweeper=mine", "sweeper=mine: is written hydra/sweeper=NAME; there are: basic"),
        ("hydra/launcher=basik -m", "hydra/launcher=basik: no such choice; did you mean 'basic'? there are"),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: has no effect here"),
        ("hydra.sweep.dir=x", "hydra.sweep.dir=x: has no effect on a run without -m"),
        ("hydra.run.dir=x -m", "hydra.run.dir=x: has no effect on a sweep; use hydra.sweep.dir"),
        ("seed=glob(*) -m", "seed=glob(*): is a sweep over nothing"),
        ("hydra.sweep.dir=x,y -m", "hydra.sweep.dir=x,y: must be one value; quote a comma"),
        ("sampler.steps=interval(1,2) -m", "sampler.steps=interval(1,2): an interval is searched by hydra"),
        ("hydra.callbacks.x={_target_:os.system}", "hydra.callbacks: is not allowed"),
        ("+hydra.job.env_set.LD_PRELOAD=x", "hydra.job.env_set: is not allowed"),
        ("+hydra.job_logging.handlers={x:{class:os.system}}", "hydra/job_logging: must be one of"),
        ("sampler.steps=1,2", "sampler.steps=1,2: several values are a sweep, which needs -m"),
        (
            "sampler.steps=interval(1,2)",
            "sampler.steps=interval(1,2): several values are a sweep, which needs -m",
        ),
        ("guidance._target_=os.system", "guidance._target_: 'os.system' may not be built"),
        ("name=../../x", "name: must be 1 to 80 of the characters"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(conf, override, line):
    lines = told(conf, STUDY, *override.split(" "))
    assert len(lines) == 1
    assert lines[0].startswith(line)
    assert "\n" not in lines[0]


@pytest.mark.parametrize(
    "text", ["", "=", "==", "a=b=c", "~", "+", "@", "a@b=c", "\0=1", "a=\n", "${a}=1", "'", "data@x=digits"]
)
def test_no_text_gets_through_or_breaks_it(conf, text):
    lines = told(conf, STUDY, text)
    assert lines
    assert all("\n" not in line for line in lines)


def test_every_mistake_is_told_at_once(conf):
    keys = [
        line.split(":")[0]
        for line in told(
            conf, "experiment=smal", "guidance=cgf", "a=[", "guidance.scal=1", "seed=x", "+foo.bar=1", "~no"
        )
    ]
    assert keys == [
        "experiment=smal",
        "guidance=cgf",
        "a=[",
        "~no",
        "foo",
        "seed",
        "guidance.scal",
    ]


def test_without_a_study_the_studies_are_listed(conf):
    (line,) = told(conf)
    assert line == (
        "experiment: say which study to run, e.g. python run.py experiment=small; there are: small"
    )
    assert [line.split(":")[0] for line in told(conf, "seed=x", "gudance=cfg")] == [
        "experiment",
        "gudance",
        "seed",
    ]


def test_an_unknown_study_hides_no_other_mistake(conf):
    assert [line.split(":")[0] for line in told(conf, "experiment=zzz", "gudance=cfg", "seed=x")] == [
        "experiment=zzz",
        "gudance",
        "seed",
    ]


@pytest.mark.parametrize(
    "flag", ["--help", "-h", "--hydra-help", "--version", "--info=all", "--cfg=job", "-sc"]
)
def test_a_command_that_only_prints_is_left_alone(conf, flag):
    assert check([flag, "experiment=zzz"], conf, STAGES) is None


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--foo"], "command line: unrecognized arguments: --foo"),
        (["--experimental-rerun", "x.pickle"], "--experimental-rerun: loads a pickle"),
        (["--run", "--multirun"], "--run: does not go with --multirun"),
        (["--config-dir", "nowhere"], "--config-dir: must be a folder, got 'nowhere'"),
        (["--config-path", "pkg://this"], "--config-path: must be a folder, got 'pkg://this'"),
        (["--config-name", "nothing"], "config: "),
    ],
)
def test_a_wrong_flag_is_one_line(conf, argv, said):
    (line,) = told(conf, *argv, STUDY)
    assert line.startswith(said)


def test_a_folder_of_more_configs_is_read(conf, tmp_path):
    write_config(tmp_path / "more", "x", "") if (tmp_path / "more").mkdir() else None
    write_config(tmp_path / "more", "experiment", "").unlink()
    (tmp_path / "more" / "experiment").mkdir()
    write_config(tmp_path / "more", "experiment/mine", "# @package _global_\nname: mine\nstages: [data]")
    (cfg,) = check(["--config-dir", str(tmp_path / "more"), "experiment=mine"], conf, STAGES) or []
    assert cfg["name"] == "mine"


def test_every_point_of_a_sweep_is_composed(conf):
    assert scales(conf, "-m", STUDY, "guidance.scale=1,2,3", "seed=0,1") == [1, 1, 2, 2, 3, 3]
    assert scales(conf, "-m", STUDY, "guidance.scale=range(1,4)") == [1, 2, 3]
    assert len(check(["-m", STUDY, "guidance=glob(c*)"], conf, STAGES) or []) == 2


def test_a_mistake_at_a_point_is_told_once(conf):
    lines = told(conf, "-m", STUDY, "guidance.scale=1,x,-1", "seed=0,1,2")
    assert lines == (
        "guidance.scale: must be a number >= 0, got 'x'",
        "guidance.scale: must be a number >= 0, got -1",
    )
    lines = told(conf, "-m", STUDY, "guidance=cfg,cgf", "seed=0,1,q")
    assert [line.split(":")[0] for line in lines] == ["guidance=cgf", "seed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("guidance.scale=2,2", "guidance.scale=2 is there twice"),
        ("guidance.scale=2,3,2.0", "guidance.scale=2 and guidance.scale=2.0 are the same run"),
        ("guidance=cfg,cfg seed=0,1", "guidance=cfg seed=0 is there twice, and 1 more are repeated"),
    ],
)
def test_a_run_that_a_sweep_would_do_twice_is_one_line(conf, words, said):
    (line,) = told(conf, "-m", STUDY, *words.split())
    assert line == f"sweep: {said}; give each run once"


def test_a_sweep_in_the_study_needs_no_flag_and_is_checked(conf):
    text = "# @package _global_\nname: s\nstages: [data]\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
    write_config(conf, "experiment/sweep", text + "      guidance.scale: 1,2,3")
    assert scales(conf, "experiment=sweep") == [1, 2, 3]
    assert scales(conf, "experiment=sweep", "guidance.scale=5") == [5]
    write_config(conf, "experiment/sweep", text + "      guidance.scale: 1,x\n      gudance.a: 1,2")
    keys = {line.split(":")[0] for line in told(conf, "experiment=sweep")}
    assert keys == {"guidance.scale", "gudance"}


def test_a_sweep_has_an_end(conf):
    (line,) = told(conf, "-m", STUDY, "seed=range(0,1000000000)")
    assert line == f"sweep: at most {MAX_RUNS} runs at once, got {MAX_RUNS + 1} or more"


def test_a_sweep_over_studies_needs_a_name(conf):
    write_config(conf, "experiment/other", "# @package _global_\nname: other\nstages: [data]")
    (line,) = told(conf, "-m", "experiment=small,other")
    assert line.startswith("name: a sweep over studies needs a name")
    assert len(check(["-m", "experiment=small,other", "name=both"], conf, STAGES) or []) == 2


@pytest.mark.parametrize("wrong", [("experiment=smal",), (), ("experiment=small,othr",)])
def test_a_sweep_that_lacks_a_study_is_not_told_to_have_a_name(conf, wrong):
    write_config(conf, "experiment/other", "# @package _global_\nname: other\nstages: [data]")
    (line,) = told(conf, "-m", *wrong, "guidance.scale=1,2")
    assert line.startswith("experiment")


@pytest.mark.parametrize(
    "words",
    [
        ("guidance.scale=1,2", "guidance.scale=3,4"),
        ("guidance.scale=1,2", "guidance.scale=3"),
        ("guidance=cfg,none", "guidance=cfg"),
    ],
)
def test_a_key_that_is_swept_is_given_once(conf, words):
    (line,) = told(conf, "-m", STUDY, *words)
    key = words[0].partition("=")[0]
    assert line.startswith(
        f"{key}: is swept over once, got {words[0]} and {words[1]}; give all of its values"
    )
    assert len(check(["-m", STUDY, "seed=5", "guidance.scale=1,2", "seed=0,1"], conf, STAGES) or []) == 4


def test_a_sweep_and_the_mode_of_a_run_are_refused(conf):
    (line,) = told(conf, "-m", STUDY, "hydra.mode=RUN", "guidance.scale=1,2")
    assert line == "hydra.mode: must not be RUN with -m, which asks for a sweep; leave out one"
    assert len(check([STUDY, "hydra.mode=RUN"], conf, STAGES) or []) == 1
    assert len(check([STUDY, "hydra.mode=MULTIRUN", "seed=1,2"], conf, STAGES) or []) == 2


def test_rules_between_choices_hold_on_the_command_line(conf):
    lines = told(
        conf, STUDY, "process=rectified_flow", "objective=eps", "method.drop_condition=0", "data.size=9"
    )
    assert [line.split(":")[0] for line in lines] == [
        "objective.parameterization",
        "guidance.scale",
        "data.size",
    ]


def test_a_run_has_an_id_of_its_own():
    register()
    cfg = OmegaConf.create({"first": "${run_id:}", "again": "${run_id:}"})
    assert re.fullmatch(r"\d{8}-\d{6}-[a-z0-9]{6}", cfg.first)
    assert cfg.again == cfg.first
    assert OmegaConf.create({"first": "${run_id:}"}).first != cfg.first
