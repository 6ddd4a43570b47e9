"""What a network consists of, counted."""

from typing import Any

from torch import nn


def parameters_of(module: nn.Module) -> dict[str, Any]:
    """How many parameters it has, how many of them are trained, and how many there are in each block.

    Blocks are the children of the outermost module that has more than one.
    """
    count = sum(p.numel() for p in module.parameters())
    inner = module
    while len(children := [*inner.named_children()]) == 1 and not [*inner.parameters(recurse=False)]:
        inner = children[0][1]
    blocks = {name: sum(p.numel() for p in child.parameters()) for name, child in children}
    own = sum(p.numel() for p in inner.parameters(recurse=False))
    return {
        "class": type(module).__name__,
        "parameters": count,
        "trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
        "blocks": {name: n for name, n in {**blocks, "itself": own}.items() if n},
    }
