"""A walk with untrained networks, small ones on the CPU and large ones by shape alone, refuses the same."""

import pytest
import torch
from choices import CONF

from condiff.config.compose import check
from condiff.data.source import DataInfo
from condiff.diffusion.guidance import Guided, NoGuidance
from condiff.errors import ConfigError
from condiff.stages import rehearsal
from condiff.stages.study import STAGES

INFO = DataInfo(10, [], 1, 32, 100, 20, has_text=False, source="", left_out=[])
STUDY = ("experiment=cfg_latent", "network.widths=[8,16]", "logger.wandb=off")
RULES = "condiff.diffusion.guidance"
CHAIN = (
    f"guidance.links=[{{_target_: {RULES}.ClassifierFree, scale: 2.0}},"
    f"{{_target_: {RULES}.references.PerturbedAttention, scale: 2.0, layers: [mid]}}]"
)


def rehearsed(*argv: str) -> tuple[str, ...]:
    """What is refused of a study; empty where nothing is."""
    (cfg,) = check([*STUDY, *argv], CONF, [stage.name for stage in STAGES]) or [{}]
    try:
        rehearsal.rehearse(cfg, INFO)
    except ConfigError as error:
        return error.lines
    return ()


@pytest.fixture(params=[20_000_000, 0], ids=["small", "large"])
def place(request, monkeypatch):
    monkeypatch.setattr(rehearsal, "LARGE", request.param)
    return torch.device("meta" if request.param == 0 else "cpu")


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("guidance=autoguidance", "sampler=heun"),
        ("guidance=classifier_interval",),
        (
            "guidance=classifier_clipped",
            "sampler=ancestral",
            "stages=[data,denoiser,samples]",
            "network.patch=4",
        ),
        ("guidance=pag", "sampler=dpmpp_2m_sde"),
    ],
    ids=str,
)
def test_what_can_be_sampled_is_not_refused(place, argv):
    assert rehearsed(*argv) == ()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("+trainer.compile=blocks",), "trainer.compile: UNet names no blocks"),
        (("runtime.sample_compile=blocks",), "runtime.sample_compile: UNet names no blocks"),
        (("runtime.strategy=fsdp", "runtime.devices=2"), "runtime.strategy: fsdp gathers a network block by"),
    ],
)
def test_what_goes_block_by_block_is_refused_of_a_network_without_any(argv, said):
    (line,) = rehearsed(*argv)
    assert line.startswith(said)


def test_a_layer_that_is_not_there_is_told(place):
    (line,) = rehearsed("guidance=pag", "guidance.layers=[midd]")
    assert line.startswith("guidance.layers: no self-attention")


def test_an_order_that_cannot_be_is_told(place):
    (line,) = rehearsed("guidance=chain", CHAIN)
    assert line.startswith("guidance")
    assert "first link of its chain" in line


def test_networks_are_walked_where_they_are(place, monkeypatch):
    seen = []

    def look(self, models):
        def start(models):
            def rule(x_t, m, cond):
                seen.append(x_t.device)
                return models.denoiser(x_t, m, cond)

            return rule

        return Guided(models, start)

    monkeypatch.setattr(NoGuidance, "__call__", look)
    assert rehearsed("guidance=none") == ()
    assert set(seen) == {place}


def test_a_rule_that_asks_for_values_is_not_refused_for_the_want_of_them(place, monkeypatch):
    def look(self, models):
        def start(models):
            def rule(x_t, m, cond):
                assert x_t.sum().item() < 1e9
                return models.denoiser(x_t, m, cond)

            return rule

        return Guided(models, start)

    monkeypatch.setattr(NoGuidance, "__call__", look)
    assert rehearsed("guidance=none") == ()


def test_a_bug_is_no_want_of_values(place, monkeypatch):
    def look(self, models):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(NoGuidance, "__call__", look)
    with pytest.raises(RuntimeError, match="mat1"):
        rehearsed("guidance=none")


def test_a_rate_of_a_layer_that_is_not_there_is_told():
    assert rehearsed("adapter=linear", "+adapter.rates={mid_block.*:0.5}") == ()
    (line,) = rehearsed("adapter=linear", "+adapter.rates={mid_blok.*:0.5}")
    assert line.startswith("adapter.rates: 'mid_blok.*' is the end of none of the ")
