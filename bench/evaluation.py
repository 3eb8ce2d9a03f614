"""Is evaluation faster than a loop of forward passes, with the same errors? One JSON; rows carry machine and date.

    python bench/evaluation.py [--rows mlp resnet18 energy small refresh memory loss-landscapes] [--repeat 5] [--threads 2] [--device cpu] [--out FILE]

Both sides take turns in one process, and every repeat times both; the ratio is that of the best times, and the CPU seconds of the process are given beside,
since they do not depend on what else the machine does. The loop is `functional_call`, argmax and comparison, batch by batch, at the batch size of the
evaluator and at every point of a path (the error alone: it computes no loss, the evaluator does).
- mlp: 51 points between two perceptrons 784-256-256-10, trained for a few epochs on 10,000 images of Fashion-MNIST, straight and geodesic, batches of 2,500;
- resnet18: a few points between two networks of width 1 with random weights and statistics, 1,024 images, batches of 128, statistics as they are;
  on an accelerator (`--device cuda`) 11 points, 10,000 images, batches of 2,500;
- energy: local energy, 20 draws and 8 σ, mlp;
- small: 11 points between two networks with random weights, on few of the digits;
- refresh: statistics of batch normalisation recomputed on 2,000 images, resnet18 at a quarter of its width: by torch's `update_bn` in batches of 250, which
  normalises each batch by itself, and by `refresh`, layer by layer over all images in one pass; 'off' is the largest difference of a statistic,
  relative to the largest one of its tensor, for either side from one pass in float64;
- memory: peak of the resident memory above the level before, densenet121 at batches of 250: a path of 5 points, and one forward pass;
- loss-landscapes: its `linear_interpolation` with 51 steps and `metrics.Loss` on the perceptrons, in an environment of its own that sees this package.
'differing' counts samples that the two sides judge differently, over all points; 'differing_at_most' at one point.
"""
import argparse, json, os, subprocess, sys, time
from pathlib import Path
import torch
from torch import nn
from torch.func import functional_call
from landscape_nb.data import load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.flatness import draw, local_energy, shaken
from landscape_nb.models import make_model
from landscape_nb.paths import Path as Way
from landscape_nb.search.group import generic_state, lift, state_of
from landscape_nb.store import describe_machine, stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus
from device import wait
from oracle import own_python, peak_of, version_in

LOSS_LANDSCAPES = 'loss-landscapes==3.0.6'
SIGMAS = [.05*1.3**i for i in range(8)]

@torch.no_grad()
def loop_wrong(model, state, x, y, batch):
    "bool [n] by the network itself."
    return torch.cat([functional_call(model, state, (a,)).argmax(1) != b for a, b in zip(x.split(batch), y.split(batch))])

def race(sides, repeat, device='cpu'):
    "Results, and best wall and CPU seconds of every side; sides take turns, the first turn is not timed."
    results, wall, cpu = {k: f() for k, f in sides.items()}, {}, {}
    for _ in range(repeat):
        for k, f in sides.items():
            w, c = time.perf_counter(), time.process_time()
            f()
            wait(device)
            wall[k] = min(wall.get(k, 1e9), time.perf_counter()-w)
            cpu[k] = min(cpu.get(k, 1e9), time.process_time()-c)
    return results, dict(seconds=wall, cpu_seconds=cpu, ratio=wall['loop']/wall['ours'], cpu_ratio=cpu['loop']/cpu['ours'], repeat=repeat)

def perceptrons(epochs=4):
    "Two trained perceptrons and 10,000 images."
    data = load_data('fashion_mnist', 10_000)
    def train(seed):
        net, gen = make_model('mlp', seed=seed), stream('bench', 'batches', seed)
        opt = torch.optim.SGD(net.parameters(), lr=.05, momentum=.9)
        for _ in range(epochs):
            for idx in torch.randperm(10_000, generator=gen).split(100):
                opt.zero_grad()
                nn.functional.cross_entropy(net(data.x_train[idx]), data.y_train[idx]).backward()
                opt.step()
        return state_of(net)
    return make_model('mlp', seed=0).eval(), train(0), train(1), *data.train

