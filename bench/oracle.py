"""What the benches of symmetries share: an oracle that knows nothing of how symmetries are found, and a runner of one process per network.

The oracle runs the MODULE itself in float64 (no exported graph) on a random state: weights N(0, 2/fan_in) where more than one axis is longer
than 1, else ±(0.3 + 0.7|N|); buffers in [0.5, 1.5], running statistics then times a third of the scale of what their normalisation reads (one
number for all its channels): gates do not saturate, and early layers count to the end. This replaces zeros such as class tokens and layer
scales. It measures the relative change of the logits, max|y-z| / max|y|. The limit is 1e-9, or 1000 times the change under relative noise of
1e-16 on all parameters if that is more.

Channel axes (`Oracle.channel_axes`) are read from the modules, not from what was found. They are
- axes 0 and 1 of the weights of Linear, convolutions (transposed too), MultiheadAttention and recurrent layers, and axis 0 of their biases;
- axis 0 of the weights, biases and running statistics of normalisations; axis 1 of an Embedding;
- of a parameter that a module holds itself (class token, layer scale, position embedding, table of position biases): its one axis longer than 1;
  with several, the one of the size `num_heads` of its module, else axis 1 of [1, C, H, H], else the last.
Not counted: axes of size 1; tensors that the logits do not depend on in evaluation mode (no gradient, and new random values move nothing: heads
that do not run, the bias of keys); and what cannot move by construction: axis 1 of the layers that read the input, axis 0 of the layers that
write the logits (their rows, moved round together, move the logits round). Token axes of mixers count, and stay: a place in the image is no unit.
Coverage is the share of the positions on channel axes that random permutations of all blocks move. It asks the action itself: a tensor that is
0, 1, 2, ... along one axis is moved, and compared.
"""
import argparse, ctypes, gc, json, os, re, subprocess, sys, tempfile, threading, time, traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from landscape_nb.store import describe_machine, stream
from kept import keep, read, short

ROOT = Path(__file__).resolve().parent.parent
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
CONTRACTIONS = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention, nn.modules.rnn.RNNBase)

# networks

def forget(model):
    "Empty the caches of attention biases that some modules keep in evaluation mode: a new state needs a new cache."
    for m in model.modules():
        for k, v in vars(m).items():
            if k.endswith('_cache') and isinstance(v, dict): v.clear()

def accepts(model, x):
    with torch.no_grad():
        try: model(x)
        except Exception: return False
        finally: forget(model)
    return True

SIDES = dict(inception_v3=96, maxvit_t=224, vit_b_16=64, vit_b_32=64, vit_l_16=64, vit_l_32=64, vit_h_14=56)   # else 64, else 224

def torchvision_net(name):
    "The network with random weights, and two images. Vision transformers are built for small images: only their position embedding is shorter."
    from torchvision import models
    side, kwargs = SIDES.get(name, 64), {}
    if name.startswith('vit_'): kwargs['image_size'] = side
    if name in ('inception_v3', 'googlenet'): kwargs['init_weights'] = False
    model = models.get_model(name, weights=None, **kwargs).eval()
    for side in (side, 224):
        x = torch.randn(2, 3, side, side, generator=stream('bench', 'images'))
        if accepts(model, x): return model, x
    raise ValueError(f'{name} takes neither {SIDES.get(name, 64)} nor 224 pixels')

def timm_net(name):
    "The same from timm; networks with a fixed image size take their own."
    import timm
    model = timm.create_model(name, pretrained=False, num_classes=1000).eval()      # some come without a last layer
    for side in (64, model.default_cfg['input_size'][-1]):
        x = torch.randn(2, 3, side, side, generator=stream('bench', 'images'))
        if accepts(model, x): return model, x
    raise ValueError(f'{name} takes neither 64 pixels nor its own size')

def structure_net(name):
    "One of the small structures of the tests."
    sys.path.insert(0, str(ROOT/'tests'))
    from structures import STRUCTURES
    torch.manual_seed(0)
    model, x = STRUCTURES[name]()
    return model.eval(), x

