"""What a target accepts is read from its source, and nothing else may be built."""

import ast
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import pytest

from condiff.config.annotations import Wired, read_annotation
from condiff.config.signatures import (
    LIBRARY,
    Parameter,
    TargetError,
    Unreadable,
    class_attribute,
    kinds_of,
    parameters_of,
    signature_of,
)
from condiff.config.sources import SourceClass, find_class, parse_module
from condiff.ranges import Count, NonNegative, Positive, Range, Real

SOURCE = """
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from condiff.ranges import Count, Real as Finite, Range, checked
from torch import Tensor, nn

if TYPE_CHECKING:
    from condiff.diffusion.process import Process

LIMIT = 16
Share = Annotated[float, Range(low=0, high=LIMIT)]


class Base:
    kind: ClassVar[str] = "base"
    shared = 3

    @checked
    def __init__(self, scale: Finite, *, steps: Count = 10, share: Share = 0.5) -> None: ...


class Child(Base, nn.Module):
    shared = 4


@dataclass(frozen=True)
class Pair(Base):
    kind: ClassVar[str] = "pair"
    first: int
    second: "float | None" = None
    third: list[int] = field(default_factory=list)
"""
MODULE = parse_module("fixture", "", SOURCE)


def source(name: str) -> SourceClass:
    found = find_class(MODULE, name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("int", int),
        ("'int'", int),
        ("None", type(None)),
        ("Count", Count),
        ("Finite", Real),
        ("Count | None", Count | None),
        ("Literal['a', -1, True]", Literal["a", -1, True]),
        ("list[int]", list[int]),
        ("list[Count]", list[Count]),
        ("Sequence[float]", Sequence[float]),
        ("tuple[int, float]", tuple[int, float]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("dict[str, bool]", dict[str, bool]),
        (
            "Annotated[float, Range(0, high=1.5, below=True)]",
            Annotated[float, Range(low=0, high=1.5, below=True)],
        ),
        ("Share", Annotated[float, Range(low=0, high=16)]),
        ("Tensor", Wired),
        ("nn.Module", Wired),
        ("Process | None", Wired | None),
        ("float | Tensor", float | Wired),
        ("list[Process]", list[Wired]),
        ("Process[int]", Wired),
        ("Undefined", Wired),
    ],
)
def test_an_annotation_means_what_it_says(text, kind):
    assert read_annotation(ast.parse(text, mode="eval").body, MODULE) == kind


def test_a_checked_constructor_is_read_and_inherited():
    wanted = {
        "scale": Parameter(Real, required=True),
        "steps": Parameter(Count, required=False, default=10),
        "share": Parameter(Annotated[float, Range(low=0, high=16)], required=False, default=0.5),
    }
    assert parameters_of(source("Base")) == wanted
    assert parameters_of(source("Child")) == wanted


def test_the_fields_of_a_dataclass_are_arguments_and_its_constants_are_not():
    fields = parameters_of(source("Pair")) or {}
    assert fields["first"] == Parameter(int, required=True)
    assert fields["second"] == Parameter(float | None, required=False)
    assert fields["third"] == Parameter(list[int], required=False, default=Unreadable)
    assert "kind" not in fields


def test_a_signature_has_the_ranges_of_the_constructor():
    guidance = signature_of("condiff.diffusion.guidance.ClassifierFree")
    assert guidance.name == "ClassifierFree"
    assert guidance.parameters == {"scale": Parameter(NonNegative, required=True)}


def test_a_librarys_class_is_found_behind_its_reexport_and_has_ranges():
    for target in LIBRARY:
        parameters = signature_of(target).parameters
        assert parameters["params"].annotation is Wired
        assert parameters["lr"].annotation == Positive
        assert set(LIBRARY[target]) <= set(parameters)


def test_a_constant_is_read_through_the_bases():
    assert class_attribute("condiff.diffusion.process.RectifiedFlow", "reaches_zero_snr") is True
    assert class_attribute("condiff.diffusion.process.LinearDDPM", "reaches_zero_snr") is False
    assert class_attribute("condiff.diffusion.process.DiscreteVP", "reaches_zero_snr") is False
    assert class_attribute("condiff.diffusion.process.CosineVP", "no_such", default=7) == 7


def test_the_kinds_of_a_class_are_its_bases():
    assert {"LinearDDPM", "DiscreteVP", "Process", "ABC"} <= kinds_of("condiff.diffusion.process.LinearDDPM")


HOSTILE = [
    "os.system",
    "posix.system",
    "subprocess.Popen",
    "subprocess.check_output",
    "builtins.eval",
    "builtins.exec",
    "builtins.open",
    "open",
    "io.open",
    "pathlib.Path",
    "pathlib.Path.write_text",
    "pickle.loads",
    "pickle.load",
    "shutil.rmtree",
    "runpy.run_path",
    "importlib.import_module",
    "torch.load",
    "torch.hub.load",
    "torch.serialization.load",
    "torch.optim.AdamW.__init__.__globals__",
    "torch.utils.cpp_extension.load",
    "numpy.load",
    "pandas.read_pickle",
    "joblib.load",
    "sympy.sympify",
    "webdataset.WebDataset",
    "lightning.LightningModule.load_from_checkpoint",
    "hydra.utils.instantiate",
    "condiff.files.write_json",
    "condiff.config.build.build",
    "condiff.stages.cache.Cache",
    "condiff.diffusion.guidance.os.system",
    "condiff.diffusion.guidance.ClassifierFree.__init__",
    "condiff.diffusion.guidance.__builtins__.eval",
    "condiff.diffusion.guidance.torch.load",
    "condiff.methods.method.Method.load_from_checkpoint",
    "condiff.data.image_folder.Path",
    "condiff.diffusion.samplers.Process",
    "condiff.ranges.checked",
    "condiff.diffusion..guidance.ClassifierFree",
    "condiff.diffusion.guidance.ClassifierFree ",
    "condiff.diffusion.guidance.ClassifierFree\n",
    "cond\u0131ff.diffusion.guidance.ClassifierFree",
    "../condiff/diffusion/guidance.ClassifierFree",
    "",
    "${oc.env:HOME}",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_a_target_that_is_not_on_the_list_is_refused(target):
    with pytest.raises(TargetError):
        signature_of(target)


def test_the_hostile_targets_are_many():
    assert len(HOSTILE) >= 28


def test_what_is_imported_private_or_abstract_is_no_target():
    for target, said in {
        "condiff.diffusion.samplers.Marginal": "defines no class",
        "condiff.data.batches._Loader": "may not be built",
        "condiff.diffusion.process.Process": "is an interface",
        "condiff.diffusion.guidance.Guidance": "is an interface",
        "condiff.diffusion.nothing.Here": "no module",
    }.items():
        with pytest.raises(TargetError, match=said):
            signature_of(target)


def test_a_misspelt_class_gets_a_hint():
    with pytest.raises(TargetError, match="did you mean 'ClassifierFree'"):
        signature_of("condiff.diffusion.guidance.ClassiferFree")


def test_reading_a_signature_imports_nothing():
    code = (
        "import sys; from condiff.config.signatures import LIBRARY, signature_of;"
        "[signature_of(t) for t in (*LIBRARY, 'condiff.networks.unet.UNet')];"
        "print(sorted({'torch', 'diffusers', 'hydra', 'condiff.networks.unet'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
