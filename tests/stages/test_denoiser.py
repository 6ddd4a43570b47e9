"""How the denoiser's parts are put together."""

import pytest
from choices import choices
from torch import nn

from condiff.data.source import DataInfo
from condiff.networks.unet import CrossAttentionUNet, UNet
from condiff.stages.denoiser import build_conditioner


@pytest.mark.parametrize(("drop", "rows"), [(0.1, 11), (0.0, 10)])
@pytest.mark.parametrize("kind", [UNet, CrossAttentionUNet])
def test_a_network_has_a_row_for_the_null_only_where_conditions_are_dropped(kind, drop, rows):
    cfg = {"method": {"drop_condition": drop}, "conditioner": choices("conditioner")["label"]}
    info = DataInfo(10, [], 1, 8, 100, 10, has_text=False, source="", left_out=[])
    conditioner = build_conditioner(cfg, info)
    network = kind(channels=1, size=8, num_labels=conditioner.num_labels, widths=[16], attention=[False])
    tables = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    assert [table.num_embeddings for table in tables] == [rows]
