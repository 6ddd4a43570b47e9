"""Training of some parameters of a finished denoiser: a low-rank adapter, or all of them."""

from typing import Any

from torch import Tensor

from condiff.methods.diffusion import Diffusion


class Adaptation(Diffusion):
    """Diffusion's own loss; what asks for no gradient is the base, which is not saved again."""

    def saved(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        names = {name for name, weight in self.trained.named_parameters() if weight.requires_grad}
        return {name: state[name] for name in names}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        names = {name for name, weight in self.named_parameters() if weight.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name in names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The base is as it was given, so that all is there and Lightning can be strict."""
        checkpoint["state_dict"] = {**self.state_dict(), **checkpoint["state_dict"]}
