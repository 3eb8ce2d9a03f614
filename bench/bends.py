"""What do angles and their gradients cost, and a step of a bend on the torus beside one on straight legs? One JSON.

    python bench/bends.py [--repeat 8] [--out FILE]

Networks with random weights, one thread, as a study trains bends; the sides take turns in one process.
- angles: all angles between two networks and their gradient, by its formula (ours) and left to autograd (loop); seconds, and peaks of the resident memory above the level before; largest difference of a gradient,
  relative to the largest entry of each tensor;
- step: milliseconds of a step of a bend, 256 images: on straight legs, on geodesics (ours), and on geodesics with the gradient of the angles left to autograd (loop).
"""
import argparse, json
from unittest.mock import patch
import torch
from landscape_nb.evaluate import Evaluator
from landscape_nb.search.group import state_of
from landscape_nb.models import make_model
from landscape_nb.paths import Bends, Path as Way
from landscape_nb.store import stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus, _root
from evaluation import race
from kept import RESULTS, keep
from oracle import peak_of

STEPS = 20       # in a turn

def by_elements(T, p, q):
    "Angles whose gradient is left to autograd."
    near, far = T.spread(lambda u, v: ((u-v).square(), (u+v).square()), T.place, p, q)[..., :-1]
    return 2*torch.atan2(_root(near), _root(far))

def pair(arch):
    "A network, two states of it, its torus, images."
    x = torch.randn(512, 1, 28, 28, generator=stream('bench', 'images'))
    net, *states = make_model(arch, seed=0), *(state_of(make_model(arch, seed=i)) for i in (0, 1))
    return net, states, Torus(find_symmetries(net, x[:2])), x

def angles(arch, repeat):
    net, states, T, _ = pair(arch)
    p, q = map(T.project, states)
    q = {k: v.clone().requires_grad_() if k in T.place else v for k, v in q.items()}
    sides = {k: lambda f=f: torch.autograd.grad(f(T, p, q).sum(), [q[k] for k in T.place]) for k, f in (('loop', by_elements), ('ours', Torus.angles))}
    found, row = race(sides, repeat)
    return dict(name=f'angles, {arch}', parameters=sum(v.numel() for v in net.parameters()), spheres=T.n, bytes={k: peak_of(f)[2] for k, f in sides.items()},
                difference=max(((g-h).abs().max()/h.abs().max()).item() for g, h in zip(found['ours'], found['loop'])), **row)

def step(arch, repeat):
    net, states, T, x = pair(arch)
    ev = Evaluator(net, (x, torch.randint(10, (len(x),), generator=stream('bench', 'labels'))), 256)
    def steps(torus):
        direct = Way([torus.project(s) for s in states] if torus else states, torus)
        run = Bends(ev, [direct(t) for t in (0, .5, 1)], torus, 1., stream('bench', 'bends'))
        return lambda: [run.step(1e-3, 256) for _ in range(STEPS)]
    other = steps(T)
    def loop():
        with patch.object(Torus, 'angles', by_elements): other()
    row = race(dict(loop=loop, ours=steps(T), straight=steps(None)), repeat)[1]
    ms = {k: 1e3*v/STEPS for k, v in row['seconds'].items()}
    return dict(name=f'step, {arch}', milliseconds=ms, over_straight=ms['ours']/ms['straight'], ratio=row['ratio'], repeat=repeat)

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeat', type=int, default=8)
    parser.add_argument('--out', default=str(RESULTS/'bends.json'))
    o = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for measure, arch in ((angles, 'mlp'), (angles, 'resnet18'), (step, 'mlp'), (step, 'lenet')):
        rows.append(measure(arch, o.repeat))
        print(json.dumps(rows[-1]), flush=True)
    keep(o.out, rows)
