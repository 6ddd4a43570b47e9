"""Vectors of whole texts, in which texts that mean the same lie near one another."""

from collections.abc import Sequence

import torch
from torch import Tensor

from condiff.evaluation.features.frozen import Frozen
from condiff.minilm import PACKAGE, network_of, sentences
from condiff.pretrained import alike, content, model_folder, tokenizer_of

_LENGTH = 256  # tokens, the most that the model's authors give it
_BATCH = 256


class SentenceEncoder(Frozen):
    """Those of all-MiniLM-L6-v2. It remembers the texts that it has read.

    path: a folder with config.json, model.safetensors and the tokenizer's files; by default those of a small
    package.
    """

    def __init__(self, path: str | None = None) -> None:
        folder = model_folder(PACKAGE, "", path)
        network = network_of(folder)
        self.tokenizer = tokenizer_of(folder, "text")
        config = network.config
        self.feature_dim: int = config.hidden_size
        what = f"sentence vectors of a BERT of {config.num_hidden_layers} layers"
        super().__init__(network, what, [self.feature_dim, content(folder)])
        self.known: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str], place: torch.device | str = "cpu") -> Tensor:
        """[N, feature_dim], float32; a text's vector does not depend on those beside it."""
        self._learn([text for text in dict.fromkeys(texts) if text not in self.known], place)
        rows = [self.known[text] for text in texts]
        return torch.stack(rows).to(place) if rows else torch.empty(0, self.feature_dim, device=place)

    @torch.no_grad()
    def _learn(self, texts: Sequence[str], place: torch.device | str) -> None:
        """Texts of one number of tokens go together, so that none is filled up."""
        if not texts:
            return
        self.network.to(place)
        rows = self.tokenizer([*texts], truncation=True, max_length=_LENGTH)["input_ids"]
        for some in alike([len(ids) for ids in rows], _BATCH):
            ids = torch.tensor([rows[row] for row in some], device=place)
            states = self.network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            self.known |= dict(zip([texts[row] for row in some], sentences(states).cpu(), strict=True))
