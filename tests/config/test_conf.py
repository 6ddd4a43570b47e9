"""Every choice in conf/ composes, names classes that exist and gives them what they take."""

from pathlib import Path

import pytest

from condiff.config.build import build
from condiff.config.command_line import read_flags, read_settings
from condiff.config.compose import check, read_command, register
from condiff.config.composer import Composer
from condiff.config.kinds import wrong_kinds
from condiff.config.validate import check_parts
from condiff.errors import ConfigError
from tests.config.pipelines import SD, SD3, XL, left

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.glob("*/*.yaml"))
PLUGINS = sorted(CONF.glob("hydra/*/*.yaml"))
STUDIES = [
    path.relative_to(CONF / "experiment").with_suffix("").as_posix()
    for path in sorted((CONF / "experiment").glob("**/*.yaml"))
]
RECIPES = [name for name in STUDIES if "/" in name]
GIVEN = {"stable_diffusion": ["autoencoder.network.weights=model"]}
BASES = {"controlnet_sd15": SD, "lora_sd15": SD, "lora_sd3": SD3, "dreambooth_sdxl": XL}
BASES |= {"controlnet": SD, "lora_style": SD3, "dreambooth": XL}
OF_A_RUN = "task=sample"  # composes with a finished run alone: test_origins.py
CHOICES = [f"{path.parent}={path.name}" for path in FILES if path.parent.name != "experiment"]
CHOICES.remove(OF_A_RUN)


def test_there_are_configs():
    assert len(STUDIES) >= 1
    assert len(CHOICES) >= 30
    # and config.yaml
    assert len(FILES) == len([*CONF.glob("**/*.yaml")]) - 1 - len(PLUGINS) - len(RECIPES)


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_every_launcher_and_sweeper_can_be_chosen(path):
    chosen = f"hydra/{path.parent.name}={path.stem}"
    command = read_command(["-m", "experiment=cfg_latent", "guidance.scale=1,2", chosen], CONF)
    assert command is not None
    assert build(command.search.sweeper if command.search else command.launcher)


@pytest.mark.parametrize("text", ["seed=3", "seed=3,4", "num_samples=50", "checkpoint=null"])
def test_what_a_page_over_runs_does_not_read_is_told(text):
    page = ["-m", "task=compare", "runs=[a],[b]"]
    free = ["name=mine", "question=why", "runtime.cache=here", "logger.wandb=off", "hydra.sweep.dir=there"]
    assert len(check([*page, *free], CONF) or []) == 2
    with pytest.raises(ConfigError) as told:
        check([*page, text], CONF)
    assert told.value.lines[0].startswith(f"{text}: has no effect on task=compare, which reads runs, name")
    assert len(told.value.lines) == 1


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_run(name, tmp_path):
    # what only the user can know
    own = ["data.path=shards"] if name in RECIPES else GIVEN.get(name, [])
    if name in BASES:
        place = "data.pictures.path" if name.startswith("controlnet") else "data.path"
        own = [f"base={left(tmp_path, BASES[name])}", f"{place}=pictures"]
    runs = check([f"experiment={name}", *own], CONF) or []
    assert runs
    assert all(cfg["name"] == name.replace("/", "_") for cfg in runs)


def test_drawings_are_also_held_to_their_captions_by_clip():
    plain, both = (
        (check(["experiment=cfg_latent_emoji", f"metrics={name}"], CONF) or [])[0]["metrics"]
        for name in ("drawings", "drawings_clip")
    )
    assert {name: both[name] for name in plain} == plain
    assert {*both} - {*plain} == {"clip_score"}
    assert both["clip_score"]["captions"] is None  # each sample's own


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_is_right_by_itself(choice):
    register()
    flags = read_flags(["experiment=cfg_latent", choice], CONF, "config")
    assert flags is not None
    composer = Composer(flags)
    settings = read_settings(flags.overrides, composer.loader, composer.mistakes, set())
    composed = composer.compose(settings)
    assert composer.mistakes == []
    assert composed is not None
    cfg, mistakes = check_parts(composer.plain(composed))
    asked_for = [line for line in mistakes if ": is required; give it, e.g. " in line]
    assert mistakes == asked_for  # what only the user can know, such as a path
    assert list(wrong_kinds(cfg)) == []
