"""Do samples show what their captions say?"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from condiff.evaluation.checks import check_pictures, check_two
from condiff.evaluation.each_sample import EachSample
from condiff.evaluation.features.clip import Clip
from condiff.evaluation.intervals import Interval, normal
from condiff.evaluation.measurement import gathered


class ClipScore(EachSample):
    """100 max(cos, 0) of picture and caption in CLIP's space, the mean over samples (Hessel 2021, eq. 1).

    The paper's factor is 2.5; 100 is the usual one since.

    captions: of each class, in the order of the labels; by default each sample has its own.
    """

    needs_text_without: ClassVar = "captions"
    higher_is_better = True
    scores: list[Tensor]

    def __init__(self, clip: Clip, captions: Sequence[str] | None = None) -> None:
        super().__init__()
        self.clip, self.row = clip, torch.empty(0, dtype=torch.long)
        self.needs_text = self.one_size = captions is None  # of several sizes they come in another order
        self.needs_label = captions is not None
        told = "their captions" if captions is None else f"{len(captions)} captions"
        self.protocol = f"samples and {told}, 100 cos, {clip.name}"
        self._read(captions or [])
        self.add_state("scores", [], dist_reduce_fx="cat")

    def tell(self, captions: Sequence[str], unseen: Sequence[str] = ()) -> None:
        """``row`` is what each sample is to show, in their order."""
        self._read([*dict.fromkeys(captions)])
        places = {caption: row for row, caption in enumerate(self.captions)}
        self.row = torch.tensor([places[caption] for caption in captions], dtype=torch.long)

    @property
    def sides(self) -> tuple[str, ...]:
        return ("samples",)

    @property
    def count(self) -> int:
        return len(gathered(self.scores))

    def update(self, side: str, images: Tensor, label: Tensor | None) -> None:
        check_pictures(self, side, images)
        self.take_places(images)
        asked = self._asked(label)
        seen = torch.nn.functional.normalize(self.clip(images), dim=1)
        self.scores.append(100 * (seen * self.texts.to(seen.device)[asked]).sum(1).clamp(min=0).double())

    def compute(self) -> Tensor:
        check_two(self, self.count)
        return gathered(self.scores).mean()

    def interval(self) -> Interval:
        scores = gathered(self.scores)
        return normal(float(scores.mean()), scores)

    def per_sample(self) -> Tensor:
        return self.in_turn(gathered(self.scores))

    def _read(self, captions: Sequence[str]) -> None:
        """The texts that it knows, and where CLIP has them."""
        self.captions = [*captions]
        known = self.clip.texts(self.captions) if self.captions else torch.empty(0, self.clip.feature_dim)
        self.texts = torch.nn.functional.normalize(known, dim=1)

    def _asked(self, label: Tensor | None) -> Tensor:
        """[B], which of the captions the pictures that have just come were to show."""
        if self.needs_text:
            places = self.place[-1]
            if len(places) and int(places.max()) >= len(self.row):
                raise ValueError(
                    f"ClipScore needs a caption of every sample, got {len(self.row)} for sample"
                    f" {int(places.max())}; or give captions=[...], of each class"
                )
            return self.row.to(places.device)[places]
        if label is None:
            raise ValueError("ClipScore needs labelled samples")
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < len(self.captions):
            raise ValueError(
                f"ClipScore.captions has {len(self.captions)}, and label {int(label.max())} has none"
            )
        return label
