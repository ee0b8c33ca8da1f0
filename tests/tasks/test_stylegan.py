"""StyleGAN2: layers against written-out references, what mixing and noise do, and its training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import nn
from torch.nn import functional

from tasks.attacks.style_space import to_p
from tasks.gan import training
from tasks.gan.losses import r1_penalty
from tasks.gan.play import Play
from tasks.gan.stylegan import StyleGAN
from tasks.gan.stylegan_layers import Blur, EqualConv, EqualLinear, StyledConv, ToImage, draw_weights
from tasks.gan.stylegan_networks import StyleCritic, StyleGenerator, style_layers, widths
from tasks.models.inference import inference_copy
from tests.lab import Lab
from tests.oracles.shapes import normal
from tests.resuming import killed_and_resumed

T = TypeVar("T")
TINY = {"latent_dim": 6, "style_dim": 5, "mapping_layers": 2, "width": 4, "max_width": 8, "batch": 4}


def stylegan(lab: Lab, **settings: Any) -> StyleGAN:
    fields = {**TINY, "steps": 4, "r1_every": 2, "r1_weight": 0.1, **settings}
    return StyleGAN(data=lab.split("all", "defender"), **fields)


def networks(size: int = 32, channels: int = 1, seed: int = 0) -> tuple[StyleGenerator, StyleCritic]:
    """In eval mode; noise has strength, so that tests about it are about something."""
    settings: dict[str, Any] = {"style_dim": 5, "mapping_layers": 2, "mapping_rate": 0.1, "width": 4, "max_width": 8}
    generator, critic = StyleGenerator(6, channels, size, **settings), StyleCritic(channels, size, 4, 8)
    for network in (generator, critic):
        network.initialise(torch.Generator().manual_seed(seed))
        network.eval()
    for strength in strengths(generator):
        torch.nn.init.constant_(strength, 0.3)
    return generator, critic


def strengths(generator: StyleGenerator) -> list[nn.Parameter]:
    """How strong each layer's noise is."""
    return [module.strength for module in generator.modules() if isinstance(module, StyledConv)]


def kept(function: Callable[..., T], values: list[T]) -> Callable[..., T]:
    """The same function, which also appends what it returns."""

    def call(*arguments: Any) -> T:
        values.append(function(*arguments))
        return values[-1]

    return call


def play_of(lab: Lab, stage: StyleGAN) -> Play:
    """The first step's networks, images and draws."""
    lab.run(stage.data)
    ctx = lab.context(stage)
    generator, critic = training._start(stage, ctx)
    return Play(stage, generator, critic, stage.data.tensors(ctx), None, ctx.generator("training"))


# Layers


def filtered(x: torch.Tensor) -> torch.Tensor:
    """[1, 3, 3, 1] by [1, 3, 3, 1] over 64 on each pixel's neighbourhood, as a sum of 16 shifted images."""
    padded = functional.pad(x, (1, 1, 1, 1))
    height, width = padded.shape[2] - 3, padded.shape[3] - 3
    taps = (1 / 8, 3 / 8, 3 / 8, 1 / 8)
    return sum(
        (a * b * padded[:, :, i : i + height, j : j + width] for i, a in enumerate(taps) for j, b in enumerate(taps)),
        torch.zeros(1, dtype=x.dtype),
    )


def stuffed(x: torch.Tensor) -> torch.Tensor:
    """A zero behind every pixel but the last: (h, w) -> (2h - 1, 2w - 1)."""
    out = x.new_zeros(*x.shape[:2], 2 * x.shape[2] - 1, 2 * x.shape[3] - 1)
    out[:, :, ::2, ::2] = x
    return out


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_equals_weights_of_each_sample_s_own(up: bool) -> None:
    """Karras et al. 2020, eq. 1 and 3 as they are printed, one sample and one output channel after another."""
    layer = StyledConv(3, 2, 4, 10 if up else 5, up=up).double()
    draw_weights(layer, torch.Generator().manual_seed(1))
    x, scales = normal(4, 3, 5, 5, seed=2), normal(4, 3, seed=3, scale=2)
    found = layer.modulated(x, scales)
    weight = layer.weight.detach() / math.sqrt(27)
    for sample in range(4):
        for channel in range(2):
            own = weight[channel] * scales[sample][:, None, None]
            own = own / math.sqrt(own.square().sum().item() + 1e-8)
            if up:  # a transposed convolution: the kernel flipped over the stuffed image
                wide = functional.conv2d(stuffed(x[sample : sample + 1]), own.flip(1, 2)[None], padding=2)
                expected = 4 * filtered(wide)
            else:
                expected = functional.conv2d(x[sample : sample + 1], own[None], padding=1)
            assert torch.allclose(found[sample, channel], math.sqrt(2) * expected[0, 0], rtol=1e-9, atol=1e-12)


