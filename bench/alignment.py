"""How fast and how well are two networks aligned, beside rebasin from PyPI? One thread, one JSON.

    python bench/alignment.py [NET ...] [--methods cd bary fw best rebasin] [--limit-seconds 120] [--repeat 3] [--resume] [--list] [--out FILE]

A pair are two networks of torchvision with their default initialisation, seeds 0 and 1. Every net and method runs in its own process, with one
thread. The search for the group is timed beside it, once; rebasin's time holds its own (it has no step of its own for it). Seconds are the least of
`--repeat` runs after one that loads what is loaded at first use.
The objective is the scalar product of all parameters in float64, computed here from the two states and nothing else; only permutations are allowed,
as rebasin knows no signs. `change` is the largest relative change of the logits of the second network on random images, in float64, after it was moved
(its running statistics are the same for all channels at initialisation, so that it does not matter what is done to them). Memory is the peak above the
level before, as a multiple of the weights of both networks.
"""
import os, signal, sys, time
import torch
from oracle import answer, first_line, options, own_python, peak_of, relative, run_child, sweep, version_in

NETS = 'resnet18 vgg11_bn densenet121 vit_b_16 resnet50 mobilenet_v2 regnet_y_400mf efficientnet_b0 swin_t'.split()
METHODS = ('cd', 'bary', 'fw', 'best', 'rebasin')
REBASIN = ('rebasin==0.0.47', 'torchview==0.2.7', 'graphviz==0.21')

def network(name, seed):
    import torchvision
    torch.manual_seed(seed)
    return torchvision.models.get_model(name, weights=None)

def state(model): return {k: v.detach() for k, v in [*model.named_parameters(), *model.named_buffers()]}

def objective(a, b, names): return sum((a[k].double()*b[k].double()).sum().item() for k in names)

def ours(name, method, x, repeat):
    from landscape_nb.alignment import align
    from landscape_nb.symmetries import find_symmetries
    models = [network(name, s) for s in (0, 1)]
    start = time.perf_counter()
    sym = find_symmetries(models[0], x)
    found, (a, b) = time.perf_counter()-start, map(state, models)
    r, seconds, peak = peak_of(lambda: align(sym, a, b, method, kinds=('permute',)))
    seconds = min([seconds]*(repeat < 2) + [align(sym, a, b, method, kinds=('permute',)).seconds for _ in range(repeat-1)])
    return models[1], r.state, dict(seconds=seconds, search_seconds=found, sweeps=r.sweeps, won=r.method), peak

def rebasin(name, method, x, repeat):
    from rebasin import PermutationCoordinateDescent
    def run():
        a, b = (network(name, s) for s in (0, 1))
        start = time.perf_counter()
        PermutationCoordinateDescent(a, b, x).rebasin()
        return b, time.perf_counter()-start
    (b, seconds), _, peak = peak_of(run)
    seconds = min([seconds] + [run()[1] for _ in range(repeat-1) if seconds < 20])
    return network(name, 1), state(b), dict(seconds=seconds), peak

def measure(name, method, limit, repeat):
    torch.set_num_threads(1)
    x = torch.randn(2, 3, *[224 if name.startswith(('vit', 'maxvit')) else 64]*2)
    def stop(*_): raise TimeoutError(f'more than {limit:g} s')
    signal.signal(signal.SIGALRM, stop)
    import scipy.optimize
    if method == 'rebasin': import rebasin as _
    signal.setitimer(signal.ITIMER_REAL, limit, 5)
    try: model, moved, row, peak = (rebasin if method == 'rebasin' else ours)(name, method, x, repeat)
    except TimeoutError as e: return dict(verdict='timeout', why=str(e))
    except Exception as e: return dict(verdict='crash', why=first_line(e))
    finally: signal.setitimer(signal.ITIMER_REAL, 0)
    a, b = state(network(name, 0)), state(model)
    names = [k for k, _ in model.named_parameters()]
    size = sum(v.numel()*v.element_size() for v in a.values())
    wide = {k: v.double() if v.is_floating_point() else v for k, v in moved.items()}
    with torch.no_grad(): y, z = (torch.func.functional_call(model.double().eval(), s, (x.double(),)) for s in (state(model.double()), wide))
    change = relative(y, z)
    finite = all(bool(v.isfinite().all()) for v in moved.values())
    verdict = 'right' if finite and change < 1e-6 else 'WRONG' if finite else 'NaN'
    return row | dict(verdict=verdict, before=objective(a, b, names), objective=objective(a, moved, names), change=change, memory=None if peak is None else peak/(2*size), parameters=sum(a[k].numel() for k in names))

def show(r):
    cell = lambda k, f: format(r[k], f) if isinstance(r.get(k), (int, float)) else '-'
    print(f'{r["name"]:28s}{r["verdict"]:10s}{cell("seconds", ".2f"):>9s} s{cell("objective", ",.1f"):>13s} from {cell("before", ",.1f"):>10s}{cell("change", ".0e"):>9s}{cell("memory", ".2f"):>7s}  {r.get("why", "")[:90]}', flush=True)

def totals(rows):
    "Every method against rebasin, net by net."
    by = {tuple(r['name'].split('/')): r for r in rows}
    out = {}
    for (net, method), r in by.items():
        other = by.get((net, 'rebasin'))
        if method == 'rebasin' or not other or 'seconds' not in r: continue
        out.setdefault(net, {})[method] = dict(objective=round(r['objective'], 1), seconds=round(r['seconds'], 3), rebasin=other['verdict'],
            times_faster=round(other['seconds']/r['seconds'], 1) if other.get('seconds') else None, rebasin_objective=round(other['objective'], 1) if other.get('objective') == other.get('objective') and 'objective' in other else None)
    return out

if __name__ == '__main__':
    parser = options(__doc__, 300., 14., 'alignment.json', 2)
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--repeat', type=int, default=3)
    o = parser.parse_args()
    if o.child: answer(measure, *o.child, o.limit_seconds, o.repeat)
    nets = o.names or NETS
    if o.list: print(*nets, sep='\n'); sys.exit()
    python = own_python('rebasin', *REBASIN) if 'rebasin' in o.methods else sys.executable
    os.environ['OMP_NUM_THREADS'] = '1'
    def run(name):
        net, _, method = name.rpartition('/')
        return run_child([python if method == 'rebasin' else sys.executable, '-W', 'ignore', __file__, '--child', net, method, '--limit-seconds', str(o.limit_seconds), '--repeat', str(o.repeat)], 3*o.limit_seconds+120, o.limit_gib)
    every = [f'{n}/{m}' for n in NETS for m in METHODS]
    sweep([f'{n}/{m}' for n in nets for m in o.methods], every, run, o.out, show, o, totals, versions=version_in(python, 'rebasin') if 'rebasin' in o.methods else {})
