"""Is evaluation faster than a loop of forward passes, with the same errors? One JSON.

    python bench/evaluation.py [--rows product wide perceptron mlp resnet18 small energy energy-conv loss-landscapes refresh layout memory] [--repeat 5] [--threads 2] [--device cpu] [--out FILE]

Both sides take turns in one process, and every repeat times both; the ratio is that of the best times, and the CPU seconds of the process are given
beside, since they do not depend on what else the machine does. The loop is `functional_call`, argmax and comparison, batch by batch, at the batch size of the
evaluator and at every point of a path (the error alone: it computes no loss, the evaluator does). Rows of paths are there twice: the second time screened in
bfloat16, where the error is exact and the loss is not; on a processor without products in bfloat16 both are the same.
- product: linear layers as they are (loop), and as convolutions of one image (ours), whether or not this processor is one where the package does so; largest difference of an output, relative to the largest output;
- wide: convolutions with kernels of 3×3 on 64 images, channels last, as they are (loop), and by Winograd's algorithm (ours), in C where it could be compiled, on kernels made before, whether or not the package does so for that many channels; largest error of either, relative to the largest output, beside float64;
- perceptron: linear layers with rectifiers between them on 2,500 rows, one after the other (loop), and together in C (ours), their weights packed before, whether or not this processor is one where the package does so; largest error of either, relative to the largest output, beside float64;
- mlp: 51 points between two perceptrons 784-256-256-10, trained for a few epochs on 10,000 images of Fashion-MNIST, straight and geodesic, batches of 2,500;
- resnet18: a few points between two networks of width 1 with random weights and statistics, 1,024 images, batches of 128, statistics as they are; on an accelerator (`--device cuda`) 11 points, 10,000 images, batches of 2,500;
- small: 11 points between two networks with random weights, on few of the digits, where the package takes the network as it is, and the same with its twin; the loop computes no loss;
- energy: local energy, 20 draws and 8 σ, mlp; energy-conv: the same on the convolutional network at a quarter of its width, 400 images;
- loss-landscapes: its `linear_interpolation` with 51 steps and `metrics.Loss` on the perceptrons, in an environment of its own that sees this package; twice too, and its errors, which it does not compute, are those of the loop;
- refresh: statistics of batch normalisation recomputed on 2,000 images, resnet18 at a quarter of its width: by torch's `update_bn` in batches of 250, which normalises
  each batch by itself, and by `refresh`, layer by layer over all images, in one pass where they are one batch, else in one for every layer; largest difference of a statistic, relative to the largest one of its tensor, for either side
  from one pass over all images at once in float64;
- layout: one network on 64 images (300 where it is small), by its twin (ours) and by the same twin with its channels first and convolutions as they are (loop);
- memory: peak of the resident memory above the level before, densenet121 at batches of 250: a path of 5 points, and one forward pass.
'differing' counts samples that the two sides judge differently, over all points. 'share_of_peak' of a path: the floating-point operations of the loop per second that either side takes, over those of one large product of matrices in that number format,
measured in the same run; ours is more than it multiplies where the first layer is computed once.
"""
import argparse, json, os, subprocess, sys, time
from itertools import chain
from pathlib import Path
import torch
from torch import nn
from torch.func import functional_call
from landscape_nb.data import load_data
from landscape_nb.evaluate import PRECISIONS, Evaluator
from landscape_nb.flatness import draw, local_energy, shaken
from landscape_nb.search.group import generic_state, lift, state_of
from landscape_nb.evaluation.kernels import as_pixels, compiled, pack, perceptron, spread, winograd
from landscape_nb.evaluation.twin import Twin, find_twin, laid_out, operations, watch
from landscape_nb.evaluation.margins import unpack
from landscape_nb.models import make_model
from landscape_nb.paths import Path as Way
from landscape_nb.store import describe_machine, stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus
from device import peak, wait
from oracle import own_python, peak_of, version_in

LOSS_LANDSCAPES = 'loss-landscapes==3.0.6'
SIGMAS = [.05*1.3**i for i in range(8)]

def anew(ev):
    "An evaluator that holds no products of the run before."
    ev.products = None
    return ev

def wrong_of(model, state, x, y, batch):
    "bool [n] by the network itself."
    with torch.no_grad(): return torch.cat([functional_call(model, state, (a,)).argmax(1) != b for a, b in zip(x.split(batch), y.split(batch))])

def race(sides, repeat, device='cpu'):
    "Results, and best wall and CPU seconds of every side; sides take turns, the first turn is not timed."
    results, wall, cpu = {k: f() for k, f in sides.items()}, {}, {}
    for _ in range(repeat):
        for k, f in sides.items():
            w, c = time.perf_counter(), time.process_time()
            f(); wait(device)
            wall[k], cpu[k] = min(wall.get(k, 1e9), time.perf_counter()-w), min(cpu.get(k, 1e9), time.process_time()-c)
    return results, dict(seconds=wall, cpu_seconds=cpu, ratio=wall['loop']/wall['ours'], cpu_ratio=cpu['loop']/cpu['ours'], repeat=repeat)