def test_demodulation_forgets_the_length_of_a_style() -> None:
    """Eq. 3: outputs have the variance that the activation needs, whatever the scale of the modulation."""
    layer = StyledConv(16, 64, 4, 32)
    draw_weights(layer, torch.Generator().manual_seed(1))
    x, scales = normal(2, 16, 32, 32, seed=2).float(), normal(2, 16, seed=3).float()
    out = layer.modulated(x, scales)
    assert torch.allclose(out, layer.modulated(x, 1000 * scales), atol=1e-4)
    assert out.std().item() == pytest.approx(math.sqrt(2), rel=0.05)


def test_filters_keep_a_flat_image_flat_and_a_ramp_a_ramp() -> None:
    blur = Blur().double()
    ramp = torch.arange(8, dtype=torch.float64).expand(1, 2, 8, 8)
    inside = blur.doubled(ramp)[0, 0, 4, 2:-2]
    assert inside.diff().tolist() == pytest.approx([0.5] * 11)
    assert inside[0].item() == pytest.approx(0.75)  # the pixel between 0 and 1 that is nearer to 1
    down = EqualConv(2, 2, 1, bias=False, down=True).double()
    down.weight.data[:, :, 0, 0] = torch.eye(2, dtype=torch.float64) / down.scale
    inside = down(torch.ones(1, 2, 8, 8, dtype=torch.float64))[0, 0, 1:-1, 1:-1]
    assert inside.flatten().tolist() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("kernel", [1, 3])
def test_down_convolution_equals_filter_convolution_and_every_second_pixel(kernel: int) -> None:
    layer = EqualConv(2, 3, kernel, down=True).double()
    draw_weights(layer, torch.Generator().manual_seed(4))
    x = normal(2, 2, 8, 8, seed=5)
    weight = layer.weight.detach() / math.sqrt(2 * kernel**2)
    wide = functional.pad(x, (kernel // 2,) * 4)
    expected = functional.conv2d(filtered(wide), weight)[:, :, ::2, ::2]
    assert expected.shape == (2, 3, 4, 4)
    assert torch.allclose(layer(x), expected, atol=1e-12)


def test_equalised_learning_rate() -> None:
    """Weights are N(0, 1), outputs of N(0, 1) inputs have variance gain^2 for any width (Karras et al. 2018)."""
    for inputs in (4, 64, 1024):
        layer = EqualLinear(inputs, 512, gain=1.5)
        draw_weights(layer, torch.Generator().manual_seed(0))
        assert layer.weight.std().item() == pytest.approx(1.0, rel=0.05)
        out = layer(normal(256, inputs, seed=1).float())
        assert out.std().item() == pytest.approx(1.5, rel=0.1)
    conv = EqualConv(32, 64, 3)
    draw_weights(conv, torch.Generator().manual_seed(0))
    inside = conv(normal(4, 32, 16, 16, seed=1).float())[:, :, 1:-1, 1:-1]
    assert inside.std().item() == pytest.approx(1.0, rel=0.05)


def test_a_rate_slows_learning_and_not_the_start() -> None:
    """The same function at first; after Adam's first step, it has moved a hundredth as far."""
    x = normal(8, 5, seed=2)
    moved = []
    for rate in (1.0, 0.01):
        layer = EqualLinear(5, 3, bias=0.5, rate=rate).double()
        draw_weights(layer, torch.Generator().manual_seed(0))
        first = layer(x).detach()
        moved.append((first, layer))
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(x).sum().backward()
        optimizer.step()
    (first, fast), (second, slow) = moved
    assert torch.allclose(first, second, atol=1e-12)
    assert torch.allclose(slow(x) - second, 0.01 * (fast(x) - first), rtol=1e-6)


# Networks


def test_widths_double_from_the_image_inwards() -> None:
    assert widths(32, 16, 64) == [64, 64, 32, 16]
    assert widths(256, 64, 512) == [512, 512, 512, 512, 256, 128, 64]
    assert [style_layers(size) for size in (32, 256)] == [8, 14]  # 14 as in the generator that Mirror uses


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3), (128, 1), (256, 3)])
def test_every_size_paints_in_range_and_is_scored(size: int, channels: int) -> None:
    generator, critic = networks(size, channels)
    with torch.no_grad():
        images = generator(8 * normal(2, 6, seed=0).float())
        scores = critic(images)
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert images.std() > 0.05
    assert scores.shape == (2,)
    assert bool(scores.isfinite().all())


