"""Vector quantisation against what can be worked out by hand."""

import math

import pytest
import torch
from diffusers.models.autoencoders.vae import VectorQuantizer as Theirs
from torch.nn.functional import mse_loss

from condiff.autoencoders import codebook as codebooks
from condiff.autoencoders.codebook import (
    AveragedCodebook,
    LearnedCodebook,
    earliest,
    offers,
    perplexity,
    used,
)
from condiff.autoencoders.quantizer import VectorQuantizer
from condiff.diffusion.randomness import Draws

KINDS = [LearnedCodebook, AveragedCodebook]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def filled(kind, vectors, decay=0.99):
    codebook = kind(*vectors.shape, decay).double()
    with torch.no_grad():
        codebook.vectors.copy_(vectors)
    return codebook


@pytest.fixture(params=KINDS)
def codebook(request):
    return filled(request.param, normal(7, 3, seed=1))


def by_hand(latents, vectors):
    """Codes and their vectors, place by place."""
    codes = torch.zeros(latents.shape[0], *latents.shape[2:], dtype=torch.int64)
    chosen = torch.zeros_like(latents)
    for b in range(latents.shape[0]):
        for y in range(latents.shape[2]):
            for x in range(latents.shape[3]):
                distances = [float((latents[b, :, y, x] - vector).norm()) for vector in vectors]
                codes[b, y, x] = distances.index(min(distances))
                chosen[b, :, y, x] = vectors[codes[b, y, x]]
    return codes, chosen


@pytest.mark.parametrize("at_once", [1, 2**24])
def test_each_place_gets_the_nearest_code_exactly(codebook, at_once, monkeypatch):
    monkeypatch.setattr(codebooks, "AT_ONCE", at_once)
    latents = normal(2, 3, 4, 5)
    found = VectorQuantizer(codebook)(latents)
    codes, chosen = by_hand(latents, codebook.vectors.detach())
    assert len(codes.unique()) > 3
    assert found.codes.equal(codes)
    assert found.latents.equal(chosen)
    assert codebook.lookup(codes).equal(chosen)


def test_which_code_is_nearest_does_not_depend_on_the_origin(codebook):
    latents, far = normal(2, 3, 4, 5).round(decimals=2).float(), 2.0**16  # float32 keeps 1/128 there
    latents = (latents * 64).round() / 64
    with torch.no_grad():
        codebook.float().vectors.copy_((codebook.vectors * 64).round() / 64)
    here = codebook.nearest(latents)
    with torch.no_grad():
        codebook.vectors += far
    assert codebook.nearest(latents + far).equal(here)


def test_half_precision_chooses_as_single_precision_does(codebook):
    latents = normal(2, 3, 8, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = VectorQuantizer(codebook.float())(latents)
    assert found.codes.equal(codebook.nearest(latents.float()))
    assert found.loss.dtype == torch.float32
    assert found.latents.dtype == torch.bfloat16


def test_the_gradient_passes_the_quantizer_as_if_it_were_the_identity(codebook):
    latents, weight = normal(2, 3, 4, 4).requires_grad_(), normal(2, 3, 4, 4, seed=2)
    quantizer = VectorQuantizer(codebook, commitment=0)
    (quantizer(latents).latents.sin() * weight).sum().backward()
    assert latents.grad is not None
    _, chosen = by_hand(latents.detach(), codebook.vectors.detach())
    torch.testing.assert_close(latents.grad, chosen.cos() * weight, rtol=1e-12, atol=0)
    assert all(part.grad is None for part in codebook.parameters())


def test_the_commitment_pulls_latents_to_their_codes_and_no_code(codebook):
    latents = normal(2, 3, 4, 4).requires_grad_()
    found = VectorQuantizer(codebook, commitment=0.3)(latents)
    _, chosen = by_hand(latents.detach(), codebook.vectors.detach())
    (gradient,) = torch.autograd.grad(found.loss, latents, retain_graph=True)
    torch.testing.assert_close(
        gradient, 0.3 * 2 * (latents.detach() - chosen) / latents.numel(), rtol=1e-12, atol=0
    )


def test_the_gradient_of_a_learned_code_is_twice_its_mean_distance_from_its_latents():
    codebook, latents = filled(LearnedCodebook, normal(7, 3, seed=1)), normal(2, 3, 4, 4)
    found = VectorQuantizer(codebook, commitment=0.3)(latents)
    found.loss.backward()
    expected, rows = torch.zeros(7, 3, dtype=torch.float64), latents.movedim(1, -1).reshape(-1, 3)
    for row, code in zip(rows, found.codes.flatten().tolist(), strict=True):
        expected[code] += 2 * (codebook.vectors.detach()[code] - row) / latents.numel()
    torch.testing.assert_close(codebook.vectors.grad, expected, rtol=1e-12, atol=1e-15)
    _, chosen = by_hand(latents, codebook.vectors.detach())
    assert float(found.loss.detach()) == pytest.approx(1.3 * float(mse_loss(latents, chosen)), rel=1e-12)


@pytest.mark.parametrize(("legacy", "commitment", "weight"), [(False, 0.25, 1.0), (True, 4.0, 0.25)])
def test_losses_and_gradients_are_those_of_diffusers(legacy, commitment, weight):
    """As papers have it, and as latent diffusion's code, whose beta of 0.25 stands at the other part."""
    ours = filled(LearnedCodebook, normal(7, 3, seed=1))
    theirs = Theirs(7, 3, beta=0.25, legacy=legacy).double()
    theirs.embedding.weight.data.copy_(ours.vectors.detach())
    inputs = [normal(2, 3, 4, 4).requires_grad_() for _ in "ab"]
    found = VectorQuantizer(ours, commitment)(inputs[0])
    latents, loss, (_, _, codes) = theirs(inputs[1])
    torch.testing.assert_close(weight * found.loss, loss, rtol=1e-12, atol=0)
    assert found.codes.flatten().equal(codes)
    (weight * found.loss + found.latents.square().sum()).backward()
    (loss + latents.square().sum()).backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ours.vectors.grad, theirs.embedding.weight.grad, rtol=1e-10, atol=1e-12)


