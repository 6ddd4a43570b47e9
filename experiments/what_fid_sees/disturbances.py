"""What is done to a set of pictures before it is measured."""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Smoothed by a Gaussian of ``sigma`` pixels; images, [B, C, H, W], repeat their border."""
    if sigma == 0:
        return images
    reach = int(4 * sigma + 1)
    line = (-torch.arange(-reach, reach + 1).double().square() / (2 * sigma**2)).exp()
    line = (line / line.sum()).to(images)
    flat = images.flatten(0, 1)[:, None]
    flat = pad(flat, [reach] * 4, mode="replicate")
    flat = conv2d(conv2d(flat, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))
    return flat.view_as(images).clamp(-1, 1)


def noisy(images: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """White noise on top, cut off at the range of pictures."""
    return (images + std * torch.randn(images.shape, generator=generator)).clamp(-1, 1)


def swirled(images: Tensor, angle: float) -> Tensor:
    """Turned by ``angle`` radians in the middle and less and less outwards, by nothing from the edge on."""
    rows = torch.eye(2, 3).expand(len(images), 2, 3)
    grid = affine_grid(rows, list(images.shape), align_corners=False)
    turn = angle * (1 - grid.norm(dim=3)).clamp(min=0)
    cos, sin, (x, y) = turn.cos(), turn.sin(), grid.unbind(3)
    turned = torch.stack([cos * x - sin * y, sin * x + cos * y], 3)
    return grid_sample(images, turned, padding_mode="border", align_corners=False).clamp(-1, 1)


def of_classes(label: Tensor, classes: list[int], num: int) -> Tensor:
    """Indices, [num], of pictures of these classes alone, each class as often as the next, to within one."""
    places = [(label == k).nonzero()[:, 0] for k in classes]
    counts = [num // len(classes) + (rank < num % len(classes)) for rank in range(len(classes))]
    for k, place, count in zip(classes, places, counts, strict=True):
        if len(place) < count:
            raise ValueError(f"class {k} has {len(place)} pictures, {count} are asked for")
    chosen = [place[:count] for place, count in zip(places, counts, strict=True)]
    return torch.cat(chosen).sort().values


def of_random_classes(label: Tensor, num: int, generator: torch.Generator) -> Tensor:
    """Indices, [num], whose classes are as independent draws would have them: some more often, some less."""
    classes, counts = torch.randint(int(label.max()) + 1, (num,), generator=generator).unique(
        return_counts=True
    )
    return torch.cat(
        [of_classes(label, [k], n) for k, n in zip(classes.tolist(), counts.tolist(), strict=True)]
    )


def with_copies(images: Tensor, train: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A ``share`` of the pictures, at random places, is replaced by as many different training pictures."""
    num = round(share * len(images))
    places = torch.randperm(len(images), generator=generator)[:num]
    copied = torch.randperm(len(train), generator=generator)[:num]
    mixed = images.clone()
    mixed[places] = train[copied]
    return mixed


def repeated(images: Tensor, times: int, generator: torch.Generator) -> Tensor:
    """As many pictures as before, but one in ``times`` of them, each that often."""
    if len(images) % times:
        raise ValueError(f"{len(images)} pictures cannot be {times} times the same few")
    few = torch.randperm(len(images), generator=generator)[: len(images) // times]
    return images[few].repeat(times, 1, 1, 1)
