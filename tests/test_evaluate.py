"The evaluator against the network itself: the same errors, sample for sample, whatever the way they were found."
from functools import cache
import pytest, torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset
from landscape_nb.evaluate import CHUNK, STATISTICS, Corrected, Evaluator, Job
from landscape_nb.search.group import generic_state, state_of
from landscape_nb.evaluation.kernels import compiled, linear
from landscape_nb.evaluation.twin import Products, find_twin, operations, watch
from landscape_nb.evaluation.margins import margins, pack, slack, unpack, verdict
from landscape_nb.models import make_model
from landscape_nb.paths import Path
from landscape_nb.store import stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus

WIDTH = dict(mlp=.2, lenet=1., vgg16_bn=.0625, resnet18=.0625, densenet121=.125)

ONEDNN = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason='convolves without oneDNN')

COMPILED = pytest.mark.skipif(compiled('perceptron') is None, reason='no C compiler')

@pytest.fixture(autouse=True, params=['torch', pytest.param('pixels', marks=ONEDNN), pytest.param('C', marks=COMPILED)])
def product(request, monkeypatch):
    "Every test with linear layers as they are, as convolutions, and in C, however small; with a twin, however little it saves."
    wanted = {'kernels.PIXELS': request.param == 'pixels', 'lean.PIXELS': request.param == 'pixels', 'kernels.LINEAR_IN_C': request.param == 'C', 'kernels.MANY': 1, 'kernels.MUCH': 1, 'kernels.WORTH': 1, 'evaluate.CALL': 0}
    for name, value in wanted.items(): monkeypatch.setattr(f'landscape_nb.{name}', value)
    return request.param

def images(n=400, size=8):
    gen = stream('test_evaluate')
    return torch.randn(n, 1, size, size, generator=gen), torch.randint(10, (n,), generator=gen)

def make(arch): return make_model(arch, size=8, width=WIDTH[arch], seed=0)

def drawn(net, *name, dtype=torch.float32):
    "Two random states."
    return [{k: v.to(dtype) if v.is_floating_point() else v for k, v in generic_state(state_of(net), dict(net.named_parameters()), stream(*name, i)).items()} for i in range(2)]

@cache
def states(arch, dtype=torch.float32): return drawn(make(arch), 'states', arch, dtype=dtype)

def evaluator(net, data, batch, precision):
    ev = Evaluator(net, data, batch, precision=precision)
    ev.screens = precision == 'screened'      # on any machine
    return ev

def as_it_is(ev, state): return ev.misses(ev.logits(state)).cpu()

def assert_a_path_is_a_loop(ev, path, ts, statistics='none'):
    seen, bits = Corrected(ev, path, statistics), unpack(ev.bits_along(path, ts, statistics), len(ev.y))
    assert torch.equal(bits, torch.stack([as_it_is(ev, seen(t)) for t in ts]))
    return bits

# the same errors

@pytest.mark.parametrize('precision', ['exact', 'screened'])
@pytest.mark.parametrize('arch', WIDTH)
def test_errors_are_those_of_the_network(arch, precision):
    ev, (a, b) = evaluator(make(arch), images(), 150, precision), states(arch)
    path = Path((a, b))
    for t in (0, .2, .5, 1): assert torch.equal(ev.wrong(path(t)), as_it_is(ev, path(t)))
    z = ev.logits(a)
    if precision == 'exact': assert abs(ev(a).loss - nn.functional.cross_entropy(z.double(), ev.y).item()) < 1e-5*z.abs().max()
    assert ev.found[0] and ('fold' in ev.found[0].changes) == bool(ev.norms)

LOOPS = [*[('mlp', r, s, 'exact') for r in (False, True) for s in STATISTICS], ('resnet18', True, 'exact', 'exact'), ('resnet18', False, 'repair', 'exact'), ('mlp', False, 'none', 'screened'), ('mlp', True, 'none', 'screened')]

