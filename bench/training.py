"""How fast do minimizers train? Ratios of one run, on one machine. One command, one JSON.

    python bench/training.py [--device cuda] [--steps 12] [--compile] [--out bench/results/training.json]

resnet18 of width 1/4 (16 channels) on 28x28 images, batch 128: a plain loop (DataLoader, float32, channels first, torch.optim.SGD) beside the engine's step on the same threads, and beside one run
per core with one thread each, which is how a sweep uses a machine; blocks of steps of each in turn, medians of their rates. `--compile` adds torch.compile, its warm-up counted separately.
`core` measures the same two steps in one core's own seconds, which mean something on a busy machine too.
`memory`: a step of the study's convolutional networks, a process per core with one thread each, where a process keeps the memory that it frees as those of a sweep do, and where it does not; blocks in turn, new processes for each;
alone by `--blocks 2 --steps 6 --skip core sweep resnet`.
A sweep of six mlp recipes: one after another with all threads, and as `minimize_many` does it. On a GPU as well: images/s against the card's own bfloat16 matrix product, and 16 mlp seeds together and in a loop.
"""
import argparse, json, multiprocessing, os, statistics, tempfile, time
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from landscape_nb.data import load_data
from landscape_nb.training.engine import fast_dtype, prepare
from landscape_nb.evaluation.twin import laid_out
from landscape_nb.models import make_model
from landscape_nb.optimizers import Recipe, Training, minimize, minimize_many, phases
from landscape_nb.matching.similarity import rounded_products
from landscape_nb.store import Store, _in_worker, _task, stream, sweep
from device import peak, wait
from kept import RESULTS, keep

B, WIDTH = 128, .25
recipe = lambda n: Recipe('resnet18', 'fashion_mnist', 'sgd', 0, n, WIDTH, epochs=10**5, batch=B, lr=.01)

def plain(data, device, last=False, compiled=False):
    "A function that trains one step after another, as a first tutorial would"
    net = make_model('resnet18', width=WIDTH, seed=0).to(device)
    if last: net = net.to(memory_format=torch.channels_last)
    if compiled: net = torch.compile(net)
    opt = torch.optim.SGD(net.parameters(), .01, .9)
    def forever():
        while True: yield from DataLoader(TensorDataset(*(t.cpu() for t in data.train)), B, shuffle=True, drop_last=True)
    batches = forever()
    def steps(n):
        for _ in range(n):
            x, y = next(batches)
            loss = F.cross_entropy(net(x.to(device)), y.to(device))
            opt.zero_grad(); loss.backward(); opt.step()
        wait(device)
    return steps

def ours(data, device):
    "The same by the engine: whole epochs of as many images as there are steps"
    run = Training(recipe(len(data.y_train)), data)
    phase, = phases(run.recipe)
    def steps(n):
        with rounded_products(): run.epoch(phase, len(run.logs[0])); run.logs[0].append(0)
        wait(device)
    return steps

def rate(steps, n):
    t0 = time.perf_counter(); steps(n)
    return n*B/(time.perf_counter() - t0)

def _alone(n, blocks, ready, go, out, kind):
    torch.set_num_threads(1)
    data = load_data('fashion_mnist', n*B)
    steps = (ours if kind == 'ours' else plain)(data, 'cpu')
    steps(n)
    for _ in range(blocks):
        ready.wait(); go.wait()
        out.put(rate(steps, n))

def resnet(o):
    n, cores = o.steps, os.cpu_count()
    data = load_data('fashion_mnist', n*B, device=o.device)
    ways = dict(plain=plain(data, o.device), engine=ours(data, o.device))
    warm = {}
    if o.compile: ways |= {'plain compiled': plain(data, o.device, compiled=True), 'compiled, channels last': plain(data, o.device, True, True)}
    for k, f in ways.items(): t0 = time.perf_counter(); f(2 if k.startswith('plain') or 'compiled' in k else n); warm[k] = time.perf_counter() - t0
    rates = {k: [] for k in ways}
    for _ in range(o.blocks):
        for k, f in ways.items(): rates[k].append(rate(f, n))
    if o.device == 'cpu':
        ctx = multiprocessing.get_context('spawn')
        ready, go, out = ctx.Barrier(cores + 1), ctx.Barrier(cores + 1), ctx.Queue()
        workers = [ctx.Process(target=_alone, args=(n, o.blocks, ready, go, out, 'ours')) for _ in range(cores)]
        for w in workers: w.start()
        rates['engine, a run per core'] = []
        for _ in range(o.blocks):
            ready.wait(); go.wait()
            rates['engine, a run per core'].append(sum(out.get() for _ in workers))
            rates['plain'].append(rate(ways['plain'], n))        # beside it, in turn
        for w in workers: w.join()
    best = {k: statistics.median(v) for k, v in rates.items()}
    return dict(arch='resnet18', width=WIDTH, image=28, batch=B, steps=n, blocks=o.blocks, images_per_second=best, all=rates, warm_up_seconds=warm,
                ratio={k: best[k]/best['plain'] for k in best}, dtype=str(fast_dtype(o.device)))

