"""How long does the explorer take to open a pair and to move its slider? One process per network, one JSON.

    python bench/explorer.py [NET ...] [--out FILE]

Each network of `NETS` gets a run of its own in a temporary folder, three minima of Fashion-MNIST trained as the smoke preset says at the width of
`NETS` (what is timed does not depend on how well they are trained), their distances and one bend. Then, with the defaults of `explore`:
- first: `pair_of` where the store holds nothing of the pair (lines, predictions of 2,000 images at 41 places, angles), the workbench of the study being there;
- again: the same call once more;
- plane: what a third minimum needs for one line, where the store holds nothing of it;
- draw: all panels but one at another line, everything read from the store;
- move: 50 moves of the slider over the grid, each until the images of all panels are encoded; median and largest, and the bytes that a browser gets.
Seconds are those of the clock; CPU seconds of the process are given beside, since they do not depend on what else the machine does. The verdict is 'fast' where the median move takes at most 0.1 s.
"""
import json, os, statistics, sys, tempfile, time
import pandas as pd, torch
from landscape_nb.explorer import Explorer, pair_of
from landscape_nb.report import save_report
from landscape_nb.study import plan
from oracle import answer, options, run_child, sweep

NETS = dict(mlp=1., lenet=1., resnet18=.0625)      # width
LIMIT = .1                                        # seconds of a move

def timed(f):
    "The result, seconds, and CPU seconds of the process."
    start, cpu = time.perf_counter(), time.process_time(); found = f()
    return found, time.perf_counter() - start, time.process_time() - cpu

def measure(name, threads):
    torch.set_num_threads(int(threads))
    with tempfile.TemporaryDirectory() as out:
        study = plan(name, 'fashion_mnist', 'sgd', seeds=3, preset='smoke', width=NETS[name], n_train=1000, out=out, device='cpu', jobs=1)
        frames = dict(minima=study.minima())
        nets = [('sgd', s) for s in study.seeds]
        frames['distances'] = study.distances(nets)
        study.bends(nets[:2])
        save_report(out, frames, {}, pd.DataFrame(), study.environment())
        pair, first, first_cpu = timed(lambda: pair_of(study, *nets[:2]))
        _, again, _ = timed(lambda: pair_of(study, *nets[:2]))
        ex = Explorer(study, *nets[:2])
        _, plane, plane_cpu = timed(lambda: setattr(ex, 'third', nets[2]))
        ex.line = 'bend'; ex.line = 'geodesic'        # both planes are in the store
        _, draw, draw_cpu = timed(lambda: setattr(ex, 'line', 'bend'))
        moves, sizes = [], []
        for i in range(50):
            moves.append(timed(lambda: setattr(ex, 't', ((7*i+3) % 41)/40))[1:])
            sizes.append(sum(len(p.image.value) for k, p in ex.panels.items() if k != 'distances'))
        move, move_cpu = (statistics.median(m) for m in zip(*moves))
        return dict(verdict='fast' if move <= LIMIT else 'slow', width=NETS[name], units=pair.lines['geodesic'].angles.shape[2], lines=list(pair.lines),
                    seconds=dict(first=first, again=again, plane=plane, draw=draw, move=move, slowest_move=max(m for m, _ in moves)),
                    cpu_seconds=dict(first=first_cpu, plane=plane_cpu, draw=draw_cpu, move=move_cpu), bytes=statistics.median(sizes), threads=torch.get_num_threads(), load=os.getloadavg()[0])

def show(row): print(json.dumps(row), flush=True)

if __name__ == '__main__':
    parser = options(__doc__, 1200, 8, 'explorer.json', 2)
    parser.add_argument('--threads', type=int, default=1)
    o = parser.parse_args()
    if o.child: answer(measure, *o.child)
    if o.list: sys.exit('\n'.join(NETS))
    if unknown := [n for n in o.names if n not in NETS]: sys.exit(f'there is no {", ".join(unknown)}; there are {", ".join(NETS)}')
    command = lambda name: run_child([sys.executable, __file__, '--child', name, str(o.threads)], o.limit_seconds, o.limit_gib)
    sweep(o.names or list(NETS), list(NETS), command, o.out, show, o, lambda rows: dict(move=max((r['seconds']['move'] for r in rows if 'seconds' in r), default=None)))
