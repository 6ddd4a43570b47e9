"""What a logit of the patch discriminator sees, and what it does not depend on."""

import pytest
import torch
from torch import nn

from condiff.autoencoders.discriminator import PatchDiscriminator


def seen(discriminator, size):
    """Rows and columns of the pixels that a logit in the middle depends on."""
    images = torch.randn(1, 2, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = discriminator(images)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], images)
    support = gradient[0].abs().sum(0)
    return [int((support.sum(axis) > 0).sum()) for axis in (0, 1)]


def without_norms(discriminator):
    for place, layer in enumerate(discriminator.layers):
        if isinstance(layer, nn.GroupNorm):
            discriminator.layers[place] = nn.Identity()
    return discriminator


@pytest.mark.parametrize(("halvings", "field"), [(1, 16), (2, 34), (3, 70)])
def test_the_convolutions_of_a_logit_see_a_patch_of_the_papers_size(halvings, field):
    discriminator = PatchDiscriminator(2, 16, halvings)
    assert discriminator.receptive_field == field
    assert seen(without_norms(discriminator), 160) == [field, field]


def test_the_default_is_the_papers_70_by_70_with_its_channels():
    discriminator = PatchDiscriminator(3)
    convolutions = [layer for layer in discriminator.layers if isinstance(layer, nn.Conv2d)]
    assert discriminator.receptive_field == 70
    assert [layer.out_channels for layer in convolutions] == [64, 128, 256, 512, 1]
    assert [layer.stride[0] for layer in convolutions] == [2, 2, 2, 1, 1]
    assert {layer.kernel_size for layer in convolutions} == {(4, 4)}
    weights = torch.cat([layer.weight.detach().flatten() for layer in convolutions])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.01)
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_logits_of_a_picture_do_not_depend_on_the_others_in_training_either():
    discriminator = PatchDiscriminator(1, 16).train()
    images = torch.randn(5, 1, 32, 32) * torch.tensor([1.0, 9, 0.1, 3, 1]).view(5, 1, 1, 1)
    alone = torch.cat([discriminator(image) for image in images.split(1)])
    torch.testing.assert_close(discriminator(images), alone, rtol=1e-5, atol=1e-6)
    assert not [*discriminator.buffers()]


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_the_smallest_picture_has_a_logit_and_a_smaller_one_is_refused(halvings):
    discriminator = PatchDiscriminator(1, 16, halvings)
    size = discriminator.smallest
    assert discriminator(torch.zeros(1, 1, size, size)).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match=rf"halvings={halvings} needs pictures of at least {size} pixels"):
        discriminator(torch.zeros(1, 1, size, size - 1))


def test_a_width_that_groups_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"PatchDiscriminator\.width must be a multiple of 16, got 40"):
        PatchDiscriminator(3, 40)
