"""Real digits in colour, as class folders of PNGs: pictures of three channels for data=image_folder.

    python experiments/classifier_guided/colours.py FOLDER

Each of the 5,000 MNIST digits keeps its shape; a bright hue on a dark one, both drawn by its key, paint it.
"""

import argparse
import colorsys
import random
from pathlib import Path

import numpy as np
from PIL import Image

from condiff.data.mnist import Mnist
from condiff.data.source import SPLITS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder, count = parser.parse_args().folder, 0
    source = Mnist(size=32, held_out_per_class=50)
    for split in SPLITS:
        for example in source.examples(split):
            path = folder / str(example.label) / f"{example.key}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(painted(example.image, example.key)).save(path)
            count += 1
    print(f"{folder}: {count} pictures")


def painted(grey: np.ndarray, key: str) -> np.ndarray:
    """[H, W, 3] uint8 of [H, W] uint8: ink and paper of two hues, mixed by the grey."""
    draw = random.Random(key)
    ink = np.array(colorsys.hsv_to_rgb(draw.random(), 0.8, 1.0))
    paper = np.array(colorsys.hsv_to_rgb(draw.random(), 0.8, 0.25))
    share = grey[..., None] / 255
    return np.rint(255 * (share * ink + (1 - share) * paper)).astype(np.uint8)


if __name__ == "__main__":
    main()
