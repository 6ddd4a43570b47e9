"""What an autoencoder makes of pictures that it was not trained on."""

from collections.abc import Mapping
from pathlib import Path

import torch

from condiff.autoencoders.space import mode
from condiff.data.dataset import ShardDataset
from condiff.progress import bar
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.device import device
from condiff.stages.pictures import save_pictures
from condiff.stages.stage import PICTURES_MADE, Artifact, Config, Runtime


@torch.no_grad()
def decode(cfg: Config, inputs: Mapping[str, Artifact], runtime: Runtime, out: Path) -> None:
    """``samples.safetensors``: ``image``, [N, C, H, W], of the ``target``s, the first held-out pictures.

    N is ``num_samples`` where there are so many. Each is decoded from its most likely latent.
    """
    place, ranks = device(runtime), runtime.ranks
    autoencoder = load_autoencoder(inputs["autoencoder"], inputs["data"]).to(place)
    held_out = ShardDataset(inputs["data"].path, "held_out")
    total = min(cfg["num_samples"], len(held_out))
    wanted = held_out.__getitems__([(0, row, row) for row in range(total)])
    target, images, share = wanted["image"], [], ranks.share(total)
    with bar(len(share), "reconstructions") as shown:
        for rows in target[share.start : share.stop].split(runtime.sample_batch):
            images.append(autoencoder.decode(mode(autoencoder.encode(rows.to(place)))).cpu())
            shown.update(len(rows))
            ranks.own_step()
    image = ranks.gathered(torch.cat([target[:0], *images]), total)
    if ranks.leads:
        label = wanted["label"] if "label" in wanted else torch.zeros(total, dtype=torch.long)
        save_pictures(out / PICTURES_MADE, {"image": image, "target": target, "label": label})
