"""Does flatness tell which of many networks generalises, in every environment? Small networks, all stopped at one training loss.

    python bench/environments.py [--seeds 13] [--only "lenet, digits"] [--out bench/results/environments.json]

An environment is an architecture, a data set and an optimizer; within it three learning rates and three batch sizes make nine classes of `--seeds` networks.
Training ends where the exact cross-entropy is `LOSS`, so that measures of flatness are compared at equal loss; a network that does not come there is left out.
Measured on the training set: local energy and tangent energy (errors, on the torus), geodesic sharpness (rise of the loss after one step along the gradient on
the torus, at the logit scale of the network), and the sharpness of SAM (the same in the weights as they come). Rows are kept class by class; a run that was
stopped goes on where it was.
"""
import argparse, itertools
from pathlib import Path
import torch
from torch import nn
from landscape_nb.data import load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.flatness import local_energy, tangent_energy
from landscape_nb.landscape.sharpness import sam_sharpness
from landscape_nb.models import make_model
from landscape_nb.optimizers import Recipe, minimize
from landscape_nb.store import stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus
from kept import RESULTS, keep, read

LOSS, IMAGES, EPOCHS = .05, 600, 100
NETWORKS = dict(digits=dict(mlp=.25, lenet=.75), mnist1d=dict(mlp=.25, cnn1d=.75))      # widths
RATES = dict(sgd=(.01, .025, .06), adam=(.001, .002, .004))
BATCHES = 16, 32, 64
SIGMA, DRAWS = .3, 40
STEP = .05      # radians: root mean square over the spheres

def classes():
    "(environment, class, fields of the recipe)"
    for dataset, archs in NETWORKS.items():
        for (arch, width), (algorithm, rates) in itertools.product(archs.items(), RATES.items()):
            for lr, batch in itertools.product(rates, BATCHES):
                fields = dict(arch=arch, dataset=dataset, algorithm=algorithm, width=width, lr=lr, batch=batch)
                yield f'{arch}, {dataset}, {algorithm}', f'rate {lr:g}, batch {batch}', fields

def geodesic_sharpness(ev, T, state, step=STEP):
    "Rise of the loss, in nats, after one step along its gradient on the torus."
    p = T.project(state)
    scale = T.radius(state)
    at = {k: torch.zeros_like(p[k]).requires_grad_() for k in T.place}
    moved = T.exp(p, at)
    loss = sum(nn.functional.cross_entropy(scale*ev.forward(moved, x), y, reduction='sum') for x, y in ev.parts())/len(ev.y)
    g = T.tangent(p, dict(zip(at, torch.autograd.grad(loss, [*at.values()]))))
    length = sum(v.square().sum() for v in g.values()).sqrt()
    there = T.exp(p, {k: v*step*T.n**.5/length for k, v in g.items()})
    return ev(there, scale).loss - ev(p, scale).loss

def measured(fields, seed, data, T, train, test):
    "The columns of one network."
    recipe = Recipe(seed=seed, n_train=IMAGES, epochs=EPOCHS, hold=1., stop_loss=LOSS, **fields)
    m = minimize(recipe, data=data, progress=False)
    row = dict(train_error=m.train.error, train_loss=m.train.loss, test_error=m.test.error, test_loss=m.test.loss)
    if not m.train.loss <= 1.02*LOSS: return row
    gen = lambda: stream('environments', seed)
    row['local energy'] = float(local_energy(train, T, m.state, (SIGMA,), DRAWS, gen()).energy[0])
    row['tangent energy'] = float(tangent_energy(train, T, m.state, (SIGMA,), DRAWS, gen()).energy[0])
    row['geodesic sharpness'] = geodesic_sharpness(train, T, m.state)
    row['SAM'] = sam_sharpness(train, m.state)
    return row

def run(seeds, out, only=''):
    have = {r['name'] for r in read(out)['rows']}
    for environment, label, fields in classes():
        if only not in environment: continue
        names = [f'{environment}, {label}, seed {s}' for s in seeds]
        left = [(n, s) for n, s in zip(names, seeds) if n not in have]
        if not left: continue
        data = load_data(fields['dataset'], IMAGES)
        net = make_model(fields['arch'], data.classes, data.shape[0], data.shape[1], fields['width'], seed=0)
        T = Torus(find_symmetries(net, data.x_train[:2]))
        train, test = Evaluator(net, data.train), Evaluator(net, data.test)
        rows = [dict(name=n, environment=environment, label=label, seed=s, **measured(fields, s, data, T, train, test)) for n, s in left]
        keep(out, rows, key=('name',))
        reached = [r for r in rows if 'SAM' in r]
        print(f'{environment}, {label}: {len(reached)} of {len(rows)} at the loss', *(f'{r["test_error"]:.3f}' for r in reached[:3]), flush=True)

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=13)
    parser.add_argument('--out', type=Path, default=RESULTS/'environments.json')
    parser.add_argument('--only', default='', help='part of the names of environments')
    o = parser.parse_args()
    run(range(o.seeds), o.out, o.only)