@pytest.mark.parametrize('arch, round_, statistics, precision', LOOPS)
def test_a_path_is_a_loop(arch, round_, statistics, precision):
    ev, points = evaluator(make(arch), images(), 150, precision), [*states(arch), {k: (v+w)/2 for (k, v), w in zip(states(arch)[0].items(), states(arch)[1].values())}]
    T = Torus(find_symmetries(make(arch), ev.x[:2])) if round_ else None
    path = Path([T.project(p) for p in points] if T else points, T)
    ts = torch.linspace(0, 1, 15 if arch == 'mlp' else 5).tolist()
    bits = assert_a_path_is_a_loop(ev, path, ts, statistics)
    assert torch.equal(ev.along(path, ts, statistics).error, bits.double().mean(1))

@pytest.mark.parametrize('precision', ['exact', 'screened'])
def test_a_first_layer_is_computed_once_on_every_leg(monkeypatch, precision):
    calls = []
    at = Products.at
    monkeypatch.setattr(Products, 'at', lambda self, *args: calls.append(len(self.weights)) or at(self, *args))
    ev, (a, b) = evaluator(make('mlp'), images(), 150, precision), states('mlp')
    T = Torus(find_symmetries(make('mlp'), ev.x[:2]))
    p, q = T.project(a), T.project(b)
    for path in (Path((a, b)), Path((p, q), T), Path((p, T.geodesic(p, q, .4), q), T), lambda t: {k: (1-t)*v + t*b[k] for k, v in a.items()}):
        calls.clear()
        ev.along(path, torch.linspace(0, 1, 12).tolist())
        assert len(calls) == 3*getattr(path, 'legs', 1)     # one for each batch of each leg

def test_a_path_that_is_no_combination():
    ev, (a, b) = Evaluator(make('mlp'), images(), 150), states('mlp')
    bent = lambda t: {k: v*torch.exp(t*torch.sin(30*v)) for k, v in a.items()}
    frame = Products(ev.lean(a)[0], [bent(0.), bent(1.)], 2**20)
    mix = lambda s: frame.mixture(s['fc1.weight'], s['fc1.bias'])
    assert mix(bent(.5)) is None and mix(bent(1.)).c == (0, 1)
    ts = [0, .2, .4, .6, .8, 1]
    assert ev.along(bent, ts).error.tolist() == [as_it_is(ev, bent(t)).double().mean().item() for t in ts]

def planted_ties(n=300):
    "A linear network whose margins are all about as large as rounding."
    net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))
    gen = stream('ties')
    s = {k: torch.randn(v.shape, generator=gen) for k, v in state_of(net).items()}
    s['2.weight'] = s['2.weight'][:1] + 1e-7*torch.randn(3, 16, generator=gen)
    s['2.bias'] = s['2.bias'][:1] + 1e-7*torch.randn(3, generator=gen)
    return net, s, (torch.randn(n, 64, generator=gen), torch.randint(3, (n,), generator=gen))

@pytest.mark.parametrize('precision', ['exact', 'screened'])
def test_ties_are_decided_by_the_network(precision):
    net, s, data = planted_ties()
    ev = evaluator(net, data, 100, precision)
    asked, itself = [], ev.itself
    ev.itself = lambda state, x: asked.append(len(x)) or itself(state, x)
    assert torch.equal(ev.wrong(s), as_it_is(ev, s)) and asked.count(100) >= 3