def structure_names():
    sys.path.insert(0, str(ROOT/'tests'))
    try: import structures
    except ImportError: return []
    return list(getattr(structures, 'PEERS', structures.STRUCTURES))

# the oracle

def batch(x):
    "At least two examples, as a tuple of inputs."
    xs = x if isinstance(x, (tuple, list)) else (x,)
    return tuple(e.repeat(2, *[1]*(e.dim()-1)) if len(e) == 1 else e for e in xs)

def output(y): return y[0] if isinstance(y, (tuple, list)) else y

def relative(y, z):
    "max|y-z| / max|y|; infinite where z is not finite."
    if not z.isfinite().all(): return float('inf')
    return ((y-z).abs().max() / y.abs().max().clamp_min(1e-300)).item()

class Wide(TorchFunctionMode):
    "Inside, code that asks for single precision gets double: a norm in float32 would hide changes below 1e-7, and make some."
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (Tensor.float, Tensor.half, Tensor.bfloat16): return args[0].double()
        wide = lambda v: torch.float64 if isinstance(v, torch.dtype) and v in (torch.float32, torch.float16, torch.bfloat16) else v
        return func(*map(wide, args), **{k: wide(v) for k, v in (kwargs or {}).items()})

class Oracle:
    "Takes the model over: it becomes float64 in place, and its tensors become the random state `a`."
    def __init__(self, model, x, *seed):
        self.model, self.gen = model.double().eval(), stream('oracle', *seed)
        self.x = tuple(e.double() if e.is_floating_point() else e for e in batch(x))
        self.tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        self.parameters, self.a = frozenset(dict(model.named_parameters())), {k: v.detach() for k, v in self.tensors.items()}
        for k, v in self.a.items(): v.copy_(self.draw(k))
        self.calibrate()
        self.y = self.logits(self.a)
        if not self.y.isfinite().all() or self.y.abs().max() == 0: raise ValueError('the logits of the random state are not finite, or all zero')
        self.floor = self.change({k: v*(1+1e-16*self.normal(v.shape)) if k in self.parameters else v for k, v in self.a.items()})
        self.limit = max(1e-9, 1000*self.floor)
        self.visible = 1000*self.limit      # what a planted error must exceed

    def normal(self, shape): return torch.randn(shape, generator=self.gen, dtype=torch.float64)

    def draw(self, name):
        "New random values for one tensor; integers stay."
        v = self.a[name]
        if not v.is_floating_point(): return v
        if name not in self.parameters: return .5 + torch.rand(v.shape, generator=self.gen, dtype=torch.float64)
        long, x = [s for s in v.shape if s > 1], self.normal(v.shape)
        return x*(2/(v.numel()//long[0]))**.5 if len(long) > 1 else x.sign()*(.3+.7*x.abs())

    def calibrate(self):
        "Running statistics to a third of the scale of what is normalised: then a bias outweighs no signal, and early layers count to the end."
        done = set()
        def hook(m, args):
            if m in done or getattr(m, 'running_var', None) is None: return
            done.add(m); scale = args[0].square().mean().sqrt().clamp_min(1e-3)/3
            m.running_mean.mul_(scale); m.running_var.mul_(scale**2)
        handles = [m.register_forward_pre_hook(hook) for m in self.model.modules() if isinstance(m, NORMS)]
        self.logits(self.a)
        for h in handles: h.remove()

    def logits(self, state):
        "The state is put in as data: `functional_call` leaves a module that is registered twice without its parameters (torch 2.14)."
        forget(self.model)
        for k, t in self.tensors.items(): t.data = state[k]
        with torch.no_grad(), Wide(): y = output(self.model(*self.x)).clone()
        for k, t in self.tensors.items(): t.data = self.a[k]
        forget(self.model)
        return y

    def change(self, state): return relative(self.y, self.logits(state))

    def matters(self, *names, state=None):
        "Do new random values of these tensors move the logits?"
        state = state or self.a
        return relative(self.logits(state), self.logits(state | {k: self.draw(k) for k in names})) > self.visible

    def planted(self, moved, k):
        "The smallest change when one of `k` random moved tensors is put back; tensors without influence are passed over."
        names = [n for n in moved if moved[n].is_floating_point() and not torch.equal(moved[n], self.a[n])]
        changes = []
        for i in torch.randperm(len(names), generator=self.gen).tolist():
            if len(changes) == k: break
            c = self.change(moved | {names[i]: self.a[names[i]]})
            if c > self.visible or self.matters(names[i], state=moved): changes.append((c, names[i]))
        return min(changes, default=(None, None))

    def order(self):
        "Layers in the order in which they run, each with 'does it read the input itself?', and the number of logits."
        seen, own = [], {e.untyped_storage().data_ptr() for e in self.x}
        def hook(m, args): seen.append((m, any(isinstance(e, Tensor) and e.untyped_storage().data_ptr() in own for e in args)))
        handles = [m.register_forward_pre_hook(hook) for m in self.model.modules() if isinstance(m, (*CONTRACTIONS, nn.Embedding))]
        y = output(self.model(*self.x))          # with gradients: the fast paths of attention skip modules
        for h in handles: h.remove()
        forget(self.model)
        return seen, y

    def channel_axes(self):
        "dict (tensor, axis) -> positions counted, and the modules that write the logits; see the top of this file."
        seen, y = self.order()
        used, fixed, last = self.used(y), set(), self.writers([m for m, _ in seen])
        for k, (m, reads) in enumerate(seen):
            if (k == 0 or reads) and not isinstance(m, nn.Embedding):
                fixed |= {(id(p), 1) for n, p in m.named_parameters(recurse=False) if p.dim() > 1 and (not isinstance(m, nn.RNNBase) or n.startswith('weight_ih_l0'))}
        for m in last: fixed |= {(id(p), 0) for p in m.parameters()}
        axes, name_of = {}, {id(v): k for k, v in [*self.model.named_parameters(), *self.model.named_buffers()]}
        for m in self.model.modules():
            for n, p in [*m.named_parameters(recurse=False), *m.named_buffers(recurse=False)]:
                name = name_of[id(p)]
                if name not in used: continue
                for axis in self.axes_of(m, n, p):
                    if p.shape[axis] > 1 and (id(p), axis) not in fixed: axes[name, axis] = p.shape[axis]
        return axes, last

    def writers(self, layers):
        "The layers that write the logits: the fewest at the end whose rows, moved round together, move the logits round."
        width, name_of, rows = self.y.shape[-1], {id(t): n for n, t in self.tensors.items()}, []
        for k, m in enumerate(reversed(layers)):
            if getattr(m, 'out_features', getattr(m, 'out_channels', None)) != width: break
            rows += [name_of[id(p)] for p in m.parameters()]
            if relative(self.y.roll(1, -1), self.logits(self.a | {n: self.a[n].roll(1, 0) for n in rows})) < self.limit: return layers[len(layers)-k-1:]
        return layers[-1:] if layers and getattr(layers[-1], 'out_features', getattr(layers[-1], 'out_channels', None)) == width else []

    @staticmethod
    def axes_of(m, n, p):
        "The channel axes of parameter or buffer `n` of module `m`."
        if isinstance(m, NORMS) and (isinstance(p, nn.Parameter) or n in ('running_mean', 'running_var')): return (0,) if p.dim() != 2 else (1,)
        if not isinstance(p, nn.Parameter): return ()
        if isinstance(m, CONTRACTIONS) and (n.startswith(('weight', 'in_proj_weight')) or n.endswith('proj_weight')) and p.dim() > 1: return (0, 1)
        if isinstance(m, nn.Embedding): return (1,)
        long = [d for d, s in enumerate(p.shape) if s > 1]
        if len(long) < 2: return long
        heads = [d for d in long if p.shape[d] == getattr(m, 'num_heads', None)]
        if heads: return heads[:1]
        return (1,) if p.dim() == 4 and p.shape[0] == 1 and p.shape[2] == p.shape[3] != p.shape[1] else long[-1:]

    def used(self, y):
        "Names of the tensors that the logits depend on."
        names, ps = zip(*[(n, p) for n, p in self.model.named_parameters() if p.requires_grad])
        weights = torch.randn(y.shape, generator=stream('oracle', 'probe'), dtype=y.dtype)
        grads = torch.autograd.grad((y*weights).sum(), ps, allow_unused=True)
        scale, used = self.y.abs().max().item(), set()
        used |= {n for n, p, g in zip(names, ps, grads) if g is not None and (g.abs().max()*p.abs().max()).item() > 1e-10*scale}
        del grads, y
        home = lambda n: n.rpartition('.')[0]
        homes = {home(n) for n in used}
        used |= {n for n in self.a if n not in self.parameters and home(n) in homes}
        rest = [n for n, v in self.a.items() if n not in used and v.is_floating_point()]
        if rest and self.matters(*rest): used |= {n for n in rest if self.matters(n)}
        return used

    def coverage(self, act, axes=None):
        "Share of the positions on channel axes that `act(state, generator)` moves in some draw; it ends with 3 draws in a row that move none anew."
        axes = axes or self.channel_axes()[0]
        moved = {key: torch.zeros(n, dtype=torch.bool) for key, n in axes.items()}
        tag = lambda v, k: torch.arange(v.shape[k], dtype=torch.float32).view(-1, *[1]*(v.dim()-k-1)).expand(v.shape)
        for k in sorted({axis for _, axis in axes}):
            tags = {n: tag(v, k) if v.dim() > k else torch.zeros(()).expand(v.shape) for n, v in self.a.items()}
            quiet, draws, here = 0, 0, {n: m for (n, axis), m in moved.items() if axis == k}
            while quiet < 3 and draws < 16 and not all(m.all() for m in here.values()):
                before, out = sum(int(m.sum()) for m in here.values()), act(tags, self.gen)
                for n, m in here.items():
                    if out[n] is tags[n] or m.all(): continue
                    others = [d for d in range(out[n].dim()) if d != k]
                    m |= (out[n] != tags[n]).any(others) if others else out[n] != tags[n]
                del out
                draws, quiet = draws+1, quiet+1 if sum(int(m.sum()) for m in here.values()) == before else 0
        return sum(int(m.sum()) for m in moved.values())/max(1, sum(axes.values()))

def ours(sym):
    "The random permutations of a group as `act(state, generator)`."
    return lambda state, gen: sym.sample(generator=gen, kinds=('permute',))(state)

# one process per network

def status(key):
    "A line of /proc/self/status in bytes."
    return 1024*int(re.search(rf'{key}:\s+(\d+)', Path('/proc/self/status').read_text())[1])

def trim():
    gc.collect()
    try: ctypes.CDLL('libc.so.6').malloc_trim(0)
    except OSError: pass

def peak_of(f):
    "Result, seconds, and the peak of the resident memory above the level before, in bytes (None where Linux does not tell)."
    trim()
    try: Path('/proc/self/clear_refs').write_text('5'); before = status('VmRSS')     # 5: the high-water mark starts again from here
    except (OSError, TypeError): before = None
    start = time.perf_counter(); result = f(); seconds = time.perf_counter()-start
    return result, seconds, None if before is None else max(0, status('VmHWM')-before)

def first_line(e):
    lines = [l for l in str(e).strip().splitlines() if l.strip()]
    return f'{type(e).__name__}: {lines[0] if lines else ""}'[:300]

def run_child(command, seconds, gib):
    "The JSON object that `command` prints in its last line, or a row that says why there is none; only this one process is ever ended."
    with tempfile.TemporaryFile('w+') as out, tempfile.TemporaryFile('w+') as err:
        start, why = time.monotonic(), None
        p = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT)
        while p.poll() is None:
            try: rss = int(Path(f'/proc/{p.pid}/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')
            except (OSError, IndexError): rss = 0
            if time.monotonic()-start > seconds: why = dict(verdict='timeout', why=f'more than {seconds:g} s in all')
            if rss > gib*2**30: why = dict(verdict='error', why=f'more than {gib:g} GiB of memory')
            if why: p.kill(); break
            time.sleep(.1)
        p.wait(); out.seek(0); err.seek(0)
        lines, trouble = out.read().strip().splitlines(), err.read().strip().splitlines()
    stage = {k: v for l in lines if l.startswith('{') for k, v in json.loads(l).items()}
    if why: return stage | why
    if p.returncode or not stage.get('verdict'): return stage | dict(verdict='error', why=f'exit {p.returncode}: {trouble[-1][:300] if trouble else ""}')
    return stage

def sweep(names, every, command, path, show, o, totals, tags=None, **extra):
    """Run every name in its own process, show each row when it is there, and keep it (bench/kept.py); then print the totals of this machine.
    With `o.resume` rows of this machine that are there are not measured again, but for those with a verdict in `o.retry`. `tags` are part of every
    row, and of what tells one row from another."""
    tags, lock, machine = tags or {}, threading.Lock(), describe_machine()
    order, key = list(dict.fromkeys([*every, *names])), ('name', 'machine', *tags)
    def mine(rows): return [r for r in rows if r['machine'] == short(machine) and all(r.get(k) == v for k, v in tags.items())]
    done = {r['name'] for r in mine(read(path)['rows']) if o.resume and r['verdict'] not in o.retry}
    def one(name):
        row = dict(name=name, **tags) | command(name)
        with lock:
            show(row)
            keep(path, [row], machine, key, order, **extra)
    with ThreadPoolExecutor(o.jobs) as pool: list(pool.map(one, [n for n in names if n not in done]))
    rows = mine(read(path)['rows'])
    print(json.dumps(totals(rows), indent=1), path, sep='\n')
    return rows

def options(doc, seconds, gib, out, child, names='NET'):
    "The arguments that every bench of one process per row takes."
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar=names)
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--limit-seconds', type=float, default=seconds, help='for one row')
    parser.add_argument('--limit-gib', type=float, default=gib, help='memory of one process')
    parser.add_argument('--resume', action='store_true', help='keep the rows of the JSON file that are there')
    parser.add_argument('--retry', nargs='*', default=[], metavar='VERDICT', help='with --resume: but not those with these verdicts')
    parser.add_argument('--list', action='store_true', help='print the names and stop')
    parser.add_argument('--out', default=out and str(ROOT/'bench'/'results'/out))
    parser.add_argument('--child', nargs=child, help=argparse.SUPPRESS)
    return parser

def answer(measure, *args):
    "What a child prints: its row, or why there is none."
    try: row = measure(*args)
    except Exception as e: row = dict(verdict='error', why=first_line(e), traceback=traceback.format_exc(limit=-4).splitlines())
    print('\n'+json.dumps(row), flush=True)
    sys.exit()

# other packages

def own_python(name, *requirements, whole=False):
    "The interpreter of an environment in the cache that has `requirements` (`whole`: and what they want), and sees the packages of this one behind them."
    home = Path(os.environ.get('XDG_CACHE_HOME', '~/.cache')).expanduser()/'landscape_nb'/'bench'/name
    python = home/'bin'/'python'
    if not (home/'ready').exists() or (home/'ready').read_text().split() != list(requirements):
        print(f'making {home} with {" ".join(requirements)}', file=sys.stderr)
        subprocess.run([sys.executable, '-m', 'venv', '--clear', str(home)], check=True)
        own, *_ = home.glob('lib/python*/site-packages')
        outer = [p for p in sys.path if p.endswith(('site-packages', 'dist-packages'))]
        (own/'outer.pth').write_text(''.join(f'import site; site.addsitedir({p!r})\n' for p in outer))      # also reads the .pth files there
        subprocess.run([str(python), '-m', 'pip', 'install', '-q', '--disable-pip-version-check', *([] if whole else ['--no-deps']), *requirements], check=True)
        (home/'ready').write_text('\n'.join(requirements))
    return str(python)

def version_in(python, *packages):
    code = 'import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))'
    return json.loads(subprocess.run([python, '-c', code, *packages], check=True, capture_output=True, text=True).stdout)
