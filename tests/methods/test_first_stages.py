"""Autoencoders against a discriminator and with a codebook: what a step is, what it moves, how it resumes."""

import copy
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from condiff.autoencoders.adversarial import hinge, hinge_of_generator, r1, vanilla, vanilla_of_generator
from condiff.autoencoders.compact import CompactKL
from condiff.data.dataset import ShardDataset
from condiff.data.digits import Digits
from condiff.data.prepare import prepare
from condiff.diffusion.randomness import Draws
from condiff.errors import DivergedError
from condiff.interrupts import Interrupted, Interrupts
from condiff.methods.adversary import LOSSES
from condiff.methods.autoencoder_vq import AutoencoderVQ
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import Reconstruction
from condiff.methods.settings import Training
from condiff.stages.stage import Runtime
from condiff.stages.training import CHECKPOINTS, fit
from tests.methods.first_stages import KINDS, adversary, first_stage


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    prepare(Digits(size=8), folder)
    return ShardDataset(folder, "train")


@pytest.fixture
def images():
    return torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def trained(method, digits, out, rows=lambda *_: None, interrupts=None):
    out.mkdir(exist_ok=True)
    runtime = Runtime(accelerator="cpu", log=rows, interrupts=interrupts or Interrupts())
    fit("autoencoder", method, digits, runtime, out)
    return method


def draws(step=5):
    return Draws(0, step, 7, slice(None))


def test_before_its_start_the_adversary_is_not_there(images):
    plain = first_stage(against=adversary(weight=0.0))
    assert plain.adversary is None
    method = first_stage(against=adversary(start=3))
    for step in range(3):
        found, expected = (m.loss({"image": images}, draws(step)) for m in (method, plain))
        assert found.keys() == expected.keys()
        assert torch.equal(found["loss"], expected["loss"])
    assert "adversarial" in method.loss({"image": images}, draws(3))


@pytest.mark.parametrize("start", [0, 2, 5, 6])
def test_the_start_counts_steps_of_the_autoencoder(start, digits, tmp_path):
    rows = {}
    method = first_stage(against=adversary(start=start))
    trained(method, digits, tmp_path / "run", lambda _, step, values: rows.update({step: values}))
    assert sorted(rows) == [1, 2, 3, 4, 5, 6]  # and these, not those of both optimizers
    assert [step for step in rows if "discriminator" in rows[step]] == list(range(start + 1, 7))
    assert [step for step in rows if "adversarial" in rows[step]] == list(range(start + 1, 7))
    if start == 6:
        assert method.adversary is None
    else:
        assert method.adversary.schedule.last_epoch == 6 - start
        (state, *_) = method.adversary.optimizer.state.values()
        assert int(state["step"]) == 6 - start


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_papers_put_together_by_hand(kind, images):
    method = first_stage(kind, adversary(start=0, weight=0.7))
    found = method.loss({"image": images}, draws())
    passed = method.passed(images, draws())
    num = 64 if kind == "kl" else 1  # of a Gaussian latent's losses, sums over a picture are balanced
    unlikely = num * method.reconstruction(passed.decoded, images).mean()
    fooled = hinge_of_generator(method.adversary.discriminator(passed.decoded))
    last = method.autoencoder.decoder[-3].weight
    by_hand = [torch.autograd.grad(part, last, retain_graph=True)[0].norm() for part in (unlikely, fooled)]
    adaptive = by_hand[0] / (by_hand[1] + 1e-4)
    assert float(adaptive) != pytest.approx(1, rel=0.1)
    torch.testing.assert_close(found["adaptive_weight"], adaptive)
    torch.testing.assert_close(found["loss"], (unlikely + 0.7 * adaptive * fooled) / num + passed.loss)


def test_a_loss_is_named_with_both_of_its_sides():
    assert {"hinge": (hinge, hinge_of_generator), "vanilla": (vanilla, vanilla_of_generator)} == LOSSES


def test_neither_side_moves_the_other(images):
    method = first_stage(against=adversary(start=0))
    method.loss({"image": images}, draws())["loss"].backward()
    assert all(p.grad is None for p in method.adversary.discriminator.parameters())
    assert all(p.grad is not None for p in method.autoencoder.parameters())
    before = copy.deepcopy(method.autoencoder.state_dict())
    for parameter in method.autoencoder.parameters():
        parameter.grad = None
    method.adversary.learn(method.seen, lambda x: x)
    assert all(p.grad is None for p in method.autoencoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in method.autoencoder.state_dict().items())
    assert not any(p.requires_grad for p in method.adversary.discriminator.parameters())