def test_an_averaged_codebook_has_no_gradient_and_no_loss_of_its_own():
    codebook, latents = filled(AveragedCodebook, normal(7, 3, seed=1)), normal(2, 3, 4, 4)
    assert not [*codebook.parameters()]
    assert float(VectorQuantizer(codebook, commitment=0)(latents).loss) == 0
    assert "vectors" in codebook.state_dict()


def test_averaged_codes_are_the_ratio_of_two_moving_averages():
    codebook = filled(AveragedCodebook, normal(5, 3, seed=1), decay=0.9)
    n, vectors = torch.ones(5, dtype=torch.float64), codebook.vectors.clone()
    m = vectors.clone()
    for step in range(20):
        latents = normal(2, 3, 3, 3, seed=10 + step)
        codes = codebook.nearest(latents)
        codebook.absorb(codebook.assigned(latents, codes))
        n, m = 0.9 * n, 0.9 * m
        for row, code in zip(latents.movedim(1, -1).reshape(-1, 3), codes.flatten().tolist(), strict=True):
            n[code] += 0.1
            m[code] += 0.1 * row
    torch.testing.assert_close(codebook.usage, n, rtol=1e-12, atol=0)
    torch.testing.assert_close(codebook.vectors, m / n.unsqueeze(1), rtol=1e-10, atol=0)
    assert (codebook.vectors - vectors).abs().min() > 1e-3


def test_a_code_that_nobody_chooses_stays_where_it_is_for_ever():
    codebook = filled(AveragedCodebook, torch.tensor([[0.0], [50.0]]), decay=0.5).float()
    latents = torch.full((1, 1, 2, 2), 3.0)
    for _ in range(2000):  # 0.5^2000 is 0
        codebook.absorb(codebook.assigned(latents, codebook.nearest(latents)))
    assert codebook.usage.tolist() == [4, 0]
    assert codebook.vectors.tolist() == [[3], [50]]
    codebook.absorb(codebook.assigned(torch.full((1, 1, 1, 1), 49.0), torch.ones(1, 1, 1, dtype=torch.int64)))
    assert codebook.vectors.tolist() == [[3], [49]]


