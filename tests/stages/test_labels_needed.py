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