@pytest.mark.parametrize(("loss", "weight", "clip"), [("hinge", 0.0, None), ("vanilla", 5.0, 0.01)])
def test_a_step_of_the_discriminator_is_that_of_a_bare_loop(loss, weight, clip, images):
    method = first_stage(against=adversary(start=0, loss=loss, r1=weight), clip=clip)
    # in float64: the gradient of a bias may vanish, and Adam makes a step of what rounding leaves of it
    side, images = method.adversary.double(), images.double()
    fakes = images.flip(0).square() - 0.3
    bare = copy.deepcopy(side.discriminator).requires_grad_(True)
    optimizer = torch.optim.AdamW(bare.parameters(), 1e-3, (0.5, 0.999), weight_decay=0.01)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 2)  # the warm-up
        optimizer.zero_grad()
        expected = {"hinge": hinge, "vanilla": vanilla}[loss](bare(images), bare(fakes))
        (expected + weight * r1(bare, images)).backward()
        nn.utils.clip_grad_norm_(bare.parameters(), clip or math.inf)
        optimizer.step()
        side.learn([(images[:3], fakes[:3]), (images[3:], fakes[3:])], lambda x: x)
    for ours, theirs in zip(side.discriminator.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_under_autocast_the_autoencoder_is_judged_by_what_the_discriminator_has_just_learned(images):
    method = first_stage(against=adversary(start=0, optimizer=AdamW(lr=0.1)))
    with torch.autocast("cpu", torch.bfloat16):
        method.loss({"image": images}, draws())
        method.adversary.learn(method.seen, lambda x: x)
        same = method.adversary.discriminator(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(same, method.adversary.discriminator(images))


def test_a_training_in_half_precision_keeps_its_losses_in_single_precision(digits, tmp_path):
    rows = {}
    method = first_stage("vq_averaged", precision="bf16-mixed")
    trained(method, digits, tmp_path / "run", lambda _, step, values: rows.update({step: values}))
    assert all(math.isfinite(value) for row in rows.values() for value in row.values())
    assert {value.dtype for value in method.scalars.values()} <= {torch.float32, torch.float64}
    assert {value.dtype for value in method.autoencoder.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [1, 4])  # before the discriminator begins, and after
def test_a_resumed_training_ends_bit_for_bit_like_an_uninterrupted_one(kind, last, digits, tmp_path):
    whole = trained(first_stage(kind), digits, tmp_path / "whole")
    stopped = Interrupts()

    def stop(_, step, __):
        stopped.pending = 15 if step == last else None

    with pytest.raises(Interrupted):
        trained(first_stage(kind), digits, tmp_path / "again", stop, stopped)
    assert [*(tmp_path / "again" / CHECKPOINTS).iterdir()]
    again = trained(first_stage(kind), digits, tmp_path / "again")
    for name in ("weights.safetensors", "ema.safetensors"):
        one, two = (load_file(tmp_path / folder / name) for folder in ("whole", "again"))
        assert one.keys() == two.keys()
        assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert all(torch.equal(v, again.state_dict()[key]) for key, v in whole.state_dict().items())
    states = [method.adversary.optimizer.state.values() for method in (whole, again)]
    for one, two in zip(*states, strict=True):
        assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert whole.adversary.schedule.state_dict() == again.adversary.schedule.state_dict()


def test_what_is_learned_of_the_loss_and_the_codes_does_not_decay():
    method = first_stage("vq_learned")
    (optimizer,), _ = method.configure_optimizers()
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    spared = [method.reconstruction.log_variance, method.autoencoder.codebook.vectors]
    assert [decays[id(p)] for p in spared] == [0, 0]
    assert sorted(decays.values()) == [0, 0] + [0.01] * (len(decays) - 2)
    assert {*decays} == {id(p) for p in method.parameters() if p.requires_grad}
    assert {*decays} == {id(p) for p in method.trainable()}


@pytest.mark.parametrize("kind", ["vq_averaged", "vq_learned"])
def test_codes_that_nobody_chooses_are_restarted_until_their_time_is_over(kind, digits, tmp_path):
    def codes(restart_until):
        """The largest of their numbers, and the steps at which some were restarted."""
        method, rows = first_stage(kind, adversary(weight=0.0), restart_until, steps=12), {}
        with torch.no_grad():
            method.codebook.vectors[8:] = 100.0  # far from everything
        folder = tmp_path / str(restart_until)
        trained(
            method, digits, folder, lambda _, step, values: rows.update({step: values["codes_restarted"]})
        )
        assert sorted(rows) == list(range(1, 13))
        return float(method.codebook.vectors.detach().abs().max()), [k for k, num in rows.items() if num]

    largest, restarted = codes(0.0)
    assert largest > 90
    assert restarted == []
    largest, restarted = codes(0.3)  # of 12 steps: 3.6
    assert largest < 20
    assert restarted == [1, 2, 3]
    largest, restarted = codes(1.0)
    assert largest < 20
    assert max(restarted) > 6


def test_the_moments_of_a_learned_code_end_with_it(digits, tmp_path):
    method = first_stage("vq_learned", adversary(weight=0.0), 0.3, steps=3)
    trained(method, digits, tmp_path / "without")
    (optimizer,) = method.trainer.optimizers
    moments = optimizer.state[method.codebook.vectors]
    for value in moments.values():
        value.fill_(1)
    method.forget(torch.tensor([3, 5]))
    for name in ("exp_avg", "exp_avg_sq"):
        assert (moments[name] == 0).all(1).nonzero().flatten().tolist() == [3, 5]
        assert moments[name].sum() == 2 * 14
    assert moments["step"] == 1


def test_restarted_codes_are_those_that_are_forgotten(digits, tmp_path):
    method, seen = first_stage("vq_learned", adversary(weight=0.0), 1.0, steps=1), []
    method.forget = lambda codes: seen.append(codes.tolist())
    method.codebook.usage[5:] = 0  # and in the one step none of these is near anything
    with torch.no_grad():
        method.codebook.vectors[5:] = 100.0
    trained(method, digits, tmp_path / "run")
    assert seen == [[*range(5, 16)]]


def test_a_step_moves_averaged_codes_by_what_the_batch_chose(digits, tmp_path):
    """By the reference: N <- (N + n) / 2 and m <- (m + sum z) / 2, with e = m / N (van den Oord 2017)."""
    method = first_stage("vq_averaged", adversary(weight=0.0), steps=1)
    method.restart = 0.0
    before = copy.deepcopy(method.codebook)
    trained(method, digits, tmp_path / "run")
    ((latents, codes, _),) = method.coded
    flat, chosen = latents.movedim(1, -1).reshape(-1, 2).double(), codes.flatten()
    onehot = nn.functional.one_hot(chosen, 16).double()
    counts = 0.5 * before.usage.double() + 0.5 * onehot.sum(0)
    sums = 0.5 * before.usage.double()[:, None] * before.vectors.double() + 0.5 * onehot.T @ flat
    torch.testing.assert_close(method.codebook.vectors.double(), sums / counts[:, None], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(method.codebook.usage.double(), counts, rtol=1e-6, atol=0)
    assert float(method.scalars["codes_used"]) == pytest.approx(len(chosen.unique()) / 16)


def test_a_network_without_a_codebook_is_refused():
    with pytest.raises(ValueError, match=r"AutoencoderVQ needs a network with a codebook, got CompactKL"):
        AutoencoderVQ(CompactKL(1), Reconstruction(), AdamW(lr=1e-3), Training(steps=1, batch_size=1), 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_batch_in_parts_is_the_step_of_the_whole_but_for_the_adaptive_weight(
    kind, weight, digits, tmp_path, monkeypatch
):
    monkeypatch.setattr("condiff.methods.adversary.balance", lambda *_: torch.tensor(0.3))
    whole, parts = (  # vanilla: of hinge the gradient of the last bias vanishes, but for rounding
        trained(
            first_stage(kind, adversary(weight=weight, loss="vanilla"), accumulate=n),
            digits,
            tmp_path / str(n),
        )
        for n in (1, 3)
    )
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=1e-3, atol=1e-5, msg=name)
    for name, value in whole.scalars.items():
        torch.testing.assert_close(parts.scalars[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert [len(images) for images, _ in parts.seen] == [2, 2, 3]
    assert weight == 0 or parts.adversary.schedule.last_epoch == 4


def test_a_discriminator_whose_gradient_is_not_finite_ends_the_training_in_one_line(images):
    method = first_stage(against=adversary(start=0))
    with pytest.raises(DivergedError, match=r"the discriminator is nan; lower .*optimizer.lr=0.001"):
        method.adversary.learn([(images, images * torch.nan)], lambda x: x)