def random_states(net):
    "Two states of random weights and statistics, float32."
    params = dict(net.named_parameters())
    states = [generic_state(state_of(net), params, stream('bench', i)) for i in (0, 1)]
    return [{k: v.float() if v.is_floating_point() else v for k, v in s.items()} for s in states]

def convolutional(width, n, device='cpu'):
    net = make_model('resnet18', width=width, seed=0).eval()
    a, b = ({k: v.to(device) for k, v in s.items()} for s in random_states(net))
    x = torch.randn(n, 1, 28, 28, generator=stream('bench', 'images'))
    y = torch.randint(10, (n,), generator=stream('bench', 'labels'))
    return net, a, b, x.to(device), y.to(device)

def path_row(name, net, path, x, y, batch, points, repeat):
    ev, ts = Evaluator(net, (x, y), batch), torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    def loop(): return torch.stack([loop_wrong(net, path(t), x, y, batch) for t in ts])
    found, row = race(dict(loop=loop, ours=lambda: ev.along(path, ts, 'none')), repeat, x.device)
    wrong = torch.stack([o.wrong for o in ev.outcomes_along(path, ts, 'none')])
    assert torch.equal(wrong.double().mean(1).cpu(), found['ours'].error)
    differing = (wrong != found['loop']).sum(1)
    errors = [found['ours'].error.min().item(), found['ours'].error.max().item()]
    return dict(name=name, points=points, images=len(y), batch=batch, differing=int(differing.sum()), differing_at_most=int(differing.max()), errors=errors, **row)

def mlp(o):
    net, a, b, x, y = perceptrons()
    T = Torus(find_symmetries(net, x[:2]))
    yield path_row('mlp, straight', net, Way((a, b)), x, y, 2500, 51, o.repeat)
    yield path_row('mlp, geodesic', net, Way((T.project(a), T.project(b)), T), x, y, 2500, 51, o.repeat)

def resnet18(o):
    images, batch, points = (1024, 128, 3) if o.device == 'cpu' else (10_000, 2500, 11)
    net, a, b, x, y = convolutional(1., images, o.device)
    yield path_row('resnet18' + f', {o.device}'*(o.device != 'cpu'), net, Way((a, b)), x, y, batch, points, min(3, o.repeat))

def small(o):
    digits = load_data('digits').train
    for arch, width, images in (('mlp', .2, 1437), ('lenet', 1., 50), ('resnet18', .0625, 300), ('densenet121', .125, 300)):
        net, x, y = make_model(arch, size=8, width=width, seed=0).eval(), *(part[:images] for part in digits)
        yield path_row(f'small, {arch} at width {width:g}', net, Way(random_states(net)), x, y, 500, 11, 4*o.repeat)

def energy(o):
    net, a, _, x, y = perceptrons()
    T, ev = Torus(find_symmetries(net, x[:2])), Evaluator(net, (x, y), 2500)
    p = T.project(a)
    def loop():
        clean, gen, rows = loop_wrong(net, p, x, y, 2500).double().mean(), stream('noise', 0), []
        for _ in range(20):
            z = draw(p, T.sym.parameters, gen)
            rows.append([(loop_wrong(net, shaken(p, z, s), x, y, 2500).double().mean()-clean).item() for s in SIGMAS])
        return torch.tensor(rows, dtype=torch.float64).mean(0)
    def ours(): return torch.tensor(local_energy(ev, T, p, SIGMAS, 20, stream('noise', 0)).energy.to_numpy())
    found, row = race(dict(loop=loop, ours=ours), min(3, o.repeat))
    off = (found['loop']-found['ours']).abs().max().item()
    yield dict(name='local energy, mlp', draws=20, sigmas=SIGMAS, images=len(y), batch=2500, largest_difference=off, energy=found['ours'].tolist(), **row)

