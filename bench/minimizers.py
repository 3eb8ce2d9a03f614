"""Minimizers of every class and their controls, at matched training error: flatness, test error, distance from the start. One command, resumable.

    python bench/minimizers.py [mlp lenet resnet18 ...] [--labels sgd rsgd ...] [--seeds 10 11 12 ...] [--jobs 0] [--store out/minimizers] [--out bench/results/minimizers.json]

Fashion-MNIST; the rows of each seed are written as soon as they are there, and a run that is killed goes on where it was. Recipes were chosen on search seeds (0 to 4, 100 to 102) for their training error;
the report seeds, 10 to 16 (10 to 14 and the main classes for resnet18), were touched by no choice. `SIZES` says how many images each network learns: what two cores can do in half an hour.
"""
import argparse, functools, math, time
from dataclasses import asdict
from pathlib import Path
import torch
from landscape_nb.data import load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.flatness import local_energy
from landscape_nb.models import make_model
from landscape_nb.optimizers import Recipe, _row, minimize, minimize_many, minimum_spec, passes, starts
from landscape_nb.store import Store, _locked, stream, sweep
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus
from landscape_nb.training.updates import Replicas
from kept import RESULTS, keep, read

SIZES = dict(mlp=dict(n_train=2_500, sigmas=(.2, .35, .5), draws=10, images=2_500),
             lenet=dict(n_train=1_000, sigmas=(.1, .2, .3), draws=10, images=1_000),
             resnet18=dict(n_train=1_000, width=.25, sigmas=(.2, .3, .4), draws=4, images=500))
MAIN = ('sgd', 'rsgd', 'sam', 'swa', 'adv')
CORE = (*MAIN, 'sgd-long', 'sgd-init', 'sgd-both', 'sgd-wd', 'rsgd-one')
LABELS = (*CORE, 'adv-shuffled', 'sgd-twice', 'asam', 'esgd', 'adam', 'lbs')
# beside the rows of the quick preset, which are for more images; the controls follow from these
ROWS = dict(
    mlp=dict(sgd=dict(epochs=25, batch=32, lr=.03, hold=.4), rsgd=dict(epochs=16, batch=32, lr=.03, hold=.6, gamma0=1e-4, collapse=.4), sam=dict(epochs=32, rho=.02),
             adv=dict(epochs=28, batch=32, lr=.03, hold=.4, random_epochs=30, random_lr=.03, random_hold=.5), wd=dict(epochs=28), swa=dict(epochs=36, swa_lr=.2), init=dict(epochs=32), asam=dict(epochs=40), esgd=dict(epochs=45), lbs=dict(batch=250, lr=.1, epochs=60)),
    lenet=dict(sgd=dict(epochs=40, batch=40, lr=.05, hold=.5), rsgd=dict(epochs=20, batch=40, lr=.05, hold=.6, gamma0=1e-3, collapse=.4), sam=dict(epochs=40, lr=.03, rho=.02),
               adv=dict(epochs=70, batch=40, lr=.05, hold=.6, random_epochs=40, random_lr=.03, random_hold=.7), wd=dict(epochs=35), swa=dict(epochs=40, swa_lr=.2), init=dict(epochs=45), asam=dict(epochs=60), esgd=dict(epochs=90), adam=dict(epochs=60, lr=3e-3), lbs=dict(batch=200, lr=.05, epochs=60)),
    resnet18=dict(sgd=dict(epochs=12, batch=32, lr=.05, hold=.3, warmup=1), rsgd=dict(epochs=10, batch=32, lr=.05, hold=.6, warmup=1, gamma0=2e-2, collapse=.4), sam=dict(epochs=16, rho=.02), swa=dict(epochs=16), init=dict(epochs=18), asam=dict(epochs=20),
                  adv=dict(epochs=14, batch=32, lr=.1, hold=.5, warmup=1, random_epochs=14, random_lr=.05, random_hold=.6), wd=dict(epochs=14), lbs=dict(batch=100, lr=.1, epochs=20)))

def recipe(arch, label, seed):
    "The recipe of a class, made from `ROWS` as `recipe_for` makes it from the rows of a preset"
    size = SIZES[arch]; width = size.get('width', 1.)
    return Recipe(arch, 'fashion_mnist', label.split('-')[0], seed, size['n_train'], width, label, **_row(ROWS[arch], label))

@functools.lru_cache(1)
def images(arch): return load_data('fashion_mnist', SIZES[arch]['n_train'])

@functools.lru_cache(1)
def workbench(arch):
    data, size = images(arch), SIZES[arch]
    model = make_model(arch, data.classes, data.shape[0], data.shape[1], size.get('width', 1.), seed=0)
    sym = find_symmetries(model, data.x_train[:2])
    return data, Torus(sym), Evaluator(model, tuple(t[:size['images']] for t in data.train))

