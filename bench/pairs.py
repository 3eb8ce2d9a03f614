"""Barriers between trained networks: every removal, solver, chart and choice of statistics, and one bend. One command, one folder.

    python bench/pairs.py [ARCH ...] [--seeds N] [--width W] [--n-train N] [--bends] [--jobs N] [--out out/pairs]

Trains `sgd` minimizers on Fashion-MNIST with the recipes of the quick preset (or takes them from the store), and writes for every architecture
`ARCH.csv` (one row per pair and combination), `ARCH-table.csv` (means with 95% intervals over networks), `ARCH-bends.csv`; and all tables into
bench/results/pairs.json. A run that is killed goes on where it was.
"""
import argparse, itertools, json, time
from pathlib import Path
import pandas as pd
from landscape_nb.alignment import align
from landscape_nb.evaluate import Evaluator
from landscape_nb.optimizers import minimum_spec
from landscape_nb.paths import barrier, removed
from landscape_nb.studies.intervals import mean_interval
from landscape_nb.study import plan
from kept import RESULTS, keep

ROOT = Path(__file__).resolve().parent.parent
SOLVERS, CHARTS = ('greedy', 'cd', 'bary', 'fw'), ('raw', 'canonical')
SIZES = dict(mlp=dict(seeds=4), lenet=dict(seeds=4), vgg16_bn=dict(seeds=3, width=.25), resnet18=dict(seeds=3, width=.125))   # 6 pairs where they cost little, else 3
IMAGES = dict(mlp=10_000, lenet=2_000, vgg16_bn=500)                                                                                          # for the barriers; else 1,000

def matching_rows(study, label, seed_a, seed_b, points, images):
    "One pair: barrier, objective and distance under every removal, solver, chart and choice of statistics, kept in the store of the study."
    def compute(_):
        bench, rows = study.bench(), []
        u, v = study.state(label, seed_a), study.state(label, seed_b)
        charts = dict(raw=(u, v), canonical=(bench.torus.project(u), bench.torus.project(v)))
        ev = Evaluator(bench.model, tuple(t[:images] for t in bench.data.train))
        for solver, chart in [('none', 'none'), *itertools.product(SOLVERS, CHARTS)]:
            found = align(bench.sym, *charts.get(chart, (u, v)), solver)
            near = bench.torus.project(found.element(v))
            rms = bench.torus.dist(charts['canonical'][0], near, rms=True)
            for removal, path in removed(bench.torus, u, v, found.element).items():
                if (solver == 'none') != (removal in ('none', 'norm')): continue      # those without a permutation do not depend on the solver
                for statistics in ('none', 'exact') if ev.norms else ('none',):
                    o = barrier(ev, path, points, refine=0, statistics=statistics)
                    rows.append(dict(label_a=label, seed_a=seed_a, label_b=label, seed_b=seed_b, removal=removal, solver=solver, chart=chart, statistics=statistics,
                                     value=o.value, lo=o.lo, hi=o.hi, t_max=o.t_max, objective=found.objective, seconds=found.seconds, rms=rms))
        return {}, dict(rows=rows)
    ends = [minimum_spec(study.recipe(label, s), study.bench().data) for s in (seed_a, seed_b)]
    spec = dict(kind='matching', version=2, ends=ends, points=points, images=images, solvers=SOLVERS)
    return study.store.remember(spec, compute).record['rows']

def matchings(study, seeds=None, points=11, images=10_000):
    "The rows of all pairs of `sgd` minimizers; `seeds`: those of the study by default; barriers are read on the first `images` training images."
    pairs = itertools.combinations(study.seeds if seeds is None else seeds, 2)
    images = min(images, len(study.bench().data.x_train))
    return study.rows('matchings', [(matching_rows, 'sgd', *p, points, images) for p in pairs])

def matching_table(rows):
    "Mean barrier with a 95% interval over networks, mean objective, angle and seconds, for every combination in the rows of `matchings`."
    keys, out = ['removal', 'solver', 'chart', 'statistics'], []
    for values, part in rows.groupby(keys, sort=False):
        o = mean_interval(rows, 'value', 'sgd', **dict(zip(keys, values)))
        means = part[['objective', 'rms', 'seconds']].mean()
        out.append(dict(zip(keys, values)) | dict(barrier=o.estimate, lo=o.lo, hi=o.hi, pairs=len(part), **means))
    return pd.DataFrame(out)

def measure(arch, o):
    size = SIZES.get(arch, dict(seeds=3))
    study = plan(arch, 'fashion_mnist', 'sgd', seeds=o.seeds or size['seeds'], preset='quick', width=o.width or size.get('width'), n_train=o.n_train, out=Path(o.out)/f'{arch}-store', jobs=o.jobs)
    print(study.summary(), flush=True)
    minima = study.minima()
    print(minima[['label', 'seed', 'train_error', 'test_error', 'accepted']].to_string(index=False), flush=True)
    good = tuple(minima[minima.accepted].seed)
    if len(good) < 2:
        print(f'{arch}: {len(good)} of {len(minima)} runs reached a training error that makes a minimum; two are needed', flush=True)
        return dict(arch=arch, width=study.width, n_train=study.n_train, seeds=list(good), minima=minima[['seed', 'train_error', 'test_error']].to_dict('records'))
    rows = matchings(study, good, points=11, images=IMAGES.get(arch, 1000))
    table = matching_table(rows)
    rows.to_csv(Path(o.out)/f'{arch}.csv', index=False); table.to_csv(Path(o.out)/f'{arch}-table.csv', index=False)
    print(table.round(4).to_string(index=False), flush=True)
    found = dict(arch=arch, width=study.width, n_train=study.n_train, images=min(IMAGES.get(arch, 1000), study.n_train), seeds=list(good), minima=minima[['seed', 'train_error', 'test_error']].to_dict('records'), table=table.to_dict('records'))
    if o.bends:
        bends, _ = study.bends([('sgd', s) for s in good])
        bends.to_csv(Path(o.out)/f'{arch}-bends.csv', index=False)
        print(bends.to_string(index=False), flush=True)
        found['bends'] = bends.to_dict('records')
    return json.loads(pd.Series([found]).to_json(orient='records'))[0]      # NaN as null

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('archs', nargs='*', default=list(SIZES), metavar='ARCH')
    parser.add_argument('--seeds', type=int, help='networks per architecture')
    parser.add_argument('--width', type=float); parser.add_argument('--n-train', type=int)
    parser.add_argument('--bends', action='store_true', help='one bend for every pair as well')
    parser.add_argument('--jobs', type=int, default=0)
    parser.add_argument('--out', default=str(ROOT/'out'/'pairs'))
    o = parser.parse_args()
    Path(o.out).mkdir(parents=True, exist_ok=True)
    for arch in o.archs:
        start = time.monotonic()
        keep(RESULTS/'pairs.json', [dict(name=arch, **measure(arch, o))], key=('name',))
        print(f'{arch}: {time.monotonic()-start:.0f} s\n', flush=True)