def product(o):
    for n, inputs, outputs in ((10_000, 784, 256), (2500, 256, 256), (2500, 256, 10), (256, 512, 512), (64, 256, 256)):
        x, w, b = (torch.randn(*shape, generator=stream('bench', i)) for i, shape in enumerate(((n, inputs), (outputs, inputs), (outputs,))))
        found, row = race(dict(loop=lambda: nn.functional.linear(x, w, b), ours=lambda: as_pixels(x, w, b)), 10*o.repeat)
        yield dict(name=f'product, {n:,} rows of {inputs} to {outputs}', difference=((found['loop']-found['ours']).abs().max()/found['loop'].abs().max()).item(), **row)

def chained(o):
    if compiled('perceptron') is None: return print('no compiler', file=sys.stderr)
    for dims in ((256, 256), (784, 256), (256, 256, 16), (784, 256, 256, 10), (64, 64, 10), (512, 512), (1024, 1024)):
        x, layers = torch.randn(2500, dims[0], generator=stream('bench', 'rows')), [(torch.randn(k, c, generator=stream('bench', k, c))/c**.5, torch.randn(k, generator=stream('bench', k))) for c, k in zip(dims, dims[1:])]
        def loop(h):
            for i, (w, b) in enumerate(layers, 1):
                h = nn.functional.linear(h, w.to(h), b.to(h))
                if i < len(layers): h = h.relu_()
            return h
        packed, exact = [pack(*o) for o in layers], loop(x.double())
        found, row = race(dict(loop=lambda: loop(x), ours=lambda: perceptron([x], packed, dims[1:])), 10*o.repeat)
        yield dict(name=f'perceptron, 2,500 rows of {" to ".join(map(str, dims))}', error={k: ((v-exact).abs().max()/exact.abs().max()).item() for k, v in found.items()}, **row)

def wide(o):
    for channels, pixels in ((16, 28), (32, 28), (64, 28), (64, 4), (64, 2), (128, 14), (256, 7), (512, 7), (512, 4), (512, 2)):
        held = {}
        x, w, b = (torch.randn(shape, generator=stream('bench', i)) for i, shape in enumerate(((64, channels, pixels, pixels), (channels, channels, 3, 3), (channels,))))
        x, w, side = laid_out(x, True), laid_out(w, True), 2 if pixels < 3 else 4
        u, exact = spread(w, side), nn.functional.conv2d(x.double(), w.double(), b.double(), padding=1)
        found, row = race(dict(loop=lambda: nn.functional.conv2d(x, w, b, padding=1), ours=lambda: winograd(x, u, b, channels, (1, 1), held)), o.repeat)
        yield dict(name=f'wide, {channels} channels of {pixels} x {pixels}', side=side, compiled=u.dim() == 4, error={k: ((v-exact).abs().max()/exact.abs().max()).item() for k, v in found.items()}, **row)

def perceptrons(epochs=4):
    "Two trained perceptrons and 10,000 images."
    data = load_data('fashion_mnist', 10_000)
    def train(seed):
        net, gen = make_model('mlp', seed=seed), stream('bench', 'batches', seed)
        opt = torch.optim.SGD(net.parameters(), lr=.05, momentum=.9)
        for _ in range(epochs):
            for idx in torch.randperm(10_000, generator=gen).split(100): opt.zero_grad(); nn.functional.cross_entropy(net(data.x_train[idx]), data.y_train[idx]).backward(); opt.step()
        return state_of(net)
    return make_model('mlp', seed=0).eval(), train(0), train(1), *data.train

def random_states(net):
    "Two states of random weights and statistics, float32."
    return [{k: v.float() if v.is_floating_point() else v for k, v in generic_state(state_of(net), dict(net.named_parameters()), stream('bench', i)).items()} for i in (0, 1)]

def convolutional(width, n, device='cpu'):
    net = make_model('resnet18', width=width, seed=0).eval()
    a, b = ({k: v.to(device) for k, v in s.items()} for s in random_states(net))
    return net, a, b, torch.randn(n, 1, 28, 28, generator=stream('bench', 'images')).to(device), torch.randint(10, (n,), generator=stream('bench', 'labels')).to(device)

def titled(name, precision): return name + ', screened'*(precision == 'screened')