def finite(v): return v if v is None or math.isfinite(v) else None

def row(arch, label, seed, root):
    "Train, measure, remember -> one row"
    store, r = Store(root), recipe(arch, label, seed)
    data, T, ev = workbench(arch)
    m, size = minimize(r, store, data=data, progress=False), SIZES[arch]
    base = dict(arch=arch, label=label, seed=seed, train_error=finite(m.train.error), test_error=finite(m.test.error), train_loss=finite(m.train.loss), test_loss=finite(m.test.loss),
                accepted=m.accepted, reason=m.reason, random_error=m.random_error, seconds=m.seconds, passes=passes(r))
    if not m.accepted: return base
    def compute(_):
        table = local_energy(ev, T, m.state, size['sigmas'], size['draws'], stream('flatness', seed), refresh=True)
        first = Replicas(starts(r, data)); start = first.state(0, first.mean()[0])
        weights = lambda s: torch.cat([s[k].flatten() for k in T.sym.parameters])
        p, q = T.project(start), T.project(m.state)
        return {}, dict(flatness=table[['sigma', 'energy', 'se']].to_dict('records'), from_start=float(T.dist(p, q, rms=True)),
                        moved=float((weights(m.state) - weights(start)).norm()), start_norm=float(weights(start).norm()), norm=float(weights(m.state).norm()))
    spec = dict(kind='width', version=1, minimum=minimum_spec(r, data), sigmas=size['sigmas'], draws=size['draws'], images=size['images'])
    return base | store.remember(spec, compute).record

def write(path, rows):
    "A network that is trained anew replaces itself, on whatever machine it was trained before."
    recipes = {a: {} for a in SIZES}
    for r in [*read(path)['rows'], *rows]: recipes[r['arch']][r['label']] = asdict(recipe(r['arch'], r['label'], 0))
    order = [f'{a} {l} {s}' for a in SIZES for l in LABELS for s in range(1000)]
    rows = [dict(name=f"{r['arch']} {r['label']} {r['seed']}", **r) for r in rows]
    keep(path, rows, key=('name',), order=order, sizes=SIZES, recipes=recipes)

def say(r):
    "One line about a row"
    wide = ' '.join(f"δE({f['sigma']:g}) {f['energy']:.3f}±{f['se']:.3f}" for f in r['flatness']) + f" start {r['from_start']:.2f} norm {r['norm']:.1f}" if 'flatness' in r else r['reason']
    return f"{r['arch']:9s} {r['label']:13s} seed {r['seed']}: train {r['train_error']} test {r['test_error']} {wide} random {r['random_error']} {r['seconds']:.0f} s"

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('archs', nargs='*', default=list(SIZES)); parser.add_argument('--labels', nargs='*', default=list(LABELS))
    parser.add_argument('--seeds', nargs='*', type=int, default=list(range(10, 17))); parser.add_argument('--jobs', type=int, default=0)
    root = Path(__file__).resolve().parent
    parser.add_argument('--store', default=str(root.parent/'out'/'minimizers')); parser.add_argument('--out', default=str(RESULTS/'minimizers.json'))
    parser.add_argument('--together', action='store_true', help='all seeds of a class in one batched run, label by label')
    parser.add_argument('--have', action='store_true', help='train nothing: the rows of what the store has')
    o = parser.parse_args()
    import minimizers       # by its name, so that the workers find it and keep its caches
    for arch in o.archs if o.together else ():
        for label in o.labels:
            minimize_many([recipe(arch, label, s) for s in o.seeds], Store(o.store), data=images(arch), batched=True)
            rows = [minimizers.row(arch, label, s, o.store) for s in o.seeds]
            with _locked(Path(o.out).with_suffix('.lock')): write(Path(o.out), rows)
            print(*map(say, rows), sep='\n', flush=True)
    for arch in () if o.together else o.archs:
        for seed in o.seeds:
            t0 = time.time()
            labels = [l for l in sorted(o.labels, key=lambda l: -passes(recipe(arch, l, seed))) if not o.have or Store(o.store).has(minimum_spec(recipe(arch, l, seed), images(arch)))]
            rows = sweep([(minimizers.row, (arch, l, seed, o.store)) for l in labels], o.jobs)
            with _locked(Path(o.out).with_suffix('.lock')): write(Path(o.out), rows)
            print(*map(say, sorted(rows, key=lambda r: LABELS.index(r['label']))), sep='\n', flush=True)
            print(f'{arch} seed {seed}: {time.time() - t0:.0f} s', flush=True)
