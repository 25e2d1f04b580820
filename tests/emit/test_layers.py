"""A layer and the constructor call written for it build the same thing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fxprune.emit.layers import constructor
from fxprune.errors import RewriteError

LAYERS = {
    "nn.Conv2d(64, 32, 3, padding=1)": lambda: nn.Conv2d(64, 32, 3, padding=1),
    "nn.Conv2d(6, 6, (3, 5), groups=3, bias=False)": lambda: nn.Conv2d(6, 6, (3, 5), groups=3, bias=False),
    'nn.Conv2d(2, 4, 3, padding="same", dilation=2)': lambda: nn.Conv2d(2, 4, 3, padding="same", dilation=2),
    'nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")': lambda: nn.Conv2d(2, 4, 3, 1, 1, padding_mode="reflect"),
    "nn.Conv2d(2, 4, 3, stride=(2, 1))": lambda: nn.Conv2d(2, 4, 3, (2, 1)),
    "nn.Conv2d(2, 4, 1, dtype=torch.float16)": lambda: nn.Conv2d(2, 4, 1).half(),
    "nn.Conv1d(2, 4, 3)": lambda: nn.Conv1d(2, 4, 3),
    "nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1))": lambda: nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1)),
    "nn.ConvTranspose1d(2, 4, 3)": lambda: nn.ConvTranspose1d(2, 4, 3),
    "nn.ConvTranspose2d(56, 1, 9, stride=3, padding=4, output_padding=2)": lambda: nn.ConvTranspose2d(
        56, 1, 9, 3, 4, 2
    ),
    "nn.ConvTranspose3d(2, 4, 3, bias=False)": lambda: nn.ConvTranspose3d(2, 4, 3, bias=False),
    "nn.Linear(8, 4)": lambda: nn.Linear(8, 4),
    "nn.Linear(8, 4, bias=False)": lambda: nn.Linear(8, 4, bias=False),
    "nn.Bilinear(2, 3, 4)": lambda: nn.Bilinear(2, 3, 4),
    "nn.Identity()": lambda: nn.Identity(),
    "nn.BatchNorm1d(4)": lambda: nn.BatchNorm1d(4),
    "nn.BatchNorm2d(8, eps=0.001, momentum=None)": lambda: nn.BatchNorm2d(8, 1e-3, None),
    "nn.BatchNorm2d(8, affine=False)": lambda: nn.BatchNorm2d(8, affine=False),
    "nn.BatchNorm2d(8, track_running_stats=False)": lambda: nn.BatchNorm2d(8, track_running_stats=False),
    "nn.BatchNorm3d(8)": lambda: nn.BatchNorm3d(8),
    "nn.InstanceNorm2d(8)": lambda: nn.InstanceNorm2d(8),
    "nn.InstanceNorm2d(8, affine=True)": lambda: nn.InstanceNorm2d(8, affine=True),
    "nn.GroupNorm(2, 8)": lambda: nn.GroupNorm(2, 8),
    "nn.LayerNorm(8)": lambda: nn.LayerNorm(8),
    "nn.LayerNorm((4, 8), eps=1e-06)": lambda: nn.LayerNorm((4, 8), eps=1e-6),
    "nn.LayerNorm(8, elementwise_affine=False)": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "nn.LayerNorm(8, bias=False)": lambda: nn.LayerNorm(8, bias=False),
    "nn.RMSNorm(8)": lambda: nn.RMSNorm(8),
    "nn.LocalResponseNorm(2)": lambda: nn.LocalResponseNorm(2),
    "nn.ReLU()": lambda: nn.ReLU(),
    "nn.ReLU(inplace=True)": lambda: nn.ReLU(True),
    "nn.ReLU6()": lambda: nn.ReLU6(),
    "nn.LeakyReLU(negative_slope=0.2, inplace=True)": lambda: nn.LeakyReLU(0.2, True),
    "nn.PReLU()": lambda: nn.PReLU(),
    "nn.PReLU(num_parameters=64, init=0.1)": lambda: nn.PReLU(64, init=0.1),
    'nn.GELU(approximate="tanh")': lambda: nn.GELU("tanh"),
    "nn.SiLU()": lambda: nn.SiLU(),
    "nn.Mish()": lambda: nn.Mish(),
    "nn.ELU(alpha=0.5)": lambda: nn.ELU(0.5),
    "nn.CELU()": lambda: nn.CELU(),
    "nn.SELU()": lambda: nn.SELU(),
    "nn.GLU(dim=1)": lambda: nn.GLU(1),
    "nn.Sigmoid()": lambda: nn.Sigmoid(),
    "nn.LogSigmoid()": lambda: nn.LogSigmoid(),
    "nn.Tanh()": lambda: nn.Tanh(),
    "nn.Hardtanh(min_val=0.0, max_val=6.0)": lambda: nn.Hardtanh(0.0, 6.0),
    "nn.Hardsigmoid()": lambda: nn.Hardsigmoid(),
    "nn.Hardswish()": lambda: nn.Hardswish(),
    "nn.Hardshrink(lambd=0.1)": lambda: nn.Hardshrink(0.1),
    "nn.Softshrink()": lambda: nn.Softshrink(),
    "nn.Softplus(beta=2)": lambda: nn.Softplus(2),
    "nn.Softsign()": lambda: nn.Softsign(),
    "nn.Threshold(0.1, 20)": lambda: nn.Threshold(0.1, 20),
    "nn.Softmax(dim=1)": lambda: nn.Softmax(1),
    "nn.LogSoftmax(dim=-1)": lambda: nn.LogSoftmax(-1),
    "nn.Softmax2d()": lambda: nn.Softmax2d(),
    "nn.MaxPool2d(2)": lambda: nn.MaxPool2d(2),
    "nn.MaxPool2d(7, stride=3)": lambda: nn.MaxPool2d(7, 3),
    "nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)": lambda: nn.AvgPool2d(
        3, 1, 1, count_include_pad=False
    ),
    "nn.LPPool2d(2, 3)": lambda: nn.LPPool2d(2, 3),
    "nn.AdaptiveAvgPool2d(1)": lambda: nn.AdaptiveAvgPool2d(1),
    "nn.AdaptiveAvgPool2d((None, 1))": lambda: nn.AdaptiveAvgPool2d((None, 1)),
    "nn.AdaptiveMaxPool2d(2)": lambda: nn.AdaptiveMaxPool2d(2),
    "nn.PixelShuffle(2)": lambda: nn.PixelShuffle(2),
    "nn.PixelUnshuffle(4)": lambda: nn.PixelUnshuffle(4),
    "nn.ChannelShuffle(2)": lambda: nn.ChannelShuffle(2),
    'nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)': lambda: nn.Upsample(
        scale_factor=2, mode="bilinear", align_corners=False
    ),
    "nn.Upsample(size=(8, 9))": lambda: nn.Upsample(size=(8, 9)),
    "nn.UpsamplingNearest2d(scale_factor=2.0)": lambda: nn.UpsamplingNearest2d(scale_factor=2),
    "nn.UpsamplingBilinear2d(size=8)": lambda: nn.UpsamplingBilinear2d(size=8),
    "nn.ZeroPad2d(1)": lambda: nn.ZeroPad2d(1),
    "nn.ReflectionPad2d((1, 2, 3, 4))": lambda: nn.ReflectionPad2d((1, 2, 3, 4)),
    "nn.ReplicationPad2d(1)": lambda: nn.ReplicationPad2d(1),
    "nn.ConstantPad2d(1, 0.5)": lambda: nn.ConstantPad2d(1, 0.5),
    "nn.Dropout(p=0.1)": lambda: nn.Dropout(0.1),
    "nn.Dropout2d()": lambda: nn.Dropout2d(),
    "nn.Flatten()": lambda: nn.Flatten(),
    "nn.Flatten(start_dim=2)": lambda: nn.Flatten(2),
    "nn.Unflatten(1, (2, 3))": lambda: nn.Unflatten(1, (2, 3)),
    "nn.Fold((4, 5), (2, 2))": lambda: nn.Fold((4, 5), (2, 2)),
    "nn.Unfold(3, padding=1)": lambda: nn.Unfold(3, padding=1),
    "nn.Embedding(10, 4, padding_idx=0)": lambda: nn.Embedding(10, 4, padding_idx=0),
    "nn.MultiheadAttention(8, 2, batch_first=True)": lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    "nn.MultiheadAttention(8, 2, bias=False, kdim=3, vdim=5)": lambda: nn.MultiheadAttention(
        8, 2, bias=False, kdim=3, vdim=5
    ),
    "nn.CosineSimilarity()": lambda: nn.CosineSimilarity(),
    "nn.PairwiseDistance(p=1.0)": lambda: nn.PairwiseDistance(1.0),
}


@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_is_written_as_one_would(text: str) -> None:
    layer = LAYERS[text]()
    assert constructor(layer, "body.0") == text
    built = eval(text)
    assert repr(built) == repr(layer)
    shapes = [{k: (t.shape, t.dtype) for k, t in m.state_dict().items()} for m in (built, layer)]
    assert shapes[0] == shapes[1]


class Own(nn.Conv2d):
    """A layer of the user's."""


def hooked() -> nn.Module:
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def stale() -> nn.Module:
    layer = nn.Conv2d(3, 8, 3)
    layer.weight = nn.Parameter(torch.zeros(4, 3, 3, 3))
    return layer


def extended() -> nn.Module:
    layer = nn.Conv2d(3, 8, 3)
    layer.mask = nn.Buffer(torch.zeros(1))
    return layer


REFUSED = {
    "a class of the user's": (lambda: Own(1, 1, 1), "class .*Own cannot be written without its code"),
    "hooks": (hooked, "forward hooks"),
    "weights that are not what the layer says": (stale, r"body.0: nn.Conv2d\(3, 8, 3\) would not give back"),
    "a tensor that its class does not know": (extended, "would not give back"),
    "a recurrent layer": (lambda: nn.LSTM(2, 3), "does not say all that nn.LSTM needs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    make, reason = REFUSED[case]
    with pytest.raises(RewriteError, match=reason):
        constructor(make(), "body.0")
