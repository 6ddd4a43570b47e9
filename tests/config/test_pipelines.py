"""A pipeline of diffusers to draw from: its folder states a study, and what it cannot be is one line."""

import pytest
from choices import CONF

from condiff.config.compose import check, register
from condiff.config.origins import origin_of
from condiff.errors import ConfigError
from condiff.stages.given import weights_are_there
from condiff.stages.study import STAGES
from condiff.stages.taken import refuse_drawing
from tests.config.pipelines import SD, SD3, XL, left

NAMES = [stage.name for stage in STAGES]


@pytest.fixture
def pipeline(tmp_path):
    """Leaves the files of a pipeline, some settings of one file changed; its weights are not read here."""
    register()

    def leave(file="", folder="model", **changes):
        return left(tmp_path / folder, SD, file, **changes)

    return leave


def asked(folder, *words):
    (cfg,) = check(["task=sample", f"from={folder}", *words], CONF, NAMES) or []
    return cfg


def study(folder, *words):
    given = f"autoencoder.network.weights={folder}"
    (cfg,) = check(["experiment=stable_diffusion", given, *words], CONF, NAMES) or []
    return cfg


UNET, VAE, TOKENIZER = "unet/config.json", "vae/config.json", "tokenizer/tokenizer_config.json"
PROCESS = "scheduler/scheduler_config.json"
ENDS = {"process.beta_start": 0.00085, "process.beta_end": 0.012}
STEPS = {"process.num_steps": 500, "network.num_steps": 500}
# A file, what it states otherwise, and the choice or the values that this makes.
STATED = {
    "size": (UNET, {"sample_size": [96, 96]}, {"data.size": 768}),
    "scale": (VAE, {"scaling_factor": 0.5}, {"autoencoder.network.scale": 0.5}),
    "length": (TOKENIZER, {"model_max_length": 40}, {"conditioner.encoder.length": 40}),
    "no length": (TOKENIZER, {"model_max_length": 10**30}, {"conditioner.encoder.length": 77}),
    "endless": (TOKENIZER, {"model_max_length": 1e30}, {"conditioner.encoder.length": 77}),
    "target": (PROCESS, {"prediction_type": "v_prediction"}, "objective=v"),
    "clean": (PROCESS, {"prediction_type": "sample"}, "objective=x0"),
    "betas": (PROCESS, {"beta_end": 0.02}, {**ENDS, "process.beta_end": 0.02}),
    "steps": (PROCESS, {"num_train_timesteps": 500}, STEPS),
    "linear": (PROCESS, {"beta_schedule": "linear"}, "process=linear"),
    "cosine": (PROCESS, {"beta_schedule": "squaredcos_cap_v2"}, "process=cosine_ddpm"),
    "spacing": (PROCESS, {"timestep_spacing": "trailing"}, "sampler=ddim"),
    "even": (PROCESS, {"timestep_spacing": "linspace"}, "sampler=ddim_linspace"),
}


@pytest.mark.parametrize("case", STATED)
def test_what_a_folder_states_becomes_a_choice_or_a_value(case, pipeline):
    file, changes, expected = STATED[case]
    plain, own = (origin_of(str(pipeline(file, **settings))).study for settings in ({}, changes))
    assert plain is not None
    assert own is not None
    if isinstance(expected, str):
        assert expected in own.choices
        assert expected not in plain.choices
    else:
        assert expected.items() <= own.values.items()


def test_the_config_is_that_of_the_study_of_given_weights_that_is_told_the_same(pipeline):
    cosine = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
    folder = pipeline(PROCESS, **cosine, num_train_timesteps=500, timestep_spacing="trailing")
    words = ("process=cosine_ddpm", "process.num_steps=500", "network.num_steps=500", "objective=v")
    own, same = asked(folder), study(folder, *words, "sampler=ddim")
    of_the_task = {"name", "question", "from", "n", "logger", "judge", "metrics"}
    assert {key for key in own if own[key] != same[key]} == of_the_task
    assert (own["data"]["size"], own["conditioner"]["encoder"]["length"]) == (512, 77)
    assert (own["autoencoder"]["network"]["scale"], own["guidance"]["scale"]) == (0.18215, 7.5)


OF_KIND = {
    "xl": (
        XL,
        ("conditioner=text_sdxl", "network=pretrained_xl", "process=scaled_linear"),
        {"data.size": 1024, "autoencoder.network.scale": 0.13025, "network.pixels": 8},
    ),
    "sd3": (
        SD3,
        ("conditioner=text_sd3", "network=pretrained_sd3", "process=rectified_flow", "objective=velocity"),
        {"process.shift": 3.0, "autoencoder.network.shift": 0.0609, "data.size": 1024},
    ),
}


