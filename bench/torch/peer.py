"""Trains with PyTorch for the side-by-side bench.

Speaks the protocol of package peer: a JSON request a line on standard input, a JSON
reply a line on standard output. "train" reads a job that weft-peer wrote (networks,
weights, images, labels); a run is one step over it. The variants are the ways in which
a PyTorch user may do the same work; the bench takes the fastest of them:

  shared  one set of weights, each network slices it before every layer (OFA)
  plain   a contiguous set of weights for each network
  -cl     with activations and weights in channels-last order
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

ACTS = {"linear": lambda x: x, "relu": torch.relu_, "h-swish": F.hardswish, "h-sigmoid": F.hardsigmoid}


class Net:
    """One network of the job over its parameters, cut to the sizes that it uses."""

    def __init__(self, spec, params, eps, plain):
        self.ops, self.channels, self.eps = spec["ops"], spec["channels"], eps
        self.params, self.own = params, None
        if plain:
            self.own = {}
            for op in self.ops:
                for role, cut in self.cuts(op).items():
                    w = params[op["layer"], role][cut].detach()
                    layout = torch.channels_last if channels_last(params[op["layer"], role]) else torch.contiguous_format
                    self.own[op["layer"], role] = w.clone(memory_format=layout).requires_grad_()

    def cuts(self, op):
        """The slice of every parameter that an operation uses."""
        cin, cout, h = self.channels[op["in"]], self.channels[op["out"]], op["hidden"]
        s = slice
        cuts = {
            "conv": {"weight": (s(cout), s(cin))},
            "depthwise": {"weight": (s(cout),)},
            "fc": {"weight": (s(cout), s(cin)), "bias": (s(cout),)},
            "se": {"weight": (s(h), s(cin)), "bias": (s(h),), "weight2": (s(cin), s(h)), "bias2": (s(cin),)},
        }.get(op["kind"], {})
        if op["norm"]:
            cuts.update(gamma=(s(cout),), beta=(s(cout),))
        return cuts

    def weight(self, op, role):
        if self.own is not None:
            return self.own[op["layer"], role]
        return self.params[op["layer"], role][self.cuts(op)[role]]

    def __call__(self, x):
        vals = {0: x}
        for op in self.ops:
            vals[op["out"]] = self.apply(op, vals[op["in"]], vals.get(op["res"]))
        return vals[self.ops[-1]["out"]].flatten(1)

    def apply(self, op, x, res):
        kind, pad = op["kind"], (op["k"] - 1) // 2
        if kind in ("conv", "depthwise"):
            groups = x.shape[1] if kind == "depthwise" else 1
            y = F.conv2d(x, self.weight(op, "weight"), stride=op["stride"], padding=pad, groups=groups)
            if op["norm"]:
                y = F.batch_norm(y, None, None, self.weight(op, "gamma"), self.weight(op, "beta"), True, 0, self.eps)
            return ACTS[op["act"]](y if res is None else y + res)
        if kind == "se":
            g = F.conv2d(x.mean((2, 3), keepdim=True), self.weight(op, "weight")[:, :, None, None], self.weight(op, "bias"))
            g = F.conv2d(torch.relu_(g), self.weight(op, "weight2")[:, :, None, None], self.weight(op, "bias2"))
            return x * F.hardsigmoid(g)
        if kind == "fc":
            return F.linear(x.flatten(1), self.weight(op, "weight"), self.weight(op, "bias"))
        if kind == "globalpool":
            return x.mean((2, 3), keepdim=True)
        if kind == "maxpool":
            return F.max_pool2d(x, op["k"], op["stride"], pad)
        if kind == "avgpool":
            return F.avg_pool2d(x, op["k"], op["stride"], pad)
        if kind == "add":
            return ACTS[op["act"]](x + res)
        raise ValueError(f"unknown operation {kind}")


def channels_last(w):
    return w.dim() == 4 and w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous()


class Step:
    """A sandwich step: the first network on the labels, the others on its probabilities."""

    def __init__(self, path, variant):
        with open(path + "/job.json") as f:
            job = json.load(f)
        plain, last = variant.startswith("plain"), variant.endswith("-cl")
        layout = torch.channels_last if last else torch.contiguous_format
        data = torch.from_file(path + "/job.bin", size=floats(job), dtype=torch.float32).clone()
        params, decays, off = {}, {}, 0
        for p in job["params"]:
            n = prod(p["shape"])
            w, key = data[off:off + n].reshape(p["shape"]), (p["layer"], p["role"])
            off += n
            if w.dim() == 4:  # out, ky, kx, in
                w = w.permute(0, 3, 1, 2).contiguous(memory_format=layout)
            elif w.dim() == 3:  # depthwise: channel, ky, kx
                w = w[:, None].contiguous(memory_format=layout)
            params[key], decays[key] = w.clone().requires_grad_(), p["decays"]
        images = data[off:].reshape(job["images"]).permute(0, 3, 1, 2)
        self.images = images.contiguous(memory_format=layout)
        self.labels = torch.tensor(job["labels"], dtype=torch.long)
        self.nets = [Net(n, params, job["eps"], plain) for n in job["nets"]]
        sets = [n.own for n in self.nets] if plain else [used(self.nets, params)]
        groups = [{"params": [w for s in sets for k, w in s.items() if decays[k] == d],
                   "weight_decay": job["decay"] if d else 0.0} for d in (True, False)]
        self.sgd = torch.optim.SGD(groups, lr=job["rate"], momentum=job["momentum"], nesterov=True, foreach=True)

    def run(self):
        self.sgd.zero_grad(set_to_none=True)
        losses, teacher = [], None
        for net in self.nets:
            z = net(self.images)
            if teacher is None:
                loss, teacher = F.cross_entropy(z, self.labels), F.softmax(z.detach(), 1)
            else:
                loss = F.cross_entropy(z, teacher)
            loss.backward()
            losses.append(loss.detach())
        self.sgd.step()
        return losses


def used(nets, params):
    keys = {(op["layer"], role) for n in nets for op in n.ops for role in n.cuts(op)}
    return {k: w for k, w in params.items() if k in keys}


def prod(shape):
    n = 1
    for v in shape:
        n *= v
    return n


def floats(job):
    return sum(prod(p["shape"]) for p in job["params"]) + prod(job["images"])


class Engine:
    def __init__(self):
        self.step = None

    def handle(self, q):
        do = q["do"]
        if do == "hello":
            torch.set_flush_denormal(True)
            return {"version": torch.__version__, "names": ["shared", "shared-cl", "plain", "plain-cl"]}
        if do == "train":
            torch.set_num_threads(q["threads"])
            self.step = Step(q["path"], q["variant"])
            return {}
        if self.step is None:
            raise ValueError(f"cannot {do!r}: nothing is loaded")
        if do == "logits":
            return {"values": [v.item() for v in self.step.run()]}
        if do == "run":
            if q.get("warm"):
                self.step.run()
            start = time.perf_counter_ns()
            for _ in range(q["runs"]):
                self.step.run()
            return {"ns": time.perf_counter_ns() - start}
        raise ValueError(f"unknown request {do!r}")


def main():
    engine = Engine()
    for line in sys.stdin:
        try:
            reply = engine.handle(json.loads(line))
        except Exception as e:
            reply = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
