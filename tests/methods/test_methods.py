"""What is trained, on what, and how fast."""

import pytest
import torch
from torch import nn

from condiff.autoencoders.compact import CompactKL
from condiff.autoencoders.space import LatentSpace, draw
from condiff.conditioners.label import ClassLabel
from condiff.conditioners.label_and_picture import LabelAndPicture
from condiff.diffusion.denoiser import NetworkDenoiser
from condiff.diffusion.guidance import ClassifierFree, Models
from condiff.diffusion.parameterization import V
from condiff.diffusion.process import CosineVP
from condiff.diffusion.randomness import Draws
from condiff.diffusion.samplers import DDIM
from condiff.diffusion.times import Uniform
from condiff.diffusion.weights import Unit
from condiff.evaluation.judge import Judge
from condiff.methods.autoencoder import AutoencoderKL, kl
from condiff.methods.diffusion import Diffusion
from condiff.methods.first_stage import psnr
from condiff.methods.judge import JudgeTraining
from condiff.methods.method import clean
from condiff.methods.noisy_classifier import NoisyClassifier
from condiff.methods.optimizers import AdamW
from condiff.methods.reconstruction import Reconstruction
from condiff.methods.settings import Training

ADAMW = AdamW(lr=1e-3)


class Told(nn.Module):
    """A network that remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x, m, cond):
        self.label, self.x, self.t = cond.label, x, m.t
        return self.weight * x


def diffusion(drop=0.1, space=None, batch_size=8):
    denoiser = NetworkDenoiser(Told(), CosineVP(), V())
    conditioner = ClassLabel(num_classes=3, with_null=drop > 0)
    training = Training(steps=10, batch_size=batch_size)
    return Diffusion(denoiser, conditioner, Uniform(), Unit(), ADAMW, training, 0, drop, space)


def batch(n, step=0):
    return {
        "image": torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(1)),
        "label": torch.arange(n) % 3,
        "step": step,
        "place": torch.arange(n),
    }


def test_more_cannot_be_dropped_than_one_draw_has_room_for():
    denoiser = NetworkDenoiser(Told(), CosineVP(), V())
    conditioner = LabelAndPicture(num_classes=3, with_null=True)
    with pytest.raises(
        ValueError, match=r"drop_condition must be at most 0\.333 with LabelAndPicture, got 0\.4"
    ):
        Diffusion(denoiser, conditioner, Uniform(), Unit(), ADAMW, Training(1, 1), 0, 0.4)


def test_the_condition_is_dropped_for_the_given_share_of_samples():
    method = diffusion(drop=0.1, batch_size=4000)
    told = method.loss(batch(4000), Draws(0, 0, 4000, slice(None)))
    share = (method.denoiser.network.label == 3).float().mean()
    assert share == pytest.approx(0.1, abs=0.015)
    assert method.shares == ("dropped_label",)
    assert told["dropped_label"] == share  # the rate that is logged is that of what the network was told


def test_what_is_dropped_changes_from_step_to_step_for_one_and_the_same_sample():
    method = diffusion(drop=0.5, batch_size=64)
    dropped = []
    for step in range(2):
        method.loss(batch(64, step), Draws(0, step, 64, slice(None)))
        dropped.append(method.denoiser.network.label == 3)
    assert not torch.equal(*dropped)


def test_what_is_dropped_moves_no_other_draw():
    seen = []
    for drop in (0.0, 0.5):
        method = diffusion(drop, LatentSpace(torch.zeros(2), torch.ones(2)), batch_size=64)
        moments = torch.zeros(64, 4, 4, 4)
        method.loss({**batch(64), "moments": moments}, Draws(0, 0, 64, slice(None)))
        seen.append(method.denoiser.network)
    assert torch.equal(seen[0].x, seen[1].x)  # latent and noise
    assert torch.equal(seen[0].t, seen[1].t)
    assert not torch.equal(seen[0].label, seen[1].label)


def test_each_sample_is_dropped_for_itself():
    method = diffusion(drop=0.5, batch_size=4000)
    method.loss(batch(4000), Draws(0, 0, 4000, slice(None)))
    dropped = (method.denoiser.network.label == 3).float()
    assert abs(torch.corrcoef(torch.stack([dropped[1:], dropped[:-1]]))[0, 1]) < 0.06  # 4 standard errors


def test_what_is_dropped_does_not_depend_on_its_time():
    method, seen = diffusion(drop=0.5, batch_size=1), []
    for step in range(600):
        method.loss(batch(1, step), Draws(0, step, 1, slice(None)))
        network = method.denoiser.network
        seen.append(torch.stack([(network.label == 3).float(), network.t.flatten()]))
    assert abs(torch.corrcoef(torch.cat(seen, 1))[0, 1]) < 0.16  # 4 standard errors


def test_what_is_not_asked_for_is_the_same_in_training_and_in_sampling():
    method = diffusion(drop=1 - 1e-12)
    network = method.denoiser.network
    method.loss(batch(8), Draws(0, 0, 8, slice(None)))
    trained = network.label
    noise = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    DDIM(1)(ClassifierFree(2.0)(Models(method.denoiser)), noise, method.conditioner(batch(8)))
    asked, free = network.label.chunk(2)
    assert torch.equal(asked, torch.arange(8) % 3)
    assert torch.equal(free, trained)
    assert free.unique().tolist() == [3]


@pytest.mark.parametrize("space", [None, LatentSpace(torch.tensor([0.3, -0.1]), torch.tensor([2.0, 0.5]))])
def test_a_classifier_learns_on_the_x_t_that_the_denoiser_learns_on(space):
    class Heard(nn.Module):
        def forward(self, x_t, m):
            self.x, self.t = x_t, m.t
            return torch.zeros(len(x_t), 3)

    denoising, heard = diffusion(space=space), Heard()
    process = denoising.denoiser.process
    classifying = NoisyClassifier(heard, process, ADAMW, Training(steps=10, batch_size=8), 0, space=space)
    moments = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    for method in (denoising, classifying):
        method.loss({**batch(8), "moments": moments}, Draws(0, 0, 8, slice(None)))
    assert torch.equal(heard.x, denoising.denoiser.network.x)
    assert torch.equal(heard.t, denoising.denoiser.network.t)


def test_without_dropout_every_condition_is_kept():
    method = diffusion(drop=0.0)
    method.loss(batch(8), Draws(0, 0, 8, slice(None)))
    assert torch.equal(method.denoiser.network.label, torch.arange(8) % 3)


def test_half_a_batch_on_each_of_two_processes_has_the_mean_loss_of_the_whole():
    method, whole = diffusion(), batch(8)

    def loss(part):
        cut = {k: v if k == "step" else v[part] for k, v in whole.items()}
        return method.loss(cut, Draws(0, 0, 8, part))["loss"]

    halves = (loss(slice(0, 4)) + loss(slice(4, 8))) / 2
    assert torch.allclose(loss(slice(None)), halves, rtol=1e-6)


def test_cached_moments_are_drawn_from_anew_at_every_step():
    method = diffusion(space=LatentSpace(torch.zeros(2), torch.ones(2)))
    moments = torch.cat([torch.zeros(8, 2, 4, 4), torch.zeros(8, 2, 4, 4)], dim=1)
    first, again, other = (
        clean({"moments": moments}, Draws(0, step, 8, slice(None)), method.space) for step in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.std() == pytest.approx(1, abs=0.15)


def test_latents_are_normalised_before_they_are_trained_on():
    method = diffusion(space=LatentSpace(torch.tensor([5.0]), torch.tensor([2.0])))
    moments = torch.cat([torch.full((8, 1, 4, 4), 9.0), torch.full((8, 1, 4, 4), -20.0)], dim=1)
    x0 = clean({"moments": moments}, Draws(0, 0, 8, slice(None)), method.space)
    assert torch.allclose(x0, torch.tensor(2.0), atol=1e-3)


def test_optimizer_clipping_and_average_are_given_what_requires_grad():
    method = diffusion()
    frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
    method.denoiser.network.frozen = frozen
    (optimizer,), _ = method.configure_optimizers()
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert (
        given
        == {id(p) for p in method.trainable()}
        == {id(p) for p in method.parameters() if p.requires_grad}
    )
    assert id(frozen) not in given


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.1), (4, 0.5), (9, 1.0), (49, 1.0), (75, 0.5), (99, 0.05), (100, 0.05)]
)
def test_the_rate_warms_up_stays_and_falls_as_half_a_cosine(step, factor):
    schedule = AdamW(lr=1.0, warmup=10, flat=0.5, floor=0.05)
    assert schedule.factor(step / 100, step) == pytest.approx(factor, abs=2e-3)


def test_kl_of_a_gaussian_in_closed_form():
    assert torch.equal(kl(torch.zeros(1, 2, 3, 3)), torch.zeros(1, 1, 3, 3))
    mean, variance = torch.tensor(2.0), torch.tensor(0.25)
    moments = torch.stack([mean, variance.log()]).view(1, 2, 1, 1)
    unit, own = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(mean, variance.sqrt())
    assert torch.allclose(kl(moments).squeeze(), torch.distributions.kl_divergence(own, unit))


def test_psnr_of_a_tenth_of_the_range():
    assert psnr(torch.tensor(0.2**2)) == pytest.approx(20.0)  # the range is 2


def test_the_autoencoder_loss_adds_up():
    settings = ADAMW, Training(steps=1, batch_size=4), 0
    method = AutoencoderKL(CompactKL(1, width=16), Reconstruction(square_weight=2.0), *settings, 0.5)
    plain = AutoencoderKL(method.autoencoder, Reconstruction(), *settings, 0.0)
    images, draws = torch.rand(4, 1, 16, 16), Draws(0, 0, 4, slice(None))
    one, all_ = plain.loss({"image": images}, draws), method.loss({"image": images}, draws)
    moments = method.autoencoder.encode(images)
    decoded = method.autoencoder.decode(draw(moments, draws.normal("latent", *moments[:, :4].shape[1:])))
    error = decoded - images
    assert torch.allclose(one["loss"], error.abs().mean())
    expected = error.abs().mean() + 2.0 * error.square().mean() + 0.5 * kl(moments).sum() / images.numel()
    assert torch.allclose(all_["loss"], expected)
    assert torch.allclose(all_["psnr"], 10 * torch.log10(4 / error.square().mean()))


def moving(**moves):
    zero = {"rotate": 0.0, "scale": 0.0, "shift": 0.0}
    judge = Judge(1, 2, 16, width=4, feature_dim=4)
    return JudgeTraining(judge, ADAMW, Training(steps=1, batch_size=4), 0, **{**zero, **moves})


def test_pictures_that_are_not_moved_stay_as_they_are():
    images = torch.rand(4, 1, 16, 16)
    assert torch.allclose(moving().moved(images, Draws(0, 0, 4, slice(None))), images, atol=1e-5)


def test_a_shift_is_a_share_of_the_picture_either_way():
    images = torch.arange(32.0).expand(400, 1, 32, 32)  # brightness is the column
    draws = Draws(0, 0, 400, slice(None))
    moved = moving(shift=0.125).moved(images, draws)[:, 0, :, 12:20] - images[:, 0, :, 12:20]
    assert 3.7 < moved.max() <= 4.01
    assert -4.01 <= moved.min() < -3.7


def test_a_scale_is_a_share_of_the_picture_either_way():
    images = torch.arange(-15.5, 16).expand(400, 1, 32, 32)  # brightness is the distance from the middle
    moved = moving(scale=0.125).moved(images, Draws(0, 0, 400, slice(None)))[:, 0, :, 12:20]
    zoom = moved / images[:, 0, :, 12:20]
    assert torch.allclose(zoom, zoom[:, :1, :1].expand_as(zoom), atol=1e-4)  # the same everywhere
    assert 1.12 < zoom.max() <= 1.1251
    assert 0.8749 <= zoom.min() < 0.88


def test_a_rotation_is_by_an_angle_either_way():
    column = torch.arange(-15.5, 16).expand(32, 32)
    images = torch.stack([column, column.T]).expand(400, 2, 32, 32)  # how far right, how far down
    moved = moving(rotate=0.25).moved(images, Draws(0, 0, 400, slice(None)))
    right, down = moved[:, :, 16, 20].unbind(1)  # half a pixel below the middle, four and a half right of it
    angle = torch.atan2(down, right) - torch.atan2(torch.tensor(0.5), torch.tensor(4.5))
    assert torch.allclose(right.hypot(down), torch.tensor(4.5).hypot(torch.tensor(0.5)), atol=1e-4)
    assert 0.24 < angle.max() <= 0.2501
    assert -0.2501 <= angle.min() < -0.24


def test_the_loss_of_a_step_is_the_mean_of_its_losses_by_noise_level():
    method = diffusion()
    loss = method.loss(batch(8), Draws(0, 0, 8, slice(None)))["loss"]
    assert method.by_noise is not None
    noise, losses = method.by_noise
    assert torch.equal(losses.mean(), loss)
    net = method.trained
    assert torch.allclose(noise, net.t.flatten().to(noise))  # of CosineVP the time is the level
    assert not losses.requires_grad
