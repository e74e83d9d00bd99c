#!/usr/bin/env python3
"""Writes the checkpoints of this folder: python3 make.py (PyTorch 1.13; numpy)."""

from collections import OrderedDict

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def values():
    """Every type and layout that the reader knows; element i is i/4 or, for integers, i."""
    x = torch.arange(24, dtype=torch.float32) / 4
    shared = torch.arange(100, dtype=torch.float32) / 4
    return OrderedDict(
        float32=x.view(2, 3, 4), float16=x.half(), bfloat16=x.bfloat16().view(4, 6), float64=x.double(),
        int64=torch.arange(3), int32=torch.arange(3, dtype=torch.int32), uint8=torch.arange(3, dtype=torch.uint8),
        bool=torch.tensor([True, False]), scalar=torch.tensor(2.5), empty=torch.zeros(0, 3),
        transposed=x.view(4, 6).t(), channels_last=x.view(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
        row=shared.view(10, 10)[3], column=shared.view(10, 10)[:, 7], parameter=nn.Parameter(x[:4].clone()),
    )


class Block(nn.Module):
    def __init__(self, cin, cout, stride, option):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.pad = (cout - cin) // 2 if option == "A" else None
        if option == "B":
            self.shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad is not None:
            return F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad)))
        return F.relu(y + (self.shortcut(x) if hasattr(self, "shortcut") else x))


class ResNet(nn.Module):
    """A ResNet for CIFAR: 8, 16 and 16 channels, one shortcut of each kind."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8, 1, ""))
        self.layer2 = nn.Sequential(Block(8, 16, 2, "A"))
        self.layer3 = nn.Sequential(Block(16, 16, 2, "B"))
        self.linear = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def draw(net):
    """Rounded to float16, in which the weights are stored."""
    torch.manual_seed(1)
    for name, t in net.state_dict().items():
        if t.is_floating_point():
            r = torch.rand(t.shape) if "var" in name or "bn" in name and "weight" in name else torch.randn(t.shape) * 0.3
            t.copy_((r + 0.5 * ("var" in name)).half().float())
    return net.eval()


def resnet():
    net = nn.DataParallel(draw(ResNet()))
    half = OrderedDict((k, v.half() if v.is_floating_point() else v) for k, v in net.state_dict().items())
    torch.save({"model": half, "acc": np.float64(0.5), "size": torch.Size([1, 2])}, "resnet8.pth")
    y, x, c = np.mgrid[:32, :32, :3]
    pixels = torch.tensor(((7 * x + 13 * y + 31 * c + x * y) % 256).astype(np.float32) / 255).permute(2, 0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        print("logits", net.module(((pixels - mean[:, None, None]) / std[:, None, None])[None])[0].tolist())


torch.save(values(), "zip.pth")
torch.save({"epoch": 3, "state_dict": values(), "best": torch.tensor(0.5)}, "legacy.pth", _use_new_zipfile_serialization=False)
torch.save({"net": values()}, "legacy4.pth", pickle_protocol=4, _use_new_zipfile_serialization=False)
torch.save(nn.Linear(2, 1), "module.pth")
torch.jit.save(torch.jit.script(nn.Linear(2, 1)), "script.pt")
resnet()
