"""Is a planted permutation found again, under noise? Random residual streams and a trained network; one JSON.

    python bench/planted.py [--out out/pairs] [--noise 4]

`stream`: a network of two inputs, two outputs, and four residual branches of 50 units on a stream of 30, weights N(0, 1); B = permuted A, plus noise of
the standard deviation sigma. `resnet18`: `sgd` minimizers on Fashion-MNIST, trained as bench/pairs.py does (or taken from its store); B = permuted A, plus
noise of `--noise` times the standard deviation of each parameter. Recovered means an objective not below that of the planted permutation (more is possible: under strong noise the
optimum is another one); `units` is the share of units that come back to their place. One thread.
"""
import argparse, sys
from pathlib import Path
import torch
from landscape_nb.alignment import align
from landscape_nb.matching.similarity import inner
from landscape_nb.store import stream
from landscape_nb.study import plan
from landscape_nb.symmetries import find_symmetries
from kept import RESULTS, keep

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tests'))
from structures import ResidualStream
METHODS = ('cd', 'bary', 'fw')

def trials(sym, draw, n):
    "One row per method: trials, how many are recovered, mean share of units, seconds; `draw(i)` gives A, the planted element and B."
    rows = {m: dict(method=m, trials=n, recovered=0, units=0., seconds=0.) for m in METHODS}
    for i in range(n):
        a, g, b = draw(i)
        back = g.inverse()
        planted = inner(sym, a, back(b))
        for m, row in rows.items():
            r = align(sym, a, b, m, kinds=('permute',))
            home = [(q[p] == torch.arange(len(p))) for q, p in ((g.sources[k], r.element.sources.get(k, torch.arange(len(q)))) for k, q in g.sources.items())]
            row['recovered'] += r.objective >= planted - 1e-6*abs(planted)
            row['units'] += torch.cat(home).double().mean().item()/n
            row['seconds'] += r.seconds
    return list(rows.values())

def noisy(sym, a, gen, scale):
    g = sym.sample(gen, kinds=('permute',))
    return g, {k: v + scale(v)*torch.randn(v.shape, generator=gen) if k in sym.parameters else v for k, v in sorted(g(a).items())}

def stream_rows(sigma, n):
    sym = find_symmetries(ResidualStream(), torch.randn(2, 2))
    def draw(i):
        gen = stream('residual', sigma, i)
        a = {k: torch.randn(s, generator=gen) for k, s in sorted(sym.shapes.items())}
        return a, *noisy(sym, a, gen, lambda v: sigma)
    return [dict(network='stream 30/50', noise=sigma, **r) for r in trials(sym, draw, n)]

def trained_rows(o, n):
    study = plan('resnet18', 'fashion_mnist', 'sgd', seeds=o.seeds, preset='quick', width=o.width, out=Path(o.out)/'resnet18-store', jobs=o.jobs)
    good = tuple(s for s in study.seeds if study.minimum('sgd', s).accepted)
    states = {s: study.state('sgd', s) for s in good}
    def draw(i):
        a = states[good[i % len(good)]]
        return a, *noisy(study.bench().sym, a, stream('planted', i), lambda v: o.noise*v.std())
    return [dict(network=f'resnet18 of width {study.width:g}, trained', noise=o.noise, **r) for r in trials(study.bench().sym, draw, n)]

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--noise', type=float, default=4.)
    parser.add_argument('--seeds', type=int, default=3, help='trained networks'); parser.add_argument('--width', type=float, default=.125)
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--out', default=str(ROOT/'out'/'pairs'))
    o = parser.parse_args()
    torch.set_num_threads(1)
    rows = [*stream_rows(0, 50), *stream_rows(1, 30), *trained_rows(o, 8)]
    for r in rows: print(r, flush=True)
    keep(RESULTS/'planted.json', [dict(name=f"{r['network']}, noise {r['noise']:g}, {r['method']}", **r) for r in rows])
