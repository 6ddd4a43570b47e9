"""How much of what captions say is still read from what the first stage of a run makes of held-out pictures.

python experiments/cfg_latent_text/reconstructions.py RUN
"""

import argparse

import torch

from condiff.autoencoders.space import mode
from condiff.data.dataset import ShardDataset
from condiff.evaluation.adherence import agreement
from condiff.evaluation.shapes import read
from condiff.scenes.captions import parse
from condiff.stages.autoencoder import load_autoencoder
from condiff.stages.run_folders import artifacts_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", help="the folder of a finished run")
    made = artifacts_of(parser.parse_args().run, "run")
    autoencoder = load_autoencoder(made["autoencoder"], made["data"])
    data = ShardDataset(made["data"].path, "held_out")
    batch = data.__getitems__([(0, i, i) for i in range(len(data))])
    images = batch["image"].float()
    with torch.inference_mode():
        decoded = torch.cat([autoencoder.decode(mode(autoencoder.encode(x))) for x in images.split(100)])
    for name, pictures in (("pictures", images), ("reconstructions", decoded)):
        readings = zip(batch["text"], read(pictures), strict=True)
        agreed = [agreement(parse(text), reading) for text, reading in readings]
        print(f"{name:16}{sum(all(one.values()) for one in agreed) / len(agreed):.3f} of {len(agreed)}")


if __name__ == "__main__":
    main()