def test_style_and_paint_make_forward_and_one_style_stands_for_all_layers() -> None:
    generator, _ = networks()
    z = normal(3, 6, seed=0).float()
    w = generator.style(z)
    assert w.shape == (3, 5)
    images = generator(z)
    assert torch.equal(images, generator.paint(w))
    assert torch.allclose(images, generator.paint(w[:, None].repeat(1, 8, 1)), atol=1e-5)
    with pytest.raises(ValueError, match=r"\(n, 8, d\), but got \(3, 7, 5\)"):
        generator.paint(w[:, None].repeat(1, 7, 1))


def test_every_layer_s_style_and_every_noise_reaches_the_image() -> None:
    generator, _ = networks()
    styles = generator.style(normal(1, 6, seed=0).float())[:, None].repeat(1, 8, 1).detach().requires_grad_()
    generator.paint(styles).square().sum().backward()
    assert styles.grad is not None
    assert (styles.grad.abs().sum(dim=2) > 0).all()
    assert all(strength.grad is not None and strength.grad != 0 for strength in strengths(generator))


def test_convolution_i_takes_style_i_and_an_output_the_next_one() -> None:
    """As in the code of Karras et al. 2020: 7 convolutions and 4 outputs at 32 px share 8 styles."""
    generator, _ = networks()
    taken: dict[type[nn.Module], list[float]] = {StyledConv: [], ToImage: []}
    for module in generator.modules():
        if isinstance(module, StyledConv | ToImage):
            module.register_forward_pre_hook(lambda m, inputs: taken[type(m)].append(inputs[1][0, 0].item()))
    generator.paint(torch.arange(8.0)[None, :, None].expand(2, 8, 5))
    assert taken == {StyledConv: [0, 1, 2, 3, 4, 5, 6], ToImage: [1, 3, 5, 7]}


def test_p_space_is_what_enters_the_last_activation() -> None:
    """So Mirror's LeakyReLU_5(w) undoes it; and the length of z does not matter."""
    generator, _ = networks()
    z = normal(64, 6, seed=0).float()
    w = generator.style(z)
    assert (w < 0).any()
    unit = z / z.square().mean(dim=1, keepdim=True).sqrt()
    assert torch.allclose(to_p(w, generator.style_slope), generator.mapping[:-1](unit), atol=1e-5)
    assert torch.allclose(generator.style(7 * z), w, atol=1e-5)


def test_eval_mode_is_alone_constant_and_draws_nothing() -> None:
    """Facts 8.9: noise is stored; who shares the batch does not matter, bit by bit at one shape."""
    generator, critic = networks()
    z, other = normal(4, 6, seed=0).float(), normal(4, 6, seed=1).float()
    other[2] = z[2]
    state = torch.get_rng_state()
    assert torch.equal(generator(z)[2], generator(other)[2])
    images, mates = generator(z).detach(), generator(other).detach()
    assert torch.equal(critic(images)[2], critic(mates)[2])
    assert torch.equal(torch.get_rng_state(), state)
    double, judge = copy.deepcopy(generator).double(), copy.deepcopy(critic).double()
    together, alone = double(z.double()), double(z[2:3].double())
    assert torch.allclose(together[2:3], alone, atol=1e-12)
    assert torch.allclose(judge(together)[2:3], judge(alone), atol=1e-12)


def test_training_noise_is_fresh_for_each_image_and_follows_the_global_seed() -> None:
    generator, _ = networks()
    z = normal(1, 6, seed=0).float().expand(2, -1)
    calm = generator(z)
    assert torch.allclose(calm[0], calm[1], atol=1e-5)
    generator.train()
    torch.manual_seed(3)
    first = generator(z)
    assert not torch.allclose(first[0], first[1], atol=1e-3)
    torch.manual_seed(3)
    assert torch.equal(generator(z), first)
    assert not torch.equal(generator(z), first)


