"""The configs named after ADM's published models have exactly the tensors that those have."""

import math

import pytest
import torch
from choices import choices
from networks.adm_original import Encoder, Flags, shapes

from condiff.config.build import build
from condiff.networks.adm_weights import layout

BY_64 = Flags(0, 256, 2, (), (32, 16, 8), num_head_channels=64, resblock_updown=True, num_classes=1000)
BY_4 = BY_64.but(num_head_channels=-1)
LARGE = (1, 1, 2, 2, 4, 4)
# The flags published beside the files, and millions of parameters (Dhariwal & Nichol 2021, app. I).
DIFFUSION = {
    "adm": (
        BY_64.but(image_size=64, num_channels=192, num_res_blocks=3, channel_mult=(1, 2, 3, 4)),
        296,
    ),
    "adm_128": (BY_4.but(image_size=128, channel_mult=(1, 1, 2, 3, 4)), 422),
    "adm_256": (BY_64.but(image_size=256, channel_mult=LARGE), 554),
    "adm_512": (BY_64.but(image_size=512, channel_mult=(0.5, *LARGE)), 559),
    "adm_64_to_256": (BY_4.but(image_size=256, num_channels=192, channel_mult=LARGE, inputs=6), 312),
    "adm_128_to_512": (
        BY_64.but(
            image_size=512, num_channels=192, channel_mult=LARGE, inputs=6, attention_resolutions=(32, 16)
        ),
        309,
    ),
}
CLASSIFIERS = {
    "adm": (Encoder(64, 128, 4, (1, 2, 3, 4), (32, 16, 8)), 65),
    "adm_128": (Encoder(128, 128, 2, (1, 1, 2, 3, 4), (32, 16, 8)), 43),
    "adm_256": (Encoder(256, 128, 2, LARGE, (32, 16, 8)), 54),
    "adm_512": (Encoder(512, 128, 2, (0.5, *LARGE), (32, 16, 8)), 54),
}


def sizes(tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in tensors.items()}


def u_net(name: str, flags: Flags):
    with torch.device("meta"):
        return build(
            choices("network")[name],
            "network",
            channels=3,
            size=flags.image_size,
            num_labels=flags.num_classes or 0,
            concat_channels=flags.inputs - 3,
        )


def millions(network) -> int:
    return round(sum(p.numel() for p in network.parameters()) / 1e6)


def test_every_config_of_a_published_model_is_under_test():
    assert {name for name in choices("network") if name.startswith("adm")} == {*DIFFUSION}
    assert {name for name in choices("classifier") if name.startswith("adm")} == {*CLASSIFIERS}


@pytest.mark.parametrize("name", DIFFUSION)
def test_a_u_net_has_the_tensors_of_its_published_file(name):
    flags, count = DIFFUSION[name]
    network = u_net(name, flags)
    assert sizes(layout(network)) == shapes(flags)
    assert millions(network) == count


def test_the_unconditional_u_net_has_the_tensors_of_its_published_file():
    flags = DIFFUSION["adm_256"][0].but(num_classes=None)
    network = u_net("adm_256", flags)
    assert sizes(layout(network)) == shapes(flags)
    assert millions(network) == 553


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_has_the_tensors_of_its_published_file(name):
    flags, count = CLASSIFIERS[name]
    with torch.device("meta"):
        network = build(
            choices("classifier")[name]["network"],
            "classifier.network",
            channels=3,
            size=flags.image_size,
            num_classes=1000,
        )
    assert sizes(layout(network)) == shapes(flags)
    assert millions(network) == count


@pytest.mark.parametrize(("name", "heads"), [("adm", [6, 9, 12]), ("adm_128", [4]), ("adm_64_to_256", [4])])
def test_heads_are_those_of_the_flags(name, heads):
    network = u_net(name, DIFFUSION[name][0])
    found = {layer.heads for layer in network.modules() if hasattr(layer, "to_q")}
    assert sorted(found) == heads


def test_random_weights_have_every_tensor_of_the_layout_once():
    flags = DIFFUSION["adm"][0]
    assert sum(map(math.prod, shapes(flags).values())) == 295_904_454
