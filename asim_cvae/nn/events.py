"""A network of counts that keeps apart what happens from where, and the photometers from each other."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.distributions import Distribution

from asim_cvae.base.errors import InputError
from asim_cvae.nn.contract import Inferred, Likelihood, Network, Posterior, gaussian_kl
from asim_cvae.nn.frame_code import FrameCode, bags
from asim_cvae.nn.kernels.bounds import LOG_SIGMA, soft_clamp
from asim_cvae.nn.likelihoods.counts import CountsWithOutliers

Padding = Literal["replicate", "zeros"]
"""How convolutions go on beyond the ends of a frame."""

_PHOTOMETERS = 3
_BINS = 1000  # of 5 samples each, in a frame
_STEP = 8  # bins of a step of latents
_BEYOND = 1  # steps of latents beyond each end of a frame
_STEPS = _BINS // _STEP + 2 * _BEYOND
_HALF_STEP = _STEP // 2  # bins
_AROUND = 4  # steps around a frame that the encoder sees as outside of it
_VIEWS = 30  # channels of what the encoder sees
_BLOCK = 10  # bins over which the background is estimated
_LOG_RATE = (-15.0, 9.0)  # log of counts a bin that the decoder adds to the background
_PRIOR_LOG_BACKGROUND = (0.5, 2.0)  # mean and standard deviation; backgrounds are 0.1 to 50 counts a bin


class EventsNetwork(Network):
    """A convolutional VAE of photon counts in 1,000 bins of 5 samples.

    Latents are of two kinds: ``local`` ones for each photometer at each of 127 steps, and one for the background of
    each photometer. Of the steps, one lies beyond each end of the frame, so that light at an end is shaped from both
    sides, as inside. One upsampling decoder serves all photometers: the rate of a bin is the background plus exp() of
    what it gives.

    Args:
        local: latents of a photometer at a step.
        width: channels of the encoder.
        decoder_width: channels of the decoder.
        padding: how convolutions go on beyond the ends of a frame: 'replicate' or 'zeros'.
        code: values of a learned code by which frames are described, see :class:`asim_cvae.nn.frame_code.FrameCode`;
            None: they are described by four statistics, see :func:`statistics`.

    Raises:
        InputError: ``padding`` is neither.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        local: int = 3,
        width: int = 48,
        decoder_width: int = 24,
        padding: Padding = "replicate",
        code: int | None = None,
    ) -> None:
        super().__init__(local=local, width=width, decoder_width=decoder_width, padding=padding, code=code)
        if padding not in ("replicate", "zeros"):
            raise InputError(f"padding={padding}: must be replicate or zeros")
        self.local = local
        self.encoder = nn.Sequential(
            _convolution(_VIEWS, width, 5, padding),
            nn.GELU(),
            nn.Conv2d(width, width, (1, 2), stride=(1, 2)),  # half steps -> steps
            nn.GELU(),
            *(_Residual(width, dilation, padding) for dilation in (1, 2, 4, 8)),
        )
        self.local_head = _local_head(width, _PHOTOMETERS * local)
        self.background_head = nn.Linear(2 * width, 2 * _PHOTOMETERS)
        self.decoder = nn.Sequential(
            _convolution(local, decoder_width, 3, padding),
            nn.GELU(),
            *_upsampling(decoder_width, decoder_width, padding),
            *_upsampling(decoder_width, decoder_width // 2, padding),
            *_upsampling(decoder_width // 2, decoder_width // 4, padding),
        )
        self.light_head = _convolution(decoder_width // 4, 1, 5, padding)
        assert self.light_head.bias is not None
        nn.init.constant_(self.light_head.bias, -3.0)  # at first there is hardly any light but the background
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("deviation", torch.ones(4))
        self.code = None if code is None else FrameCode(code)
        learned = f"a learned code of {code} values"
        self.described_by = "activity, coincidence, hits, presence" if code is None else learned

    @property
    def _places(self) -> int:
        return _PHOTOMETERS * self.local * _STEPS

    def encode(self, x: Tensor) -> Posterior:
        """Encode counts (B, 3, 1000) to q(z|x) of (B, 3 * local * 127 + 3) latents: local ones, log backgrounds.

        Raises:
            InputError: ``x`` has another shape.
        """
        if x.shape[1:] != (_PHOTOMETERS, _BINS):
            raise InputError(f"frames have to be (B, {_PHOTOMETERS}, {_BINS}) counts in bins, not {tuple(x.shape)}")
        level = background(x)
        around = 2 * _AROUND  # half steps
        views = F.pad(_views(x, level), (around, around))
        features = self.encoder(_as_rows(views))[..., _AROUND - _BEYOND : _BEYOND - _AROUND]
        mu, log_sigma = self.local_head(features).chunk(2, dim=1)  # (B, 3 local, 1, 127) each
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        shift, log_width = self.background_head(pooled).chunk(2, dim=1)
        log_level = level[..., 0].log() + shift
        log_width = log_width - 0.5 * torch.log1p(_BINS * level[..., 0])  # near what the counts tell
        mu, log_sigma = torch.cat([mu.flatten(1), log_level], 1), torch.cat([log_sigma.flatten(1), log_width], 1)
        log_sigma = soft_clamp(log_sigma, *LOG_SIGMA)
        return Posterior(mu, log_sigma, self._kl(mu, log_sigma))

    def _kl(self, mu: Tensor, log_sigma: Tensor) -> Tensor:
        """KL terms (B,): local latents have a standard normal prior, log backgrounds a wide one."""
        centre, width = _PRIOR_LOG_BACKGROUND
        places = self._places
        local = gaussian_kl(mu[:, :places], log_sigma[:, :places])
        return local + gaussian_kl((mu[:, places:] - centre) / width, log_sigma[:, places:] - math.log(width))

    def local_kl(self, posterior: Posterior) -> Tensor:
        """KL terms of each photometer at each step, (B, 3, 127): what the frame tells beyond its background."""
        mu, log_sigma = (
            part[:, : self._places].reshape(-1, _PHOTOMETERS, self.local, _STEPS)
            for part in (posterior.mu, posterior.log_sigma)
        )
        kl: Tensor = 0.5 * (torch.exp(2 * log_sigma) + mu**2 - 2 * log_sigma - 1).sum(2)
        return kl

    def decode(self, z: Tensor) -> tuple[Tensor]:
        """Decode latents to the rate of each bin, (B, 3, 1000) in expected counts.

        Raises:
            InputError: ``z`` has another shape.
        """
        if z.shape[1:] != (self._places + _PHOTOMETERS,):
            raise InputError(f"latents have to be (B, {self._places + _PHOTOMETERS}), not {tuple(z.shape)}")
        local = z[:, : self._places].reshape(-1, _PHOTOMETERS, self.local, _STEPS).transpose(1, 2)
        light = self.light_head(self.decoder(local.contiguous(memory_format=torch.channels_last))).squeeze(1)
        light = light[..., _BEYOND * _STEP : -_BEYOND * _STEP]
        level = soft_clamp(z[:, self._places :], *_LOG_RATE).exp()
        return (level[..., None] + soft_clamp(light, *_LOG_RATE).exp(),)

    def describe(self, x: Tensor, likelihood: Likelihood) -> Tensor:
        """Describe counts (B, 3, 1000) by four standardised statistics, (B, 4), or by their learned code."""
        return self.infer(x, likelihood).description

    def infer(self, x: Tensor, likelihood: Likelihood) -> Inferred:
        """Infer all of counts (B, 3, 1000), as :meth:`encode`, :meth:`decode` and :meth:`describe` do."""
        posterior, p_x, *events = self._inferred(x, likelihood)
        if self.code is not None:
            return Inferred(posterior, p_x, self.code(bags(*events)))
        return Inferred(posterior, p_x, (statistics(*events) - self.mean) / self.deviation)

    def fit_description(self, batches: Iterable[Tensor], likelihood: Likelihood) -> None:
        """Keep mean and standard deviation of the statistics of training frames, and learn the code if there is one."""
        events = [self._inferred(x, likelihood)[2:] for x in batches]
        values = torch.cat([statistics(*one) for one in events])
        self.mean.copy_(values.mean(0))
        self.deviation.copy_(values.std(0, correction=0).clamp_min(1e-6))
        if self.code is not None:
            self.code.fit(torch.cat([bags(*one) for one in events]))

    def _inferred(self, x: Tensor, likelihood: Likelihood) -> tuple[Posterior, Distribution, Tensor, Tensor]:
        """Return posterior, p(x|z), the local KL terms of frames, (B, 3, 127), and their numbers of outliers, (B,)."""
        posterior = self.encode(x)
        p_x = likelihood(*self.decode(posterior.mu))
        assert isinstance(p_x, CountsWithOutliers)
        return posterior, p_x, self.local_kl(posterior), (p_x.outlier_probability(x) > 0.5).sum((1, 2))


def statistics(kl: Tensor, hits: Tensor) -> Tensor:
    """Four statistics of a frame: how much happens, how much of it together, hits, and how far it stands out.

    They were designed in the knowledge of what the letters of the classes mean, and use no label:

    - activity: log(1 + total variation in time of kl / (kl + 100)), kl summed over photometers; a step of 100 nats is a
      pulse that nobody overlooks, and brighter ones count little more;
    - coincidence: 2 sum min(kl of 337 nm, kl of 777.4 nm) / (sum kl + 4);
    - hits: log(1 + number of bins that are rather outliers than light);
    - presence: 1 - exp(-(largest kl of a step - median) / 2).

    Args:
        kl: KL term of each photometer at each step, (B, 3, steps), in nats.
        hits: number of such bins of each frame, (B,).

    Returns:
        (B, 4)
    """
    total = kl.sum(1)
    activity = torch.log1p((total / (total + 100)).diff(dim=-1).abs().sum(-1))
    together = 2 * torch.minimum(kl[:, 0], kl[:, 2]).sum(-1) / (total.sum(-1) + 4)
    presence = -torch.expm1(-(total.amax(-1) - total.median(-1).values) / 2)
    return torch.stack([activity, together, torch.log1p(hits.to(kl.dtype)), presence], 1)


def background(x: Tensor) -> Tensor:
    """Estimate the background of each photometer from counts (B, 3, bins): (B, 3, 1) in counts a bin, above 0.

    It is the mean of the lower half of the means of 50 samples, which pulses leave alone, corrected for its bias: the
    lower half of normal values lies sqrt(2 / pi) standard deviations below their mean.
    """
    means = x.reshape(*x.shape[:-1], -1, _BLOCK).mean(-1).sort(-1).values
    low = means[..., : means.shape[-1] // 2].mean(-1, keepdim=True)
    half_bias = 0.5 * math.sqrt(2 / math.pi / _BLOCK)
    level: Tensor = (half_bias + (half_bias**2 + low).sqrt()) ** 2
    return level


def _views(x: Tensor, level: Tensor) -> Tensor:
    """What the encoder sees of counts, at 250 half steps: residuals of bins, and of sums over several windows.

    The last channel is 1 in the frame. Around it all channels are 0: nothing is known there, and light that goes on to
    an end is told from light that ends.

    Args:
        x: counts, (B, 3, 1000).
        level: background of each photometer, (B, 3, 1).

    Returns:
        (B, 30, 250)
    """
    bins = x.reshape(*x.shape[:-1], -1, _HALF_STEP)  # (B, 3, 250, 4)
    residuals = 2 * ((bins + 0.375).sqrt() - (level + 0.375).sqrt()[..., None])  # Anscombe 1948
    sums = bins.sum(-1)
    seen = [residuals.transpose(2, 3).flatten(1, 2)]
    for window in (1, 3, 9):  # half steps: 20, 60 and 180 samples
        there = _window_sums(torch.ones_like(sums[:1, :1]), window)  # fewer at the ends of the frame
        expected = _HALF_STEP * there * level
        z = (_window_sums(sums, window) - expected) / (expected + 1).sqrt()
        seen.append(z.sign() * z.abs().log1p())
        if window < 9:
            seen.append((z[:, :1].clamp_min(0) * z[:, 2:].clamp_min(0)).sqrt().log1p())
    inside = torch.ones_like(sums[:, :1])
    seen += [bins.amax(-1).log1p(), level.log().expand(-1, -1, sums.shape[-1]), inside]
    return torch.cat(seen, 1)


def _window_sums(values: Tensor, window: int) -> Tensor:
    """Sums (B, C, L) over ``window`` values around each, over fewer where the window goes beyond the ends."""
    return window * F.avg_pool1d(values, window, 1, window // 2)


class _Residual(nn.Module):
    """Two convolutions whose result is added to what went in; at first it is nothing."""

    def __init__(self, width: int, dilation: int, padding: Padding) -> None:
        super().__init__()
        last = _convolution(width, width, 1, padding)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(_convolution(width, width, 3, padding, dilation), nn.GELU(), last)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.layers(x)
        return added


def _local_head(width: int, latents: int) -> nn.Conv2d:
    """Means and logarithms of standard deviations of ``latents`` at each step.

    At first means vary by more than the deviations: where latents start as noise, the decoder learns to do without
    them, and some trainings never come back from there.
    """
    head = nn.Conv2d(width, 2 * latents, 1)
    assert head.bias is not None
    nn.init.constant_(head.bias[latents:], -2.0)
    with torch.no_grad():
        head.weight[:latents] *= 5.0
    return head


def _as_rows(values: Tensor) -> Tensor:
    """Sequences (B, C, L) as images of one row, with channels last in memory: torch convolves these twice as fast."""
    return values[:, :, None].contiguous(memory_format=torch.channels_last)


def _convolution(inputs: int, outputs: int, kernel: int, padding: Padding, dilation: int = 1) -> nn.Conv2d:
    beyond = dilation * (kernel - 1) // 2
    return nn.Conv2d(inputs, outputs, (1, kernel), padding=(0, beyond), dilation=(1, dilation), padding_mode=padding)


def _upsampling(inputs: int, outputs: int, padding: Padding) -> tuple[nn.Module, ...]:
    return nn.Upsample(scale_factor=(1, 2)), _convolution(inputs, outputs, 3, padding), nn.GELU()
