"""What a first stage is not trained by is refused, not passed over."""

import pytest
from choices import CONF

from condiff.config.compose import check
from condiff.config.given_rules import given_weights_are_not_trained, without_training
from condiff.config.network_rules import without_restarts
from condiff.errors import ConfigError
from tests.config.nodes import of, told

DISTANCE = of("evaluation.features.perceptual", "EfficientNetLite0Distance")


def first_stage(perceptual, **own):
    return told(stages=["data", "autoencoder"], perceptual={"distance": perceptual}, data={}, autoencoder=own)


def test_a_first_stage_that_is_given_is_trained_by_no_perceptual_distance():
    network = of("autoencoders.pretrained", "Pretrained", weights="folder")
    assert first_stage(DISTANCE, network=network) == [
        "perceptual: has no effect with autoencoder.network.weights: nothing is trained; use perceptual=none"
    ]
    assert first_stage(None, network=network) == []


@pytest.mark.parametrize("name", ["Reconstruction", "LearnedReconstruction"])
def test_a_weight_without_a_distance_is_refused(name):
    def weighed(distance, weight):
        node = of("methods.reconstruction", name, distance=distance, distance_weight=weight)
        return first_stage(distance, method={"reconstruction": node})

    assert weighed(None, 3.0) == [
        "autoencoder.method.reconstruction.distance_weight: has no effect without a distance, got 3.0;"
        " leave it at 1, or use perceptual=efficientnet_lite0 or lpips_vgg"
    ]
    assert weighed(None, 1.0) == weighed(DISTANCE, 3.0) == []
    assert first_stage(None, method={"reconstruction": of("methods.reconstruction", name)}) == []


END = ("autoencoder.method.restart_until", "autoencoder.method.restart_until=0.5")
NEVER = (
    "autoencoder.method.restart_until=0.5: has no effect with autoencoder.method.restart=0, which restarts no"
    " code; leave it out, or give autoencoder.method.restart=0.1"
)


def test_an_end_of_restarts_is_given_where_there_are_some():
    never, some = ({"autoencoder": {"method": {"restart": r, "restart_until": 0.5}}} for r in (0.0, 0.2))
    assert [*without_restarts([END], [never, never])] == [NEVER]
    assert [*without_restarts([END], [never, some])] == []
    assert [
        *without_restarts([("autoencoder.method.restart", "autoencoder.method.restart=0")], [never])
    ] == []
    with pytest.raises(ConfigError) as refused:
        check(["experiment=autoencoder_vq", "autoencoder.method.restart=0", END[1]], CONF)
    assert refused.value.lines == (NEVER,)


def test_a_given_network_is_measured_on_the_way_of_its_adapter_alone():
    """What a file says of it is nobody's mistake, and 0 asks for nothing."""
    study = {"network": {"weights": "file"}, "metrics": {"every": 2}, "stages": ["denoiser", "samples"]}
    every = [("metrics.every", "metrics.every=2")]
    (line,) = without_training(every, [study])
    assert line == "metrics.every=2: has no effect with network.weights: nothing is trained; leave it out"
    assert [*given_weights_are_not_trained(study), *without_training([], [study])] == []
    for other in ({"stages": [*study["stages"], "adapter"]}, {"metrics": {"every": 0}}, {"network": {}}):
        assert [*without_training(every, [{**study, **other}])] == []