def core(o):
    "On a machine that others use too: images per second of one core's own time (process_time), one thread, blocks in turn"
    torch.set_num_threads(1)
    n, data = 4, load_data('fashion_mnist', 4*B)
    ways, rates = dict(plain=plain(data, 'cpu'), engine=ours(data, 'cpu')), dict(plain=[], engine=[])
    for f in ways.values(): f(n)
    for _ in range(o.blocks):
        for k, f in ways.items(): t0 = time.process_time(); f(n); rates[k].append(n*B/(time.process_time() - t0))
    best = {k: statistics.median(v) for k, v in rates.items()}
    return dict(arch='resnet18', width=WIDTH, image=28, batch=B, images_per_core_second=best, all=rates, ratio=best['engine']/best['plain'])

def six():
    return [Recipe('mlp', 'fashion_mnist', a, s, 10_000, epochs=6, lr=.05, random_epochs=6) for a in ('sgd', 'rsgd', 'sam') for s in (0, 1)]

def mlp_sweep(o):
    "Six recipes: one after another under all threads, a plain loop of minimize; and one process each"
    data = load_data('fashion_mnist', 10_000)
    def serial(threads):
        torch.set_num_threads(threads); store = Store(tempfile.mkdtemp()); t0 = time.perf_counter()
        for r in six(): minimize(r, store, data=data, progress=False)
        return time.perf_counter() - t0
    def parallel():
        store = Store(tempfile.mkdtemp()); t0 = time.perf_counter(); minimize_many(six(), store)
        return time.perf_counter() - t0
    sweep([(max, (0, 1))]*4, 0)                       # the processes are there, as they are in a study
    minimize_many([Recipe('mlp', 'fashion_mnist', 'sgd', 9 + s, 10_000, epochs=1) for s in range(4)], Store(tempfile.mkdtemp()))
    rows = []
    for _ in range(o.blocks): rows.append((serial(os.cpu_count()), parallel()))
    one, many = (statistics.median(c) for c in zip(*rows))
    return dict(recipes=len(six()), one_after_another=one, a_process_each=many, all=rows, ratio=one/many)

def _step(arch, width, batch, n):
    "Seconds of one step"
    rows, gradient = prepare([make_model(arch, width=width, seed=0)])
    gen = stream('bench', arch)
    x, y = laid_out(torch.randn(batch, 1, 28, 28, generator=gen), rows.last), torch.randint(10, (batch,), generator=gen)
    for _ in range(3): gradient([x], [y])
    t0 = time.perf_counter()
    for _ in range(n): gradient([x], [y])
    return (time.perf_counter() - t0)/n

def memory(o):
    import joblib
    cores, nets = os.cpu_count(), dict(resnet18=(.125, 32), vgg16_bn=(.25, 32), densenet121=(.125, 16))
    seconds = {arch: dict(kept=[], given_back=[]) for arch in nets}
    for arch, (width, batch) in nets.items():
        for _ in range(o.blocks):
            for kind, run in dict(kept=_in_worker, given_back=_task).items():
                seconds[arch][kind] += [s for _, s in joblib.Parallel(cores, backend='loky')(joblib.delayed(run)(i, _step, (arch, width, batch, 5*o.steps), 1, '') for i in range(cores))]
                joblib.externals.loky.get_reusable_executor().shutdown()
    best = {arch: {k: statistics.median(v) for k, v in found.items()} for arch, found in seconds.items()}
    return dict(width_and_batch=nets, processes=cores, seconds=best, all=seconds, ratio={arch: t['given_back']/t['kept'] for arch, t in best.items()})

def gpu(o):
    data = load_data('fashion_mnist', 10_000, device=o.device)
    seeds = [Recipe('mlp', 'fashion_mnist', 'sgd', s, 10_000, epochs=5) for s in range(16)]
    times = []
    for batched in (False, True):
        minimize_many(seeds[:2], Store(tempfile.mkdtemp()), o.device, data, 1, batched)
        t0 = time.perf_counter(); minimize_many(seeds, Store(tempfile.mkdtemp()), o.device, data, 1, batched); wait(o.device); times.append(time.perf_counter() - t0)
    return dict(bf16_matmul_flops=peak(torch.bfloat16, o.device), seeds=len(seeds), loop=times[0], batched=times[1], ratio=times[0]/times[1])

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--steps', type=int, default=12); parser.add_argument('--blocks', type=int, default=5)
    parser.add_argument('--compile', action='store_true'); parser.add_argument('--skip', nargs='*', default=[])
    parser.add_argument('--out', default=str(RESULTS/'training.json'))
    o = parser.parse_args()
    for name, f in dict(core=core, memory=memory, sweep=mlp_sweep, resnet=resnet, **(dict(gpu=gpu) if o.device != 'cpu' else {})).items():
        if name in o.skip: continue
        torch.set_num_threads(os.cpu_count())
        row = dict(name=name, **f(o))
        print(json.dumps({k: v for k, v in row.items() if k != 'all'}), flush=True)
        keep(o.out, [row])