@pytest.mark.parametrize('row', [0, 150, 299])
def test_doubt_asks_for_its_own_batch(row):
    "Batches are judged together; the network is asked for the one in which an image is in doubt."
    net, s, (x, y) = planted_ties()
    s = {k: torch.randn(v.shape, generator=stream('clear', k))*(v.dim() > 1) for k, v in s.items()}
    x[row] = 0          # all logits are equal
    ev = evaluator(net, (x, y), 100, 'exact')
    ev(s)
    asked, itself = [], ev.itself
    ev.itself = lambda state, x: asked.append(x) or itself(state, x)
    wrong = ev.wrong(s)
    assert [torch.equal(o, x[row//100*100:row//100*100+100]) for o in asked if len(o) == 100] == [True] and torch.equal(wrong, as_it_is(ev, s))

@pytest.mark.parametrize('shape', [(784,), (5, 784), (2, 3, 784), (1, 784)])
@pytest.mark.parametrize('dtype, rounding', [(torch.float32, 1e-4), (torch.float64, 1e-12), (torch.bfloat16, 1.)])
def test_a_linear_layer_is_one_by_either_library(shape, dtype, rounding):
    draw = lambda i, *shape: torch.randn(*shape, dtype=torch.float64, generator=stream('rows', i)).to(dtype)
    x, w = draw(0, *shape), draw(1, 10, 784)
    for b in (None, draw(2, 10)):
        y = linear(x, w, b)
        assert y.shape == (*shape[:-1], 10) and y.dtype == dtype and (y.double() - nn.functional.linear(*(o if o is None else o.double() for o in (x, w, b)))).abs().max() < rounding

@pytest.mark.parametrize('memory, images_at_once', [(2**12, 10), (2**16, 120), (2**22, 400)])
def test_logits_wait_for_each_other_in_an_eighth_of_the_memory(monkeypatch, memory, images_at_once):
    jobs, waited, sweep, decide = [], [], Evaluator.sweep, Job.decide
    monkeypatch.setattr(Evaluator, 'sweep', lambda self, many, products: jobs.append(len(many)) or sweep(self, many, products))
    monkeypatch.setattr(Job, 'decide', lambda self, x, y: waited.append((len(x), jobs[-1]*sum(z.untyped_storage().nbytes() for z in self.z))) or decide(self, x, y))
    Evaluator(make('mlp'), images(), 10, memory=memory).along(Path(states('mlp')), torch.linspace(0, 1, 12).tolist(), 'none')
    assert max(n for n, _ in waited) == images_at_once and all(n == 10 or size <= memory//8 for n, size in waited)

def test_without_the_recheck_ties_go_wrong(monkeypatch):
    net, s, data = planted_ties(3000)
    ev = evaluator(net, data, 100, 'screened')
    monkeypatch.setattr('landscape_nb.evaluate.slack', lambda *args: -1.)
    assert not torch.equal(ev.wrong(s), as_it_is(ev, s))

def test_slack_covers_the_rounding_of_images_it_has_not_seen():
    for arch in ('mlp', 'resnet18'):
        ev, (a, _) = Evaluator(make(arch), images(), 400), states(arch)
        twin, z = ev.lean(a)[0], ev.logits(a)
        for rough in (a, {k: v.bfloat16() if v.is_floating_point() else v for k, v in a.items()}):
            twin.load(twin.state(rough))
            o = twin(ev.x.to(next(iter(rough.values())).dtype)).float()
            twin.load(None)
            assert ((o-z).abs().amax(1) <= slack(o[:16], z[:16])*z.abs().amax(1)).all()

def test_layers_in_a_row_go_together(product):
    bare = lambda *of: nn.Sequential(nn.Flatten(), *of).eval()
    deep = bare(nn.Linear(64, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 33, bias=False), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(33, 20), nn.Tanh(), nn.ReLU(), nn.Linear(20, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Linear(50, 10))
    both, twice = nn.ReLU(), nn.Linear(20, 20)
    for net, rows in ((deep, [('3', '4', '5', '7'), ('9', '10', '12', '13')]), (make('mlp'), [('relu1', 'fc2', 'relu2', 'fc3')]), (bare(nn.Linear(64, 20), both, nn.Linear(20, 20), both, nn.Linear(20, 10)), []),
                      (bare(nn.Linear(64, 20), nn.ReLU(), twice, nn.ReLU(), twice, nn.ReLU(), nn.Linear(20, 10)), [('6', '7')]), (bare(nn.BatchNorm1d(64), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10)), [('2', '3', '4')])):
        a, b = drawn(net, 'rows')
        ev = Evaluator(net, images(), 150)
        assert_a_path_is_a_loop(ev, Path((a, b)), torch.linspace(0, 1, 6).tolist())
        twin = ev.found[0]
        assert ('chain' in twin.changes) == (product == 'C' and bool(rows)) and twin.chained == [k for row in rows for k in row if isinstance(net.get_submodule(k), nn.Linear)]*(product == 'C')
        held = sum(v.nbytes for v in twin.state(a).values())
        assert .9*held < twin.size(a) < 1.1*held

class ReadsFirst(nn.Module):
    "Reads what its first layer gives twice, once through a rectifier."
    def __init__(self): super().__init__(); self.a, self.r, self.b, self.c = nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10), nn.Linear(20, 10)
    def forward(self, x): h = self.a(x.flatten(1)); return self.b(self.r(h)) + self.c(h)

def test_what_lies_in_a_row_may_be_read_by_others(product):
    net = ReadsFirst().eval()
    ev = Evaluator(net, images(), 150)
    assert_a_path_is_a_loop(ev, Path(drawn(net, 'read')), torch.linspace(0, 1, 6).tolist())
    assert not ev.found[0].behind

def test_products_that_frames_share_are_made_once(monkeypatch):
    (a, b), c = states('mlp'), {k: v+1 for k, v in states('mlp')[0].items()}
    ev, fresh, made, at = Evaluator(make('mlp'), images(), 150), Evaluator(make('mlp'), images(), 150), [], linear
    monkeypatch.setattr('landscape_nb.evaluation.twin.linear', lambda x, w, b: made.append(len(x)*(w.shape[1] == 64)) or at(x, w, b))       # of the first layer
    ts = torch.linspace(0, 1, 6).tolist()
    for ends, new in (((a, b), 2), ((a, c), 1), ((c, b), 1), ((c, b), 0), ((b, c), 0), ((b, b), 0)):
        ev.lean(a); made.clear()
        found = ev.along(Path(ends), ts, 'none')
        n = sum(made)
        fresh.products = None
        assert n == 400*new and torch.equal(found.loss, fresh.along(Path(ends), ts, 'none').loss)
    moved = {k: v.clone() for k, v in b.items()}
    ev.along(Path((a, moved)), ts, 'none')
    for v in moved.values(): v.mul_(-1)      # another state in the same place
    assert torch.equal(ev.along(Path((a, moved)), ts, 'none').loss, Evaluator(make('mlp'), images(), 150).along(Path((a, moved)), ts, 'none').loss)
    ev.x.mul_(-1)                # other images
    assert torch.equal(ev.along(Path((a, b)), ts, 'none').loss, Evaluator(make('mlp'), (ev.x, ev.y), 150).along(Path((a, b)), ts, 'none').loss)
    ev.batch_size = 100          # other parts of them
    assert torch.equal(ev.along(Path((a, b)), ts, 'none').error, torch.stack([as_it_is(ev, Path((a, b))(t)).double().mean() for t in ts]))

class SharedKernels(nn.Module):
    "A wide convolution whose kernels something else reads too."
    def __init__(self): super().__init__(); self.a, self.b, self.out = nn.Conv2d(1, 260, 3, padding=1), nn.Conv2d(260, 260, 3, padding=1), nn.Linear(260, 10)
    def forward(self, x): return self.out((self.b(self.a(x).relu()) + self.b.weight.mean()).mean((2, 3)))

@pytest.mark.parametrize('c', [True, False], ids=['C', 'torch'])
def test_wide_kernels_multiply_less_and_judge_the_same(c, monkeypatch):
    if not c: monkeypatch.setattr('landscape_nb.evaluation.kernels.compiled', lambda part: None)
    wide = lambda **kw: nn.Conv2d(260, 260, 3, **kw)
    net = nn.Sequential(nn.Conv2d(1, 260, 3, padding=1), nn.ReLU(), wide(padding=(1, 0), bias=False), nn.BatchNorm2d(260), nn.ReLU(), wide(padding=1), nn.ReLU(), wide(padding=1, stride=2), nn.ReLU(),
                        wide(padding='same'), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(260, 10)).eval()
    for net, taken in ((net, {'2.weight': 4, '5.weight': 4}), (SharedKernels().eval(), {})):
        a, b = drawn(net, 'wide')
        ev = Evaluator(net, tuple(o[:60] for o in images()), 40)
        for t in (0, .5, 1): assert torch.equal(ev.wrong(Path((a, b))(t)), as_it_is(ev, Path((a, b))(t)))
        assert ev.found[0].wide == taken
        held = sum(v.numel()*v.element_size() for v in ev.found[0].state(a).values())
        assert .99*held < ev.found[0].size(a) < 1.01*held

def test_not_finite_is_wrong():
    ev, (a, _) = Evaluator(make('resnet18'), images(), 150), states('resnet18')
    assert ev({**a, 'fc.bias': a['fc.bias']*torch.nan}).error == 1 and ev({**a, 'fc.bias': a['fc.bias']+torch.inf}).error == 1

# networks without a twin, or with part of one

class Reads(nn.Module):
    "Reads between a layer and its normalisation, and the input of an activation after it."
    def __init__(self): super().__init__(); self.a, self.n, self.r, self.b = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)
    def forward(self, x): h = self.a(x.flatten(1)); g = self.n(h); return self.b(self.r(g) + g + h)

class Shared(nn.Module):
    def __init__(self): super().__init__(); self.a, self.n, self.b = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 10)
    def forward(self, x): return self.b(self.n(self.a(self.n(self.a(x.flatten(1))).relu())))

class First(nn.Module):
    "Works in place on what it is given, images included."
    def __init__(self): super().__init__(); self.r, self.b = nn.ReLU(), nn.Linear(64, 10)
    def forward(self, x): return self.b(self.r(x).flatten(1))

class Noisy(nn.Module):
    def __init__(self): super().__init__(); self.b = nn.Linear(64, 10)
    def forward(self, x): return self.b(x.flatten(1)) + torch.rand(len(x), 10).to(x)

MIXES = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False), nn.Linear(64, 10))