def test_weights_come_from_the_generator_given_and_nothing_global() -> None:
    state = torch.get_rng_state()
    one, two, three = networks(seed=0), networks(seed=0), networks(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(one, two, three, strict=True):
        assert all(torch.equal(t, b.state_dict()[name]) for name, t in a.state_dict().items())
        drawn = {name for name in a.state_dict() if name.rsplit(".")[-1] in ("weight", "noise", "constant")}
        assert len(drawn) > 10
        assert not any(torch.equal(a.state_dict()[name], c.state_dict()[name]) for name in drawn)


def test_the_inference_copy_computes_the_same() -> None:
    generator, critic = (network.double() for network in networks())
    z = normal(2, 6, seed=0)
    assert torch.allclose(inference_copy(generator)(z), generator(z), atol=1e-12)
    images = generator(z).detach()
    assert torch.allclose(inference_copy(critic)(images), critic(images), atol=1e-12)


# Training


def painted_styles(play: Play, stage: StyleGAN, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Styles that the next batch is painted with, and all w that were made for it (1 or 2, n, d)."""
    painted: list[torch.Tensor] = []
    made: list[torch.Tensor] = []
    paint = play.generator.paint
    monkeypatch.setattr(play.generator, "style", kept(play.generator.style, made))
    monkeypatch.setattr(play.generator, "paint", lambda w: paint(kept(torch.clone, painted)(w)))
    with torch.no_grad():
        stage.mixed(play)
    return painted[0], torch.stack(made)


def test_mixing_takes_both_latents_from_a_random_layer_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stylegan(lab, mixing=1.0, batch=64)
    styles, (first, second) = painted_styles(play_of(lab, stage), stage, monkeypatch)
    assert styles.shape == (64, 8, 5)
    starts = []
    for own, a, b in zip(styles, first, second, strict=True):
        starts.append(sum(torch.equal(layer, a) for layer in own))
        assert torch.equal(own, torch.stack([a] * starts[-1] + [b] * (8 - starts[-1])))
    assert set(starts) == set(range(1, 8)), "both are used, and every layer begins the second's"


def test_mixing_happens_to_its_share_and_can_be_off(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stylegan(lab, mixing=0.25, batch=256)
    styles, (first, _) = painted_styles(play_of(lab, stage), stage, monkeypatch)
    share = (styles[:, -1] != first).any(dim=1).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.1)
    stage = stylegan(lab, mixing=0.0)
    styles, made = painted_styles(play_of(lab, stage), stage, monkeypatch)
    assert len(made) == 1
    assert torch.equal(styles, made[0])


def test_r1_is_lazy_and_as_many_times_as_strong(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stylegan(lab, r1_every=4, r1_weight=3.0)
    play = play_of(lab, stage)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr(play, "real", kept(play.real, seen))
    found = []
    for play.step in range(5):
        terms = stage.critic_terms(play)
        found.append("r1" in terms)
        if found[-1]:
            assert terms["r1"].item() == pytest.approx(12 * r1_penalty(play.critic, seen[-1][0]).item(), rel=1e-5)
    assert found == [True, False, False, False, True]
    assert set(stylegan(lab, r1_weight=0.0).critic_terms(play)) == {"logistic"}


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_a_killed_training_ends_as_an_undisturbed_one(lab: Lab, kill_at: int) -> None:
    """Killed between steps with and without R1, and after the last."""
    stage = stylegan(lab, n_critic=2)
    resumed = killed_and_resumed(lab, stage, kill_at)
    assert resumed.resumed_from == kill_at


def test_training_moves_samples_towards_the_faces(lab: Lab) -> None:
    """In the mean image; steps=0 is the untrained control, and the noise of eval mode is never averaged."""
    far, near = stylegan(lab, steps=0), stylegan(lab, steps=40, lr=0.01, critic_lr=0.01, ema=0.9)
    ctx = lab.context(near)
    faces, _ = near.data.tensors(ctx)
    distances, noises = [], []
    for stage in (far, near):
        lab.run(stage)
        generator, critic = stage.trained(lab.context(stage))
        assert critic is not None
        assert not any(module.training for network in (generator, critic) for module in network.modules())
        with torch.no_grad():
            mean = generator(normal(64, 6, seed=0).float()).mean(dim=0)
        distances.append((mean - faces.mean(dim=0)).square().mean().item())
        noises.append({name: t for name, t in generator.state_dict().items() if name.endswith("noise")})
    assert distances[1] < 0.5 * distances[0]
    assert len(noises[0]) == 7
    assert all(torch.equal(t, noises[1][name]) for name, t in noises[0].items())
