"""Binary networks: is a planted element found, and what do incremental evaluations gain? One JSON.

    python bench/binary.py [--images 5000] [--points 51] [--archs binary_mlp binary_lenet_bn ...] [--out FILE]

`planted`: 50 random networks, each moved by a random permutation and sign of every unit; recovered means Hamming distance 0.
`exact`: the largest difference of logits between a network and its image, over 50 elements, in float32.
`flips`: seconds of a loop of full forward passes (`Evaluator`) and of `FlipEvaluator` over the same states, interleaved, best of `--repeat`; the errors must be equal
or the row says so. Random, layer-wise and unit-wise orders between two random networks of full width on Fashion-MNIST, and single flips of one weight. One thread.
`thresholds`: where there is batch normalisation, three `sgd` minima of the quick study (2,000 images), matched: the barrier of every pair (mean over three orders) with thresholds
that go in a straight line from end to end, and with those that each state on the path has on the images; and of the same recipe without batch normalisation.
"""
import argparse, itertools, tempfile, time
import torch
from torch.func import functional_call
from landscape_nb.alignment import align
from landscape_nb.binary import Cube, binary_recipe_for, minimize_binary, settled_thresholds
from landscape_nb.data import load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.flips import FlipEvaluator, FlipPath, differing, flip_barrier, joined, layer_order, parted, random_order
from landscape_nb.search.group import state_of
from landscape_nb.models import BINARY, make_model
from landscape_nb.store import Store, stream
from landscape_nb.symmetries import find_symmetries
from kept import RESULTS, keep

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
    flat = joined(a, names)
    def flip(i):
        v = flat.clone(); v[i] = -v[i]
        return parted(a, names, v)
    return dict(random=along(random_order(a, b, gen)), layers=along(layer_order(a, b, gen)), units=along(at),
                single=[flip(int(i)) for i in torch.randint(len(flat), (points,), generator=gen)])

def timed(ev, states):
    began = time.perf_counter()
    errors = [ev(s).error for s in states]
    return time.perf_counter() - began, errors

def flips(arch, data, points, repeat):
    "Seconds of both evaluators over the same states."
    slow, fast, rows = Evaluator(make_model(arch), data.train), FlipEvaluator(make_model(arch), data.train), []
    a, b = (settled_thresholds(slow, state_of(make_model(arch, seed=s))) for s in (0, 1))
    for name, states in sequences(a, b, points, stream('bench', arch)).items():
        runs = [(timed(slow, states), timed(fast, states)) for _ in range(repeat)]
        full, few = (min(r[i][0] for r in runs) for i in (0, 1))
        same = all(r[0][1] == r[1][1] for r in runs)
        rows.append(dict(what='flips', arch=arch, order=name, images=len(data.y_train), states=len(states), full=full, flips=few, ratio=full/few, same_errors=same))
    return rows

def thresholds(arch, images=2000, seeds=3, orders=3, points=25):
    "Barriers between matched minima, thresholds as they lie between the ends or as the images have them."
    data, store, ts, rows = load_data('fashion_mnist', images), Store(tempfile.mkdtemp()), torch.linspace(0, 1, points).tolist(), []
    for net in (arch, arch.removesuffix('_bn')):
        ev, sym = FlipEvaluator(make_model(net), data.train), find_symmetries(make_model(net), data.x_train[:2])
        minima = [minimize_binary(binary_recipe_for(net, 'fashion_mnist', 'sgd', s, n_train=images), store, data) for s in range(seeds)]
        ways = dict(straight=lambda p: p, recomputed=lambda p: lambda t: settled_thresholds(ev, p(t))) if net == arch else dict(none=lambda p: p)
        found = {k: [] for k in ways}
        for (i, m), (j, n) in itertools.combinations(enumerate(minima), 2):
            b = align(sym, m.state, n.state, 'greedy').state
            paths = [FlipPath(m.state, b, random_order(m.state, b, stream('orders', i, j, k))) for k in range(orders)]
            for k, way in ways.items(): found[k].append(flip_barrier(ev, [way(p) for p in paths], ts).value)
        rows += [dict(what='thresholds', arch=net, thresholds=k, barriers=v, mean=sum(v)/len(v), train_errors=[m.train.error for m in minima], test_errors=[m.test.error for m in minima]) for k, v in found.items()]
    return rows

def name(row): return ', '.join(row[k] for k in ('what', 'arch', 'method', 'order', 'thresholds') if k in row)

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=5000); parser.add_argument('--points', type=int, default=51)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--archs', nargs='+', default=list(BINARY))
    parser.add_argument('--out', default=str(RESULTS/'binary.json'))
    o = parser.parse_args()
    torch.set_num_threads(1)
    data, rows = load_data('fashion_mnist', o.images), []
    for arch in o.archs:
        for r in [*planted(arch, data.x_train[:500]), *flips(arch, data, o.points, o.repeat), *(thresholds(arch) if arch.endswith('_bn') else ())]: rows.append(r); print(r, flush=True)
    keep(o.out, [dict(name=name(r), **r) for r in rows])
