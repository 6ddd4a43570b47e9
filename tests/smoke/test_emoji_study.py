"""The study of emoji, shrunk: from drawings with names to how far samples show them."""

import json

import pytest
from PIL import Image

SHRUNK = (
    *("experiment=cfg_latent_emoji", "data=emoji", "data.size=32", "data.styles=[openmoji]"),
    *("network.widths=[8,16]", "network.norm_groups=4", "network.head_width=8", "num_samples=20"),
    *("metrics.fd_efficientnet_lite0.extractor.resolution=32",),
)


@pytest.mark.slow  # a minute of reading three thousand captions
@pytest.mark.parametrize("condition", ["text", "label_and_text"])
def test_names_of_drawings_are_asked_for_and_what_is_drawn_is_measured(study, condition):
    folder = study(*SHRUNK, f"conditioner={condition}", fresh=True)
    found = json.loads((folder / "metrics.json").read_text())
    for name in ("text_alignment", "text_alignment_over_shuffled", "text_alignment_top5"):
        assert found[name]["n"] == 20
        assert found[f"{name}_floor"]["n"] > 300
    assert found["text_alignment_floor"]["value"] > 0.3
    assert abs(found["text_alignment"]["value"]) < 0.3  # of four steps of training
    assert {"memorisation_efficientnet_lite0", "memorisation_efficientnet_lite0_authenticity"} <= {*found}
    assert Image.open(folder / "samples.png").width > 100