def refresh(o):
    net, a, _, x, y = convolutional(.25, 2000)
    theirs = lift(net, a)
    def statistics(s): return {k: v.double() for k, v in s.items() if k.endswith(('running_mean', 'running_var'))}
    def update():
        torch.optim.swa_utils.update_bn(x.split(250), theirs)
        return statistics(theirs.state_dict())
    double = {k: v.double() if v.is_floating_point() else v for k, v in a.items()}
    exact = statistics(Evaluator(net, (x.double(), y), 2000).refresh(double))
    ev = Evaluator(net, (x, y), 2000)
    found, row = race(dict(loop=update, ours=lambda: statistics(ev.refresh(a))), o.repeat)
    off = {side: max(((s[k]-exact[k]).abs().max()/exact[k].abs().max()).item() for k in exact) for side, s in found.items()}
    yield dict(name='refresh, resnet18, one batch', images=2000, off=off, **row)

def memory(o):
    net = make_model('densenet121', seed=0).eval()
    a, b = state_of(net), state_of(make_model('densenet121', seed=1))
    x = torch.randn(500, 1, 28, 28, generator=stream('bench', 'images'))
    y = torch.randint(10, (500,), generator=stream('bench', 'labels'))
    loop_wrong(net, a, x[:4], y[:4], 4)
    _, _, one = peak_of(lambda: loop_wrong(net, a, x[:250], y[:250], 250))
    _, seconds, path = peak_of(lambda: Evaluator(net, (x, y), 250).along(Way((a, b)), [0, .25, .5, .75, 1], 'none'))
    yield dict(name='memory, densenet121', points=5, images=500, batch=250, forward_bytes=one, path_bytes=path, ratio=path/one, path_seconds=seconds)

def theirs(o):
    "Runs in the environment that has loss-landscapes."
    import loss_landscapes
    from loss_landscapes.metrics import Loss
    net, a, b, x, y = perceptrons()
    path, ts = Way((a, b)), [(i+1)/51 for i in range(51)]
    start, end, metric, ev = lift(net, a), lift(net, b), Loss(nn.functional.cross_entropy, x, y), Evaluator(net, (x, y), 2500)
    def loop(): return loss_landscapes.linear_interpolation(start, end, metric, steps=51, deepcopy_model=True)
    found, row = race(dict(loop=loop, ours=lambda: ev.along(path, ts, 'none').loss.numpy()), o.repeat)
    off = float(abs(found['loop']-found['ours']).max())
    return dict(name='loss-landscapes, mlp', points=51, images=len(y), largest_difference_of_loss=off, largest_loss=float(found['loop'].max()), **row)

def loss_landscapes(o):
    python = own_python('loss-landscapes', LOSS_LANDSCAPES)
    r = subprocess.run([python, __file__, '--theirs', '--repeat', str(o.repeat), '--threads', str(o.threads)], capture_output=True, text=True)
    if r.returncode: raise SystemExit(r.stderr)
    yield dict(json.loads(r.stdout.strip().splitlines()[-1]), versions=version_in(python, 'loss-landscapes'))

ROWS = dict(mlp=mlp, resnet18=resnet18, energy=energy, small=small, refresh=refresh, memory=memory) | {'loss-landscapes': loss_landscapes}

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', nargs='*', choices=list(ROWS), default=list(ROWS))
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu', help='of the row resnet18')
    parser.add_argument('--out', default=str(Path(__file__).parent/'results'/'evaluation.json'))
    parser.add_argument('--theirs', action='store_true', help=argparse.SUPPRESS)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    if o.theirs:
        print(json.dumps(theirs(o)))
        sys.exit()
    out = Path(o.out)
    for name in o.rows:
        for row in ROWS[name](o):
            print(json.dumps(row), flush=True)
            kept = {r['name']: r for r in json.loads(out.read_text())['rows']} if out.exists() else {}
            at = dict(machine=describe_machine(), date=time.strftime('%Y-%m-%d'), threads=o.threads, load=os.getloadavg()[0])
            kept[row['name']] = row | at
            out.write_text(json.dumps(dict(rows=[*kept.values()]), indent=1)+'\n')      # rows of other runs stay