@pytest.mark.parametrize('net, changes', [(Reads(), ('padded',)), (Shared(), ('inplace', 'padded')), (First(), ()), (MIXES, None)], ids=lambda o: type(o).__name__)
def test_what_is_not_sure_is_left_alone(net, changes, product):
    s = generic_state(state_of(net), dict(net.named_parameters()), stream('odd'))
    ev = Evaluator(net, images(), 150)
    kept = ev.x.clone()
    assert torch.equal(ev.wrong(s), as_it_is(ev, s)) and torch.equal(ev.x, kept)
    assert (ev.found[0] and ev.found[0].changes) == (changes if changes is None else changes + ('pixels',)*(product == 'pixels'))

def test_a_random_network_has_no_twin(): assert find_twin(Noisy().eval(), state_of(Noisy()), images()[0][:4])[0] is None

def test_tied_weights():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    net[3].weight = net[1].weight
    ev, s = Evaluator(net, images(), 150), state_of(net)
    assert torch.equal(ev.wrong(s), as_it_is(ev, s)) and ev.found[0].first is None

# networks that are run as they are

class Odd(nn.Module):
    "Tied, parametrised, reached by two names, and with a buffer that every pass changes."
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.utils.parametrizations.weight_norm(nn.Linear(64, 10))
        self.b.weight, self.again = self.a.weight, self.out
        self.register_buffer('passes', torch.zeros(()))
    def forward(self, x):
        self.passes = self.passes + 1
        return self.again(self.b(self.a(x.flatten(1)).relu()).relu())*self.passes

