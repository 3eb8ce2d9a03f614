"""Binary networks: is a planted element found, and what do incremental evaluations gain? One JSON.

    python bench/binary.py [--out out/binary.json] [--images 5000] [--points 51]

`planted`: 50 random networks, each moved by a random permutation and sign of every unit; recovered means Hamming distance 0.
`exact`: the largest difference of logits between a network and its image, over 50 elements, in float32.
`flips`: seconds of a loop of full forward passes (`Evaluator`) and of `FlipEvaluator` over the same states, interleaved, best of `--repeat`; the errors must be equal
or the row says so. Random, layer-wise and unit-wise orders between two random networks of full width on Fashion-MNIST, and single flips of one weight. One thread.
"""
import argparse, json, time
from pathlib import Path
import torch
from torch.func import functional_call
from landscape_nb.alignment import align
from landscape_nb.binary import Cube
from landscape_nb.data import load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.flips import FlipEvaluator, FlipPath, differing, layer_order, random_order
from landscape_nb.group import state_of
from landscape_nb.models import BINARY, make_model
from landscape_nb.store import describe_machine, stream
from landscape_nb.symmetries import find_symmetries

ROOT = Path(__file__).resolve().parent.parent
METHODS = ('greedy', 'cd', 'bary', 'fw')

def planted(arch, x, n=50):
    "How many of n planted elements each solver finds, and the largest change of a logit."
    net = make_model(arch).eval()
    sym = find_symmetries(net, x[:2])
    cube, rows, worst = Cube(sym), {m: dict(what='planted', arch=arch, method=m, trials=n, recovered=0, seconds=0.) for m in METHODS}, 0.
    for i in range(n):
        a = state_of(make_model(arch, seed=i))
        b = sym.sample(stream('planted', i), kinds=('permute', 'sign'))(a)
        with torch.no_grad(): worst = max(worst, (functional_call(net, a, (x,)) - functional_call(net, b, (x,))).abs().max().item())
        for m, row in rows.items():
            r = align(sym, a, b, m)
            row['recovered'] += cube.dist(a, r.state) == 0
            row['seconds'] += r.seconds/n
    return [*rows.values(), dict(what='exact', arch=arch, trials=n, change=worst)]

def sequences(a, b, points, gen):
    "name -> states, in the order in which they are evaluated."
    names, at = differing(a, b)
    ts = torch.linspace(0, 1, points).tolist()
    along = lambda order: [FlipPath(a, b, order)(t) for t in ts]
    flat = torch.cat([a[k].flatten() for k in names])
    def flip(i):
        v = flat.clone(); v[i] = -v[i]
        return {k: p.view_as(a[k]) for k, p in zip(names, v.split([a[k].numel() for k in names]))}
    return dict(random=along(random_order(a, b, gen)), layers=along(layer_order(a, b, gen)), units=along(at),
                single=[flip(int(i)) for i in torch.randint(len(flat), (points,), generator=gen)])

def timed(ev, states):
    began = time.perf_counter()
    errors = [ev(s).error for s in states]
    return time.perf_counter() - began, errors

def flips(arch, data, points, repeat):
    "Seconds of both evaluators over the same states."
    a, b = (state_of(make_model(arch, seed=s)) for s in (0, 1))
    slow, fast, rows = Evaluator(make_model(arch), data.train), FlipEvaluator(make_model(arch), data.train), []
    for name, states in sequences(a, b, points, stream('bench', arch)).items():
        runs = [(timed(slow, states), timed(fast, states)) for _ in range(repeat)]
        full, few = (min(r[i][0] for r in runs) for i in (0, 1))
        same = all(r[0][1] == r[1][1] for r in runs)
        rows.append(dict(what='flips', arch=arch, order=name, images=len(data.y_train), states=len(states), full=full, flips=few, ratio=full/few, same_errors=same))
    return rows

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=5000); parser.add_argument('--points', type=int, default=51)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--archs', nargs='+', default=list(BINARY))
    parser.add_argument('--out', default=str(ROOT/'out'/'binary.json'))
    o = parser.parse_args()
    torch.set_num_threads(1)
    data, rows = load_data('fashion_mnist', o.images), []
    for arch in o.archs:
        for r in [*planted(arch, data.x_train[:500]), *flips(arch, data, o.points, o.repeat)]: rows.append(r); print(r, flush=True)
    Path(o.out).parent.mkdir(parents=True, exist_ok=True)
    Path(o.out).write_text(json.dumps(dict(rows=rows, machine=describe_machine()), indent=1))
