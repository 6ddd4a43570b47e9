"""How long and how finely something is trained."""

from typing import Annotated, Literal

from condiff.ranges import Count, Positive, Probability, Range, checked

Length = Annotated[float, Range(low=0, high=0.25, over=True)]


class Training:
    """Steps of the optimizer at a global batch size, whatever the number of devices.

    ``ema_decay`` null keeps no moving average; ``clip`` null does not clip the gradient's norm. At the steps
    in ``keep`` the weights are kept as they would be at the end, to be sampled from with ``checkpoint``.

    accumulate: parts that each device takes its share of a batch in, one after the other, to need less
        memory. The step stays that of the whole batch, but for what is a function of all of it: batch
        normalization, and the adaptive weight of a discriminator, are of each part.
    precision: of the step; with 16-mixed the loss is scaled, and a step whose gradient does not fit float16
        leaves the weights as they are.
    recompute: activations of networks of diffusers, and of text encoders that are trained beside them, are
        not kept for the way back but computed again, which takes less memory and more time (Chen 2016).
    averages: lengths of averages to be kept beside it, ``snapshots`` times over the training, as shares of it
        (0.05 and 0.1 in Karras 2024): what is sampled with any other ``average`` is made of them.
    compile: by torch.compile, while it trains: ``whole`` networks, or the ``blocks`` that a transformer of
        diffusers repeats, each once, which takes a fraction of the time before the first step.
    """

    @checked
    def __init__(
        self,
        steps: Count,
        batch_size: Count,
        clip: Positive | None = None,
        ema_decay: Probability | None = None,
        precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true",
        log_every: Count = 50,
        channels_last: bool = True,
        keep: list[Count] | None = None,
        accumulate: Count = 1,
        recompute: bool = False,
        averages: list[Length] | None = None,
        snapshots: Count = 16,
        compile: Literal["none", "whole", "blocks"] = "none",
    ) -> None:
        if accumulate > batch_size:
            raise ValueError(f"Training.accumulate must be at most batch_size={batch_size}, got {accumulate}")
        self.averages, self.snapshots = averages or [], min(snapshots, steps)
        late = [step for step in keep or [] if step > steps]
        if late:
            raise ValueError(f"Training.keep must be steps up to steps={steps}, got {late}")
        self.keep, self.accumulate = keep or [], accumulate
        self.steps, self.batch_size, self.log_every = steps, batch_size, log_every
        self.clip, self.ema_decay = clip, ema_decay
        self.precision: Literal["32-true", "bf16-mixed", "16-mixed"] = precision
        self.channels_last, self.recompute = channels_last, recompute
        self.compile: Literal["none", "whole", "blocks"] = compile