@pytest.mark.parametrize('net', [Odd(), *map(make, WIDTH)], ids=lambda o: type(o).__name__)
def test_the_network_itself_with_its_tensors_put_in_place(net):
    x, kept = images(20), {k: v.clone() for k, v in state_of(net).items()}
    ev, states = Evaluator(net, x), [generic_state(kept, dict(net.named_parameters()), stream('itself', i)) for i in (0, 1)]
    for s in (*states, states[0]):
        for again in range(2): assert torch.equal(ev.itself(s, x[0].to(torch.float64)), ev.forward(s, x[0].to(torch.float64)))
    assert all(torch.equal(v, kept[k]) for k, v in state_of(net).items())
    assert all(table[k].is_meta for table, k, _, _ in ev.plain.slots)

@pytest.mark.parametrize('arch', WIDTH)
def test_little_work_is_left_to_the_network(arch, monkeypatch):
    (a, b), data = states(arch), images()
    calls, _ = watch(make(arch).eval(), a, data[0][:2])
    even = operations(calls)/2*400/len(calls)
    def judged_with(call):
        monkeypatch.setattr('landscape_nb.evaluate.CALL', call)
        ev = Evaluator(make(arch), data, 150)
        return ev, ev.lean(a)[0]
    (lean, twin), (ev, none), asked = judged_with(.99*even), judged_with(1.01*even), []
    assert twin and none is None
    itself = ev.itself
    ev.itself = lambda state, x: asked.append(len(x)) or itself(state, x)
    for path, ts in ((Path((a, b)), [0, .2, .4, .6, .8, 1]), (lambda t: a, [0])):
        asked.clear()
        found, as_wanted = ev.along(path, ts, 'none'), lean.along(path, ts, 'none')
        assert torch.equal(found.error, as_wanted.error) and torch.allclose(found.loss, as_wanted.loss, rtol=1e-4) and asked == [150, 150, 100]*len(ts)
        assert torch.equal(ev.bits_along(path, ts, 'none'), lean.bits_along(path, ts, 'none'))
    z = ev.logits(a).double()
    assert abs(ev(a, 3.).loss - nn.functional.cross_entropy(3*z, ev.y).item()) < 1e-12*z.abs().max()
    assert ev({k: v*torch.nan if v.is_floating_point() else v for k, v in a.items()}).error == 1