def path_row(name, net, path, x, y, batch, points, repeat, precision='exact'):
    ev, ts = Evaluator(net, (x, y), batch, precision=precision), torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    found, row = race(dict(loop=lambda: torch.stack([wrong_of(net, path(t), x, y, batch) for t in ts]), ours=lambda: anew(ev).along(path, ts, 'none')), repeat, x.device)
    bits = unpack(ev.bits_along(path, ts, 'none'), len(y))
    flops = points*len(y)/len(ev.head)*operations(watch(net, path(0), ev.head)[0])
    formats = dict(loop=torch.float32, ours=torch.bfloat16 if ev.screens else torch.float32)
    assert torch.equal(bits.double().mean(1), found['ours'].error)
    return dict(name=titled(name, precision), points=points, images=len(y), batch=batch, differing=int((bits != found['loop'].cpu()).sum()), changes=ev.found[0].changes, chunk=ev.found[1],
                share_of_peak={side: flops/row['seconds'][side]/peak(k, x.device) for side, k in formats.items()}, peak={str(k): peak(k, x.device) for k in formats.values()}, errors=[found['ours'].error.min().item(), found['ours'].error.max().item()], **row)

def mlp(o):
    net, a, b, x, y = perceptrons()
    T = Torus(find_symmetries(net, x[:2]))
    for precision in PRECISIONS:
        yield path_row('mlp, straight', net, Way((a, b)), x, y, 2500, 51, o.repeat, precision)
        yield path_row('mlp, geodesic', net, Way((T.project(a), T.project(b)), T), x, y, 2500, 51, o.repeat, precision)

def resnet18(o):
    images, batch, points = (1024, 128, 3) if o.device == 'cpu' else (10_000, 2500, 11)
    net, a, b, x, y = convolutional(1., images, o.device)
    for precision in PRECISIONS: yield path_row('resnet18' + f', {o.device}'*(o.device != 'cpu'), net, Way((a, b)), x, y, batch, points, min(3, o.repeat), precision)

def small(o):
    digits = load_data('digits').train
    for arch, width, images in (('mlp', .2, 1437), ('lenet', 1., 50), ('resnet18', .0625, 300), ('densenet121', .125, 300)):
        net, x, y = make_model(arch, size=8, width=width, seed=0).eval(), *(part[:images] for part in digits)
        path, ts = Way(random_states(net)), torch.linspace(0, 1, 11).tolist()
        ev, lean = (Evaluator(net, (x, y), 500) for _ in range(2))
        lean.lean(path(0))
        lean.found = find_twin(net, path(0), x[:4])[0], 500
        loop = lambda: torch.stack([wrong_of(net, path(t), x, y, 500) for t in ts])
        found, row = race(dict(loop=loop, ours=lambda: anew(ev).along(path, ts, 'none'), twin=lambda: anew(lean).along(path, ts, 'none')), 4*o.repeat)
        yield dict(name=f'small, {arch} at width {width:g}', points=len(ts), images=images, differing=int((unpack(ev.bits_along(path, ts, 'none'), images) != found['loop']).sum()), **row)

def energy_row(name, net, a, x, y, batch, repeat):
    T, ev = Torus(find_symmetries(net, x[:2])), Evaluator(net, (x, y), batch)
    p = T.project(a)
    def loop():
        clean, gen, rows = wrong_of(net, p, x, y, batch).double().mean(), stream('noise', 0), []
        for _ in range(20):
            z = draw(p, T.sym.parameters, gen)
            rows.append([(wrong_of(net, shaken(p, z, s), x, y, batch).double().mean()-clean).item() for s in SIGMAS])
        return torch.tensor(rows, dtype=torch.float64).mean(0)
    found, row = race(dict(loop=loop, ours=lambda: torch.tensor(local_energy(anew(ev), T, p, SIGMAS, 20, stream('noise', 0)).energy.to_numpy())), repeat)
    return dict(name=name, draws=20, sigmas=SIGMAS, images=len(y), batch=batch, largest_difference=(found['loop']-found['ours']).abs().max().item(), energy=found['ours'].tolist(), **row)

def energy(o):
    net, a, _, x, y = perceptrons()
    yield energy_row('local energy, mlp', net, a, x, y, 2500, min(3, o.repeat))

def energy_conv(o):
    net, a, _, x, y = convolutional(.25, 400)
    yield energy_row('local energy, resnet18 at width 1/4', net, a, x, y, 200, min(2, o.repeat))

def theirs(o):
    "Runs in the environment that has loss-landscapes."
    import loss_landscapes
    from loss_landscapes.metrics import Loss
    net, a, b, x, y = perceptrons()
    path, ts = Way((a, b)), [(i+1)/51 for i in range(51)]
    start, end, metric = lift(net, a), lift(net, b), Loss(nn.functional.cross_entropy, x, y)
    wrong = torch.stack([wrong_of(net, path(t), x, y, 2500) for t in ts])
    for precision in PRECISIONS:
        ev = Evaluator(net, (x, y), 2500, precision=precision)
        found, row = race(dict(loop=lambda: loss_landscapes.linear_interpolation(start, end, metric, steps=51, deepcopy_model=True), ours=lambda: anew(ev).along(path, ts, 'none').loss.numpy()), o.repeat)
        yield dict(name=titled('loss-landscapes, mlp', precision), points=51, images=len(y), differing=int((unpack(ev.bits_along(path, ts, 'none'), len(y)) != wrong).sum()),
                   largest_difference_of_loss=float(abs(found['loop']-found['ours']).max()), largest_loss=float(found['loop'].max()), **row)

