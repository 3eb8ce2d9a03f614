"""Barriers between trained networks: every removal, solver, chart and choice of statistics, and one bend. One command, one folder.

    python bench/pairs.py [ARCH ...] [--seeds N] [--width W] [--n-train N] [--bends] [--jobs N] [--out out/pairs]

Trains `sgd` minimizers on Fashion-MNIST with the recipes of the quick preset (or takes them from the store), and writes for every architecture
`ARCH.csv` (one row per pair and combination), `ARCH-table.csv` (means with 95% intervals over networks), `ARCH-bends.csv`; and all tables into
bench/results/pairs.json. A run that is killed goes on where it was.
"""
import argparse, json, time
from pathlib import Path
import pandas as pd
from landscape_nb.pairs import matching_table
from landscape_nb.store import describe_machine
from landscape_nb.study import plan

ROOT = Path(__file__).resolve().parent.parent
SIZES = dict(mlp=dict(seeds=4), lenet=dict(seeds=4), vgg16_bn=dict(seeds=3, width=.25), resnet18=dict(seeds=3, width=.125))   # 6 pairs where they cost little, else 3
IMAGES = dict(mlp=10_000, lenet=2_000, vgg16_bn=500)                                                                                          # for the barriers; else 1,000

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
    rows = study.matchings(good, points=11, images=IMAGES.get(arch, 1000))
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
    path = ROOT/'bench'/'results'/'pairs.json'
    rows = {r['arch']: r for r in json.loads(path.read_text())['rows']} if path.exists() else {}
    for arch in o.archs:
        start = time.monotonic()
        rows[arch] = dict(measure(arch, o), machine=describe_machine())
        print(f'{arch}: {time.monotonic()-start:.0f} s\n', flush=True)
        path.write_text(json.dumps(dict(rows=list(rows.values())), indent=1)+'\n')