# data that is no tensor

def test_batches_from_anywhere():
    x, y = images()
    (a, b), whole = states('resnet18'), Evaluator(make('resnet18'), (x, y), 70)
    batches = [(x[i:i+70], y[i:i+70]) for i in range(0, 400, 70)]
    for data in (DataLoader(TensorDataset(x, y), 70), batches, iter(batches)):
        ev = Evaluator(make('resnet18'), data)
        assert all(torch.equal(ev.wrong(s), whole.wrong(s)) for s in (a, b)) and not ev.tensors
        assert ev.along(Path((a, b)), [0, .5, 1]).error.tolist() == whole.along(Path((a, b)), [0, .5, 1]).error.tolist()
    assert ev.x.shape == x.shape and ev.tensors

def test_small_batches_are_settled_together(monkeypatch):
    monkeypatch.setattr('landscape_nb.evaluation.kernels.compiled', lambda part: None)      # the network itself, whose passes are counted
    (x, y), a = images(), states('resnet18', torch.float64)[0]
    ev, asked = Evaluator(make('resnet18'), DataLoader(TensorDataset(x, y), 30), 250), []
    ev.lean(a); ev.probe(a)
    forward = ev.forward
    ev.forward = lambda state, x: asked.append(len(x)) or forward(state, x)
    once = ev.refresh(a, 200)
    assert asked == [200] and all(torch.allclose(v, once[k], rtol=1e-9) for k, v in Evaluator(make('resnet18'), (x, y), 30).refresh(a, 200).items())

