"""Barriers of the test error between small transformers on digits, aligned over more and more of their symmetries.

python bench/attention.py --out nbs/results/transformers/barriers.csv --seeds 5

The page nbs/experiments/transformers.ipynb reads the table.
"""
import argparse
import itertools
from pathlib import Path
import pandas as pd
import torch
from landscape_nb.alignment import align
from landscape_nb.data import load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.ground.states import called
from landscape_nb.matching.mixed import canonical
from landscape_nb.models import make_model
from landscape_nb.optimizers import minimize
from landscape_nb.paths import Path as Way, barrier
from landscape_nb.search.group import relative_change
from landscape_nb.symmetries import find_symmetries
from landscape_nb.training.recipes import recipe_for

ARCHS = ('vit_rms', 'vit')
ALIGNED = ('none', 'permutations', 'heads', 'stream', 'all')


def aligned(sym, a, b, how):
    "The two ends of a path: as trained, or canonical and aligned over `how`."
    if how == 'none':
        return a, b
    if how == 'permutations':
        a, b = canonical(sym, a)(a), canonical(sym, b)(b)
    r = align(sym, a, b, over=how)
    return r.reference, r.state


def heights(ev, a, b, points=11):
    "The most by which error and loss on the straight path exceed the line between the ends."
    seen = barrier(ev, Way((a, b)), points, refine=0, statistics='none', over='line')
    line = (1 - seen.ts)*seen.losses[0] + seen.ts*seen.losses[-1]
    return seen.value, (seen.losses - line).max().item()


def rows_of(arch, seeds, data):
    "A row for every pair and every way to align it."
    net = make_model(arch, size=data.x_train.shape[-1], seed=0).eval()
    sym = find_symmetries(net, data.x_train[:2])
    train, test = Evaluator(net, data.train), Evaluator(net, data.test)
    found = {s: minimize(recipe_for(arch, 'digits', 'adam', s), data=data, progress=False) for s in seeds}
    for s, m in found.items():
        print(arch, s, m, flush=True)
    for i, j in itertools.combinations(seeds, 2):
        for how in ALIGNED:
            a, b = aligned(sym, found[i].state, found[j].state, how)
            with torch.no_grad():
                change = relative_change(called(net, found[j].state, (data.x_test,)), called(net, b, (data.x_test,)))
            row = dict(arch=arch, aligned=how, label_a='adam', seed_a=i, label_b='adam', seed_b=j)
            row['test_error'], row['test_loss'] = heights(test, a, b)
            row['train_error'], row['train_loss'] = heights(train, a, b)
            row['ends'] = (found[i].test.error + found[j].test.error)/2
            row['change'] = change
            print(row, flush=True)
            yield row


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--archs', nargs='+', default=ARCHS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, rows = load_data('digits'), []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for arch in args.archs:
        for row in rows_of(arch, range(args.seeds), data):
            rows.append(row)
            pd.DataFrame(rows).to_csv(args.out, index=False, float_format='%.6g')
