"""What a first stage is not trained by is refused, not passed over."""

import pytest

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
