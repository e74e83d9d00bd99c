#!/usr/bin/env python3
"""Runs OFA's own code on seeded random weights and writes what weft must reproduce.

    git clone https://github.com/mit-han-lab/once-for-all DIR
    python3 bench/ofa/oracle.py DIR OUT             # needs PyTorch, e.g. Debian's python3-torch
    WEFT_OFA_ORACLE=OUT go test ./pytorch -run OFA -v

OUT gets one checkpoint a network, with weights and running statistics drawn at random, the
images, and for each of some subnets the logits of get_active_subnet(), the network that OFA
cuts out, in evaluation mode, with the statistics of the checkpoint and recalibrated on the
images by set_running_statistics(). oracle.json lists them. OFA's code is only imported from
DIR.
"""

import argparse
import json
import os
import random
import sys
import types

import numpy as np
import torch

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def networks(path):
    """OFA's supernets and its calibration, without the packages that only its data loaders need."""
    sys.path.insert(0, path)
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.datasets",
                 "torchprofile", "gdown", "horovod", "horovod.torch", "tqdm", "PIL", "PIL.Image", "yaml"):
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = Stub(name)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])
    from ofa.imagenet_classification.elastic_nn.networks import ofa_mbv3, ofa_resnets
    from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics
    return ofa_mbv3.OFAMobileNetV3, ofa_resnets.OFAResNets, set_running_statistics


class Stub(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def draw(net, rng):
    """Random weights that keep activations in range, and statistics unlike PyTorch's defaults."""
    with torch.no_grad():
        for name, p in sorted(net.named_parameters()):
            if name.endswith("_matrix"):
                p.add_(0.1 * torch.randn(p.shape, generator=rng))
            elif p.dim() >= 2:
                fan = p[0].numel()
                p.copy_(torch.randn(p.shape, generator=rng) * (2 / fan) ** 0.5)
            else:
                scale = 0.3 if "point_linear" in name or "conv3" in name else 1  # the ends of residual branches
                p.copy_(0.2 * torch.randn(p.shape, generator=rng) + (scale if name.endswith("bn.weight") else 0))
        for name, b in sorted(net.named_buffers()):
            if name.endswith("running_mean"):
                b.copy_(0.2 * torch.randn(b.shape, generator=rng))
            elif name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=rng))


def mbv3_subnets(net, rng, n):
    """(OFA's arguments, weft's text) of the largest, the smallest and n random subnets."""
    def text(d, e, k):
        part = lambda v: "-".join(".".join(str(x) for x in v[4 * s:4 * s + d[s]]) for s in range(5))
        ks = "_k" + part(k) if len(net.ks_list) > 1 else ""
        return "d" + "-".join(map(str, d)) + "_e" + part(e) + ks

    def choose(pick):
        d = [pick(net.depth_list) for _ in range(5)]
        e = [pick(net.expand_ratio_list) for _ in range(20)]
        k = [pick(net.ks_list) for _ in range(20)]
        return dict(ks=k, e=e, d=d), text(d, e, k)

    return [choose(max), choose(min)] + [choose(rng.choice) for _ in range(n)]


def resnet_subnets(net, rng, n):
    base = [2, 2, 4, 2]

    def choose(pick):
        d = [pick([0, 2])] + [pick(net.depth_list) for _ in range(4)]
        e = [pick(net.expand_ratio_list) for _ in net.blocks]
        w = [pick(range(3)) for _ in range(6)]
        percent = lambda v: str(round(100 * v))
        first = [sum(b + 2 for b in base[:s]) for s in range(4)]
        text = "d" + "-".join([str(d[0] // 2)] + [str(b + x) for b, x in zip(base, d[1:])])
        text += "_e" + "-".join(".".join(percent(v) for v in e[first[s]:first[s] + base[s] + d[1 + s]]) for s in range(4))
        text += "_w" + "-".join(percent(net.width_mult_list[i]) for i in w)
        return dict(d=d, e=e, w=w), text

    return [choose(max), choose(min)] + [choose(rng.choice) for _ in range(n)]


def old_names(state):
    """The names of OFA's first release."""
    rename = lambda k: k.replace(".conv.", ".mobile_inverted_conv.", 1) if k.startswith("blocks.") else k
    return type(state)((rename(k), v) for k, v in state.items())


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("ofa", help="folder of a checkout of mit-han-lab/once-for-all")
    args.add_argument("out", help="folder to write")
    args.add_argument("--subnets", type=int, default=8, help="random subnets of each network")
    args.add_argument("--pixels", type=int, default=224)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()
    os.makedirs(args.out, exist_ok=True)
    mbv3, resnet, calibrate = networks(args.ofa)
    elastic = dict(expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4], dropout_rate=0)
    cases = [
        ("ofa_mbv3_k357_w1.0", lambda: mbv3(ks_list=[3, 5, 7], **elastic), mbv3_subnets, {}),
        ("ofa_mbv3_k357_w1.2", lambda: mbv3(ks_list=[3, 5, 7], width_mult=1.2, **elastic), mbv3_subnets, {}),
        ("ofa_mbv3_k7_old_names", lambda: mbv3(ks_list=[7], **elastic), mbv3_subnets,
         dict(names=old_names, _use_new_zipfile_serialization=False)),
        ("ofa_resnet50", lambda: resnet(dropout_rate=0, depth_list=[0, 1, 2], expand_ratio_list=[0.2, 0.25, 0.35],
                                        width_mult_list=[0.65, 0.8, 1.0]), resnet_subnets, {}),
    ]
    images = torch.rand((2, 3, args.pixels, args.pixels), generator=torch.Generator().manual_seed(args.seed))
    write = lambda name, x: x.contiguous().numpy().tofile(os.path.join(args.out, name))
    write("images.f32", images.permute(0, 2, 3, 1))
    images = (images - MEAN) / STD
    index = dict(images=2, pixels=args.pixels, checkpoints=[])
    for i, (name, build, subnets, how) in enumerate(cases):
        torch.manual_seed(args.seed)
        net = build().eval()
        draw(net, torch.Generator().manual_seed(args.seed + i))
        how = dict(how)
        state = how.pop("names", lambda s: s)(net.state_dict())
        torch.save({"state_dict": state, "epoch": 1, "best_acc": np.float64(0)}, os.path.join(args.out, name + ".pth"), **how)
        entry = dict(file=name + ".pth", subnets=[])
        for j, (choice, text) in enumerate(subnets(net, random.Random(args.seed + i), args.subnets)):
            net.set_active_subnet(**choice)
            with torch.no_grad():
                sub = net.get_active_subnet().eval()
                logits = sub(images)
                error = float((logits - net(images)).abs().max() / logits.abs().max())
                calibrate(sub, [(images, None)])
                calibrated = sub(images)
            print(f"{name} {text}: largest logits {float(logits.abs().max()):.3g} and {float(calibrated.abs().max()):.3g}, "
                  f"cut out and elastic differ by {error:.1e}")
            files = dict(logits=f"{name}-{j}.f32", calibrated=f"{name}-{j}-calibrated.f32")
            write(files["logits"], logits)
            write(files["calibrated"], calibrated)
            entry["subnets"].append(dict(arch=text, **files))
        index["checkpoints"].append(entry)
    with open(os.path.join(args.out, "oracle.json"), "w") as f:
        json.dump(index, f, indent=1)


if __name__ == "__main__":
    main()
