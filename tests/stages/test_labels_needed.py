"""Which studies need labels: those whose denoiser is told them, and those that a judge measures."""

import dataclasses

import pytest
from choices import CONF

from condiff.config.compose import check
from condiff.data.source import DataInfo
from condiff.errors import ConfigError, DataError
from condiff.stages.driver import fits
from condiff.stages.study import STAGES

PLAIN = DataInfo(0, [], 3, 32, 90, 10, False, "100 pictures of somewhere", [])


def study(*argv):
    (cfg,) = check([*argv, "data=image_folder", "data.path=."], CONF, [stage.name for stage in STAGES])
    return cfg


@pytest.mark.parametrize("experiment", ["autoencoder_kl", "autoencoder_vq"])
def test_an_autoencoder_needs_none_but_for_a_judge(experiment):
    fits(study(f"experiment={experiment}", "metrics=reconstructed_features"), PLAIN)
    judged = study(f"experiment={experiment}")
    fits(judged, dataclasses.replace(PLAIN, num_classes=2, class_names=["a", "b"]))
    with pytest.raises(DataError, match=r"which the judge needs; 100 pictures of somewhere; use metrics="):
        fits(judged, PLAIN)


def test_one_picture_held_out_is_enough_where_nothing_is_compared():
    one = dataclasses.replace(PLAIN, num_classes=2, class_names=["a", "b"], num_held_out=1)
    fits(study("experiment=cfg_latent", "stages=[data,denoiser,samples]", "conditioner=label"), one)
    need = r"data: pictures held out: 1, at least 2 are needed, by a larger data\.held_out"
    with pytest.raises(DataError, match=need):
        fits(study("experiment=cfg_latent", "metrics=efficientnet_lite0"), one)
    none = dataclasses.replace(one, num_held_out=0)
    with pytest.raises(DataError, match=r"pictures held out: 0, at least 1 are needed"):
        fits(study("experiment=cfg_latent", "stages=[data,denoiser,samples]"), none)


def test_captions_that_are_not_there_are_told_how_to_give():
    with pytest.raises(ConfigError, match=r"give them, in metadata.jsonl or files .txt .* data.caption="):
        fits(study("experiment=cfg_latent_text", "metrics=efficientnet_lite0"), PLAIN)


def test_a_denoiser_that_is_told_classes_needs_them():
    with pytest.raises(DataError, match=r"data: has no labels, which this study needs; 100 pictures"):
        fits(study("experiment=cfg_latent"), PLAIN)


def test_a_denoiser_is_not_told_classes_that_no_training_picture_has():
    some = dataclasses.replace(PLAIN, num_classes=3, class_names=["a", "b", "c"], has_text=True, unseen=["a"])
    with pytest.raises(
        ConfigError, match=r"conditioner: reads classes, and 1 of 3 are in no training picture, a"
    ):
        fits(study("experiment=cfg_latent"), some)
    fits(study("experiment=cfg_latent_text", "metrics=efficientnet_lite0"), some)
