"""The recipes of denoisers in latents are the papers', and their networks have the size of these."""

from typing import Any

import pytest
from choices import CONF

from condiff.config.compose import check as composed
from condiff.config.nodes import class_of
from condiff.stages.check import _info, counted, differences
from condiff.stages.study import STAGES

NAMES = [stage.name for stage in STAGES]
# Rombach 2022, tables 10 and 13 to 15; Stable Diffusion 1's model card and v1-inference.yaml; read or from
# memory, as the recipes say. Batch, steps, rate, share of dropped conditions, scale, steps of sampling;
# betas; the latent; millions of parameters of the U-Net; of LDM-4, billions of products of a pass (Peebles &
# Xie 2023, from memory).
RECIPES: dict[str, tuple[Any, ...]] = {
    "ldm/imagenet256_f4": (1200, 178_000, 1e-4, 0.1, 1.5, 250, (0.0015, 0.0195), [3, 64, 64], 400.92, 103.6),
    "ldm/cin_kl_f8": (64, 4_800_000, 6.4e-5, 0.0, None, 250, (0.0015, 0.0195), [4, 32, 32], 395, None),
    "sd/text_to_image": (2048, 934_000, 1e-4, 0.1, 7.5, 50, (0.00085, 0.012), [4, 64, 64], 859.52, None),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_of_denoisers_in_latents_are_the_papers(name):
    *stated, betas, shape, millions, products = RECIPES[name]
    labels = [] if name.startswith("sd/") else ["data.num_classes=1000"]
    (cfg,) = composed([f"experiment={name}", "task=check", *labels], CONF, NAMES) or [{}]
    recipe = differences(cfg)
    assert recipe is not None
    assert recipe["changed"] == []
    assert recipe["same"] >= 35
    trainer, process = cfg["trainer"], cfg["process"]
    assert stated == [
        *(trainer["batch_size"], trainer["steps"], cfg["optimizer"]["lr"], cfg["method"]["drop_condition"]),
        *(cfg["guidance"].get("scale"), cfg["sampler"]["steps"]),
    ]
    assert (trainer["ema_decay"], class_of(process)) == (0.9999, "ScaledLinear")
    assert (process["beta_start"], process["beta_end"], process["num_steps"]) == (*betas, 1000)
    classes = 0 if name.startswith("sd/") else 1000
    info = _info(cfg)  # the command of its header names no shards
    assert (info.channels, info.size, info.num_classes) == (3, cfg["data"]["size"], classes)
    found = counted({**cfg, "check": ["autoencoder", "latents", "denoiser"]}, info)
    own, nulls = found["networks"]["denoiser"], 1 if cfg["method"]["drop_condition"] else 0
    tokens = (classes + nulls) * cfg["network"]["token_width"] if classes else 0
    assert found["shape"] == shape
    assert (own["parameters"] - tokens) / 1e6 == pytest.approx(
        millions, abs=0.5 if millions == 395 else 0.005
    )
    if products is not None:
        assert own["flop"] / 2e9 == pytest.approx(products, rel=0.01)