@pytest.mark.parametrize("kind", OF_KIND)
def test_each_kind_of_pipeline_states_a_study_that_is_right(kind, tmp_path):
    register()
    files, choices, values = OF_KIND[kind]
    folder = left(tmp_path / "model", files)
    found = origin_of(str(folder)).study
    assert found is not None
    assert {*choices} <= {*found.choices}
    assert values.items() <= found.values.items()
    refuse_drawing(asked(folder))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dynamic_shifting": True}, "use_dynamic_shifting must be unset, got True"),
        ({"_class_name": "DDIMScheduler"}, "_class_name must be FlowMatchEulerDiscreteScheduler, got DDIM"),
    ],
)
def test_a_flow_that_is_walked_otherwise_is_one_line(change, said, tmp_path):
    with pytest.raises(ConfigError) as told:
        origin_of(str(left(tmp_path, SD3, PROCESS, **change)))
    (line,) = told.value.lines
    assert said in line


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("process.shift=1", "process: must be that of"),
        ("process=linear", "process: must be a flow for PretrainedSD3, got LinearDDPM"),
        ("objective=eps", "objective.parameterization: "),
    ],
)
def test_a_flow_is_used_as_it_was_trained(word, said, tmp_path):
    register()
    found = origin_of(str(left(tmp_path / "model", SD3))).study
    assert found is not None
    values = [f"{key}={value}" for key, value in found.values.items()]
    with pytest.raises(ConfigError) as told:
        weights_are_there((check([*found.choices, *values, word], CONF, NAMES) or [])[0])
    assert any(line.startswith(said) for line in told.value.lines)


def test_one_folder_that_is_not_there_is_one_line_and_one_that_is_not_given_is_told_where_it_is_wanted():
    register()
    with pytest.raises(ConfigError) as told:
        weights_are_there(
            (check(["experiment=stable_diffusion", "autoencoder.network.weights=/gone"], CONF, NAMES) or [])[
                0
            ]
        )
    (line,) = told.value.lines
    assert "/gone is no folder; give a folder with config.json" in line
    with pytest.raises(ConfigError) as told:
        check(["experiment=stable_diffusion"], CONF, NAMES)
    assert "autoencoder.network.weights: is required; give it, e.g. " in str(told.value)
    assert "interpolation" not in str(told.value)


def test_what_is_asked_for_stands_above_the_pipeline(pipeline):
    cfg = asked(pipeline(), "sampler=heun", "guidance.scale=3", "negative=[grey,red]", "n=3", "text=a fox")
    assert cfg["sampler"]["_target_"].endswith(".Heun")
    assert (cfg["guidance"]["scale"], cfg["guidance"]["negative"]) == (3.0, ["grey", "red"])
    assert (cfg["num_samples"], cfg["text"]) == (3, "a fox")


def test_a_model_of_the_hub_is_the_newest_in_its_local_cache_and_never_fetched(
    pipeline, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("condiff.hub.download", lambda *_: pytest.fail("the network was asked"))
    model = tmp_path / "hub" / "models--org--fox"
    folder = pipeline(folder="hub/models--org--fox/snapshots/abc")
    with pytest.raises(ConfigError, match="nor such a pipeline in the hub's local cache"):
        origin_of("org/fox")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    found = origin_of("org/fox").study
    assert found is not None
    assert found.values["autoencoder.network.weights"] == str(folder)
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"^error\[2\]: from: .*abc has no config.json; give a folder with"):
        origin_of("org/fox")


IS_A = (
    "is a FluxPipeline, and the pipelines that are drawn from are StableDiffusionPipeline,"
    " StableDiffusionXLPipeline, StableDiffusion3Pipeline, LDMPipeline; give one of them"
)
TARGET = "prediction_type must be one of epsilon, v_prediction, sample, got flow_prediction"
WRONG = {
    "other": ("model_index.json", {"_class_name": "FluxPipeline"}, IS_A),
    "part": (
        "model_index.json",
        {"text_encoder": ["transformers", "T5EncoderModel"]},
        "text_encoder must be CLIPTextModel in its model_index.json, got T5EncoderModel",
    ),
    "target": (PROCESS, {"prediction_type": "flow_prediction"}, TARGET),
    "schedule": (
        PROCESS,
        {"beta_schedule": "sigmoid"},
        "beta_schedule must be one of linear, scaled_linear, squaredcos_cap_v2, got sigmoid",
    ),
    "own betas": (
        PROCESS,
        {"rescale_betas_zero_snr": True},
        "has betas of its own, and no process here has them; use another model",
    ),
    "no size": (
        UNET,
        {"sample_size": None},
        "sample_size must be one integer, or two alike, got None",
    ),
    "oblong": (UNET, {"sample_size": [64, 96]}, "or two alike, got [64, 96]; pictures are sq"),
    "shift": (VAE, {"shift_factor": 0.1}, "shift_factor must be null, got 0.1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_pipeline_that_cannot_be_drawn_from_is_one_line(case, pipeline):
    file, changes, said = WRONG[case]
    with pytest.raises(ConfigError) as told:
        origin_of(str(pipeline(file, **changes)))
    (line,) = told.value.lines
    assert line.startswith("from: ")
    assert said in line


NOT_ASKED = {
    "label=3": "label: has no effect where conditioner is Text, which does not read it; use text='...'",
    "guidance=autoguidance": "weaker.network: is null, which is network itself with the weights it is given,",
    "guidance=classifier": "guidance: needs stage classifier, which",
}


@pytest.mark.parametrize("word", NOT_ASKED)
def test_what_a_pipeline_has_no_answer_for_is_one_line(word, pipeline):
    with pytest.raises(ConfigError) as told:
        refuse_drawing(asked(pipeline(), word))
    (line,) = told.value.lines
    assert line.startswith(NOT_ASKED[word])


def test_weights_that_are_not_there_are_told_of_the_folder(pipeline):
    folder = pipeline()
    cfg = asked(folder)
    refuse_drawing(cfg)
    (folder / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(ConfigError) as told:
        refuse_drawing(cfg)
    (line,) = told.value.lines
    assert line.startswith(
        f"from: {folder / 'text_encoder'} is no folder of a model: it has no *.safetensors"
    )