def test_settling_works_in_place_and_leaves_no_trace(monkeypatch):
    monkeypatch.setattr('landscape_nb.evaluation.kernels.compiled', lambda part: None)
    ev, a = Evaluator(make('resnet18'), images()), states('resnet18', torch.float64)[0]
    switches, seen = [m for m in ev.net.modules() if isinstance(m, nn.ReLU)], []
    forward = ev.forward
    ev.forward = lambda state, x: seen.append([m.inplace for m in switches]) or forward(state, x)
    ev.lean(a); ev.probe(a); seen.clear()
    once = ev.refresh(a)
    assert seen == [[True]*len(switches)] and not any(m.inplace for m in switches)
    ev.found = None, 400       # no twin: nothing is known to be safe
    assert all(torch.allclose(v, once[k], rtol=1e-9) for k, v in ev.refresh(a).items()) and seen[-1] == [False]*len(switches)

@pytest.mark.parametrize('batch', [400, 150])
def test_statistics_are_those_of_the_network_where_convolutions_are_wide(batch, monkeypatch):
    a = states('resnet18', torch.float64)[0]
    found = []
    for c in (lambda part: None, compiled):
        monkeypatch.setattr('landscape_nb.evaluation.kernels.compiled', c)
        ev = Evaluator(make('resnet18'), images(), batch)
        found += [ev.refresh(a), ev.refresh(a)]
        assert bool(ev.lean(a)[0].wide) == (c('winograd') is not None)
    assert all(torch.allclose(v, o[k], rtol=1e-9) for o in found for k, v in found[0].items())

def test_images_of_several_sizes_are_settled():
    small, large = images(40, 8), images(40, 12)
    net, a = make('resnet18'), states('resnet18', torch.float64)[0]
    batches = [tuple(o[i:i+20] for o in part) for part in (small, large) for i in (0, 20)]
    found = Evaluator(net, batches).refresh(a)
    h = torch.cat([functional_call(net.conv1, {'weight': a['conv1.weight']}, (x.double(),)).transpose(0, 1).flatten(1) for x, _ in batches], 1)
    assert torch.allclose(found['bn1.running_mean'], h.mean(1)) and torch.allclose(found['bn1.running_var'], h.var(1))

def test_states_share_a_pass_where_images_come_from_elsewhere():
    passes = []
    class Slow:
        def __iter__(self): passes.append(1); yield from [(images()[0], images()[1])]
    ev, (a, b) = Evaluator(make('mlp'), Slow()), states('mlp')
    ev(a); passes.clear()
    ev.along(Path((a, b)), torch.linspace(0, 1, 11).tolist())
    assert len(passes) == 1
    small = Evaluator(make('mlp'), Slow(), memory=8*sum(v.numel() for v in a.values())*4)
    small(a); passes.clear()
    assert torch.equal(small.along(Path((a, b)), torch.linspace(0, 1, 11).tolist()).error, ev.along(Path((a, b)), torch.linspace(0, 1, 11).tolist()).error)
    assert 3 <= len(passes) <= 5

@pytest.mark.parametrize('data', [[], [(torch.zeros(3, 64),)], [(torch.zeros(64), 3)], (torch.zeros(3, 64), torch.zeros(2))])
def test_other_data_is_refused(data):
    with pytest.raises(ValueError, match='data: wanted'): Evaluator(make('mlp'), data)

def test_another_order_is_refused():
    gen = stream('order')
    ev = Evaluator(make('mlp'), DataLoader(TensorDataset(*images()), 70, shuffle=True, generator=gen))
    with pytest.raises(ValueError, match='order'): ev(states('mlp')[0])

def test_bits():
    for n in (1, 7, 8, 9, 400):
        w = torch.rand(3, n, generator=stream('bits', n)) < .3
        assert torch.equal(unpack(pack(w), n), w) and pack(w).shape == (3, (n+7)//8)

def test_a_verdict_is_the_sign_of_a_margin():
    z, y = torch.randn(500, 4, generator=stream('verdict')), torch.randint(4, (500,), generator=stream('labels'))
    wrong, doubt = verdict(margins(z, y), 1e-6)
    assert torch.equal(wrong, z.argmax(1) != y) and not doubt.any() and verdict(margins(z, y), 10.)[1].all()
    one = torch.zeros(5, 1)
    assert not verdict(margins(one, torch.zeros(5, dtype=torch.long)), 0.)[0].any()