def test_looking_up_changes_nothing(codebook):
    before = {name: value.clone() for name, value in codebook.state_dict().items()}
    VectorQuantizer(codebook).train()(normal(2, 3, 4, 4))
    assert len(before) == 2
    assert all(value.equal(before[name]) for name, value in codebook.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_batch_move_the_codes_as_the_whole_does(kind):
    latents = normal(5, 3, 4, 4)
    whole, shared = (filled(kind, normal(7, 3, seed=1)) for _ in range(2))
    codes = whole.nearest(latents)
    whole.absorb(whole.assigned(latents, codes))
    first, second = (shared.assigned(latents[part], codes[part]) for part in (slice(0, 3), slice(3, 5)))
    assert (first + second).counts.sum() == 5 * 16
    shared.absorb(first + second)
    torch.testing.assert_close(shared.usage, whole.usage, rtol=1e-12, atol=0)
    torch.testing.assert_close(shared.vectors, whole.vectors, rtol=1e-12, atol=0)


def test_a_code_is_dead_below_a_share_of_the_mean_use():
    codebook = filled(AveragedCodebook, normal(4, 2))
    codebook.usage.copy_(torch.tensor([8.0, 0.79, 0.81, 6.4]))  # mean 4
    assert codebook.dead(0.2).tolist() == [False, True, False, False]
    for below in (0, 1, math.nan):
        with pytest.raises(ValueError, match=r"^Codebook\.dead below must be in \(0, 1\), got"):
            codebook.dead(below)


def test_dead_codes_become_latents_of_the_batch_and_the_others_stay(codebook):
    codebook.usage.copy_(torch.tensor([5.0, 0, 6, 0, 7, 8, 2]))  # mean 4
    before, latents = codebook.vectors.detach().clone(), normal(2, 3, 4, 4)
    dead = codebook.dead(0.1)
    codebook.restart(dead, offers(latents, Draws(0, 5, 2, slice(None)), int(dead.sum())))
    rows = latents.movedim(1, -1).reshape(-1, 3)
    changed = codebook.vectors.detach()[[1, 3]]
    assert all(int((rows == row).all(1).sum()) == 1 for row in changed)
    assert not changed[0].equal(changed[1])
    assert codebook.vectors.detach()[[0, 2, 4, 5, 6]].equal(before[[0, 2, 4, 5, 6]])
    assert codebook.usage.tolist() == [5, 4, 6, 4, 7, 8, 2]


def test_where_latents_are_fewer_than_dead_codes_the_first_are_restarted(codebook):
    before, latents = codebook.vectors.detach().clone(), normal(1, 3, 1, 2)
    codebook.restart(torch.arange(7) >= 2, offers(latents, Draws(0, 5, 1, slice(None)), 5))
    assert sorted(codebook.vectors.detach()[2:4, 0].tolist()) == sorted(latents[0, 0].flatten().tolist())
    assert codebook.vectors.detach()[[0, 1, 4, 5, 6]].equal(before[[0, 1, 4, 5, 6]])


def test_offers_depend_on_seed_and_step_and_not_on_how_a_batch_is_shared():
    latents = normal(5, 3, 4, 4)

    def offered(part, step=3, seed=0):
        return offers(latents[part], Draws(seed, step, 5, part), 6)

    whole = offered(slice(0, 5))
    parts = [offered(part) for part in (slice(0, 2), slice(2, 5))]
    assert whole.shape == (6, 4)
    assert earliest(torch.cat(parts), 6).equal(whole)
    assert offered(slice(0, 5)).equal(whole)
    assert not offered(slice(0, 5), step=4).equal(whole)
    assert not offered(slice(0, 5), seed=1).equal(whole)


def test_offers_leave_torchs_own_generator_alone(codebook):
    before = torch.get_rng_state()
    codebook.restart(torch.arange(7) < 3, offers(normal(2, 3, 4, 4), Draws(0, 0, 2, slice(None)), 3))
    assert torch.get_rng_state().equal(before)


def test_every_latent_is_offered_as_often_as_any_other():
    latents = torch.arange(8.0).view(2, 1, 2, 2)
    seen = torch.zeros(8)
    for step in range(4000):
        seen[offers(latents, Draws(0, step, 2, slice(None)), 2)[:, 1].long()] += 1
    assert seen.sum() == 8000
    assert (seen - 1000).abs().max() < 4 * math.sqrt(4000 * 0.25 * 0.75)


def test_restarts_bring_a_collapsed_codebook_into_use():
    latents = normal(8, 2, 8, 8)
    codebook = filled(AveragedCodebook, torch.cat([torch.zeros(1, 2), 100 + normal(15, 2)]), decay=0.5)
    shares = []
    for step in range(10):
        assigned = codebook.assigned(latents, codebook.nearest(latents))
        shares.append(float(used(assigned.counts)))
        codebook.absorb(assigned)
        dead = codebook.dead(0.1)
        codebook.restart(dead, offers(latents, Draws(0, step, 8, slice(None)), int(dead.sum())))
    assert shares[0] == 1 / 16
    assert shares[-1] == 1


def test_perplexity_is_the_number_of_codes_that_are_chosen_alike():
    assert float(perplexity(torch.full((8,), 3.0))) == pytest.approx(8, rel=1e-12)
    assert float(perplexity(torch.tensor([0, 12, 0, 0]))) == 1
    assert float(perplexity(torch.tensor([5, 0, 5, 0]))) == pytest.approx(2, rel=1e-12)
    assert float(perplexity(torch.tensor([1, 3]))) == pytest.approx(4 / 3**0.75, rel=1e-12)


def test_use_is_the_share_of_codes_that_are_chosen_at_all():
    assert float(used(torch.tensor([5, 0, 1, 0]))) == 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_built_is_refused(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.num_codes must be >= 1, got 0"):
        kind(0, 3)
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.decay must be in \[0, 1\), got 1"):
        kind(4, 3, 1)
    with pytest.raises(ValueError, match=r"VectorQuantizer\.commitment must be >= 0, got -1"):
        VectorQuantizer(kind(4, 3), -1)
