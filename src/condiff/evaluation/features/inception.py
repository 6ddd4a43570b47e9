"""Features of the Inception network of 2015: what FID, sFID and the inception score are computed from."""

from torch import Tensor

from condiff.evaluation.features.frozen import FrozenClassifier, FrozenFeatures
from condiff.evaluation.features.inception_network import Inception2015
from condiff.evaluation.features.loading import load_strictly
from condiff.evaluation.features.preprocess import Fid, Preprocess
from condiff.evaluation.features.weights import WeightFile

FILE = WeightFile(
    names=("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)  # one file, published with pytorch-fid and, under the second name, with torch-fidelity
SIZE = 299


class Inception(FrozenClassifier):
    """The 2,048 features of the last pool, and for the score the logits of 1,008 classes without bias.

    preprocess: ``Fid`` where nothing is said.
    path: of the weights, where they are in none of the usual places.
    """

    called = "fid"
    network: Inception2015

    def __init__(self, preprocess: Preprocess | None = None, path: str | None = None) -> None:
        network = load_strictly(Inception2015(), FILE.load(path))
        super().__init__(network, preprocess or Fid(), SIZE, "inception_2015 pool3", 2048, FILE.sha256)

    def features(self, x: Tensor) -> Tensor:
        return self.network(x)

    def head(self, features: Tensor) -> Tensor:
        return self.network.logits(features)


class InceptionSpatial(FrozenFeatures):
    """17 x 17 places of 7 channels of a middle layer: sFID sees where things are (Nash 2021, sec. 4.2)."""

    called = "sfid"
    network: Inception2015

    def __init__(self, preprocess: Preprocess | None = None, path: str | None = None) -> None:
        network = load_strictly(Inception2015(), FILE.load(path))
        super().__init__(network, preprocess or Fid(), SIZE, "inception_2015 mixed_6", 2023, FILE.sha256)

    def features(self, x: Tensor) -> Tensor:
        return self.network.spatial(x)