def loss_landscapes(o):
    python = own_python('loss-landscapes', LOSS_LANDSCAPES)
    r = subprocess.run([python, __file__, '--theirs', '--repeat', str(o.repeat), '--threads', str(o.threads)], capture_output=True, text=True)
    if r.returncode: raise SystemExit(r.stderr)
    for row in r.stdout.strip().splitlines()[-len(PRECISIONS):]: yield dict(json.loads(row), versions=version_in(python, 'loss-landscapes'))

def refresh(o):
    net, a, _, x, y = convolutional(.25, 2000)
    theirs = lift(net, a)
    statistics = lambda s: {k: v.double() for k, v in s.items() if k.endswith(('running_mean', 'running_var'))}
    def update():
        torch.optim.swa_utils.update_bn(x.split(250), theirs)
        return statistics(theirs.state_dict())
    exact = statistics(Evaluator(net, (x.double(), y), 2000).refresh({k: v.double() if v.is_floating_point() else v for k, v in a.items()}))
    for name, batch in (('one batch', 2000), ('batches of 250', 250)):
        ev = Evaluator(net, (x, y), batch)
        found, row = race(dict(loop=update, ours=lambda: statistics(ev.refresh(a))), o.repeat)
        off = {side: max(((s[k]-exact[k]).abs().max()/exact[k].abs().max()).item() for k in exact) for side, s in found.items()}
        yield dict(name=f'refresh, resnet18, {name}', images=2000, off=off, **row)

def layout(o):
    from torchvision import models
    small = ((a, w, make_model(a, width=w, seed=0).eval(), torch.randn(300, 1, 28, 28, generator=stream('bench', 'images'))) for a, w in (('resnet18', .125), ('vgg16_bn', .25), ('densenet121', .125)))
    large = ((a, 1., getattr(models, a)(num_classes=10).eval(), torch.randn(64, 3, 64, 64, generator=stream('bench', 'images'))) for a in ('resnet18', 'vgg16_bn', 'densenet121', 'resnet50', 'mobilenet_v2', 'squeezenet1_1'))
    for arch, width, net, x in chain(small, large):
        y, state = torch.zeros(len(x), dtype=torch.long), state_of(net)
        ours, first = (Evaluator(net, (x, y), 128) for _ in range(2))
        (twin, chunk), _ = ours.lean(state), first.lean(state)
        first.found = Twin(first.net, [p[:2] for p in twin.pairs], twin.first, {*twin.changes} & {'fold', 'inplace'}), chunk
        found, row = race(dict(loop=lambda: first.wrong(state), ours=lambda: ours.wrong(state)), o.repeat)
        yield dict(name=f'layout, {arch} at width {width:g}', images=len(x), changes=twin.changes, differing=int((found['ours'] != found['loop']).sum()), **row)

def memory(o):
    net = make_model('densenet121', seed=0).eval()
    a, b = state_of(net), state_of(make_model('densenet121', seed=1))
    x, y = torch.randn(500, 1, 28, 28, generator=stream('bench', 'images')), torch.randint(10, (500,), generator=stream('bench', 'labels'))
    wrong_of(net, a, x[:4], y[:4], 4)
    _, _, one = peak_of(lambda: wrong_of(net, a, x[:250], y[:250], 250))
    _, seconds, path = peak_of(lambda: Evaluator(net, (x, y), 250).along(Way((a, b)), [0, .25, .5, .75, 1], 'none'))
    yield dict(name='memory, densenet121', points=5, images=500, batch=250, forward_bytes=one, path_bytes=path, ratio=path/one, path_seconds=seconds)

ROWS = dict(product=product, wide=wide, perceptron=chained, mlp=mlp, resnet18=resnet18, small=small, energy=energy, refresh=refresh, layout=layout, memory=memory) | {'energy-conv': energy_conv, 'loss-landscapes': loss_landscapes}

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
        for row in theirs(o): print(json.dumps(row))
        sys.exit()
    out = Path(o.out)
    for name in o.rows:
        for row in ROWS[name](o):
            print(json.dumps(row), flush=True)
            kept = {r['name']: r for r in json.loads(out.read_text())['rows']} if out.exists() else {}
            kept[row['name']] = row | dict(threads=o.threads, load=os.getloadavg()[0])
            out.write_text(json.dumps(dict(machine=describe_machine(), rows=[*kept.values()]), indent=1)+'\n')      # rows of other runs stay
