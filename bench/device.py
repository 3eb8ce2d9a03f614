"""Is everything the same on an accelerator, and how much faster? One JSON.

    python bench/device.py [--device cuda] [--out FILE]

For each architecture at 28x28: the symmetry group and its check; a random element, the projection and the alignment of a planted
permutation on the device; the error of 10,000 images on the device against the CPU, image by image, and the throughput of both.
"""
import argparse, json, time
from functools import cache
import torch
from torch import nn
from torch.func import functional_call
from landscape_nb.alignment import align
from landscape_nb.evaluate import Evaluator
from landscape_nb.search.group import generic_state, relative_change, state_of
from landscape_nb.models import make_model
from landscape_nb.store import describe_machine, stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus
from kept import RESULTS, keep

def wait(device):
    "Until the device has done what it was given."
    if torch.device(device).type == 'cuda': torch.cuda.synchronize()

def timed(f, device, repeat=3):
    "Result and best seconds of `f` after one warm-up."
    result, best = f(), float('inf')
    for _ in range(repeat):
        wait(device)
        start = time.perf_counter(); f()
        wait(device)
        best = min(best, time.perf_counter()-start)
    return result, best

@cache
def peak(dtype, device):
    "Floating-point operations per second of a large product of matrices."
    n = 2048 if torch.device(device).type == 'cpu' else 8192
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    return 2*n**3/timed(lambda: nn.functional.linear(a, b), device, 10)[1]

def measure(arch, width, device, n):
    model = make_model(arch, width=width, seed=0)
    start = time.perf_counter()
    sym = find_symmetries(model, torch.randn(2, 1, 28, 28, generator=stream('bench')))
    row = dict(name=arch, arch=arch, width=width, find_seconds=time.perf_counter()-start, blocks=len(sym.blocks), units=sum(b.n for b in sym.blocks),
               dimension=sym.dimension, coverage=sym.coverage)
    to = lambda s, d: {k: v.to(d) for k, v in s.items()}
    a64 = to(generic_state(state_of(model), sym.parameters, stream('bench', 'state')), device)
    g, x64 = sym.sample(stream('bench', 'element')), torch.randn(4, 1, 28, 28, generator=stream('bench'), dtype=torch.float64).to(device)
    skeleton = Evaluator(model, (x64, torch.zeros(4, dtype=torch.long, device=device)))
    row['logit_change'] = relative_change(skeleton.logits(a64), skeleton.logits(g(a64)))
    T, a = Torus(sym), state_of(model)
    p, far = T.project(to(a, device)), T.project(sym.sample(stream('bench', 'planted'), kinds=('permute', 'scale', 'output'))(to(a, device)))
    found, row['align_seconds'] = timed(lambda: align(sym, p, far, 'cd', torus=T), device, 1)
    row['distance_back'], row['distance_before'] = found.dist_after, found.dist_before
    _, row['align_seconds_cpu'] = timed(lambda: align(sym, to(p, 'cpu'), to(far, 'cpu'), 'cd'), 'cpu', 1)
    x, y = torch.randn(n, 1, 28, 28, generator=stream('bench', 'images')), torch.randint(10, (n,), generator=stream('bench', 'labels'))
    ours, theirs = Evaluator(model, (x.to(device), y.to(device)), 2500), Evaluator(model, (x, y), 500)
    wrong, seconds = timed(lambda: ours.wrong(a), device)
    few = max(500, n//20)
    slow, cpu_seconds = timed(lambda: Evaluator(model, (x[:few], y[:few]), 500).wrong(a), 'cpu', 1)
    return dict(row, images_per_second=n/seconds, images_per_second_cpu=few/cpu_seconds, differing_predictions=int((wrong[:few] != slow).sum()), compared=few)

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--out', default=str(RESULTS/'device.json'))
    parser.add_argument('--n', type=int, default=10_000)
    o = parser.parse_args()
    rows = []
    for arch, width in (('mlp', 1.), ('lenet', 1.), ('vgg16_bn', 1.), ('resnet18', 1.), ('densenet121', .5)):
        rows.append(measure(arch, width, o.device, o.n))
        print(json.dumps(rows[-1]), flush=True)
    machine = describe_machine()
    if not o.device.startswith('cuda'): machine['gpu'] = None      # it was there, and did nothing
    keep(o.out, rows, machine)
