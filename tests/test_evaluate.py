"The evaluator against the network itself: the same errors within rounding, whatever the way they were found."
from functools import cache
import pytest, torch
from torch import nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset
from landscape_nb.evaluate import STATISTICS, Corrected, Evaluator, loss_of, wrong_of
from landscape_nb.evaluation.batches import Batches, first_images
from landscape_nb.evaluation.twin import Basis, find_twin, near
from landscape_nb.models import make_model
from landscape_nb.paths import Path
from landscape_nb.search.group import generic_state, state_of
from landscape_nb.store import stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus

WIDTH = dict(mlp=.2, lenet=1., vgg16_bn=.0625, resnet18=.0625, densenet121=.125)

def images(n=400, size=8):
    gen = stream('test_evaluate')
    return torch.randn(n, 1, size, size, generator=gen), torch.randint(10, (n,), generator=gen)

def make(arch): return make_model(arch, size=8, width=WIDTH[arch], seed=0)

def drawn(net, *name, dtype=torch.float32):
    "Two random states."
    params = dict(net.named_parameters())
    found = [generic_state(state_of(net), params, stream(*name, i)) for i in range(2)]
    return [{k: v.to(dtype) if v.is_floating_point() else v for k, v in s.items()} for s in found]

@cache
def states(arch, dtype=torch.float32): return drawn(make(arch), 'states', arch, dtype=dtype)

def of_network(ev, state): return ev.misses(ev.logits(state)).cpu()

def assert_same(ev, states, wrong):
    "Errors are those of the network, but where its two largest logits are equal up to rounding."
    for s, w in zip(states, wrong, strict=True):
        z = ev.logits(s).double()
        top = z.topk(2, 1).values
        tied = top[:, 0]-top[:, 1] <= 1e-5*z.abs().amax(1)
        assert torch.equal(w[~tied], ev.misses(z)[~tied]) and tied.sum() <= 1

def assert_a_path_is_a_loop(ev, path, ts, statistics='none'):
    points, wrong = Corrected(ev, path, statistics), [o.wrong for o in ev.outcomes_along(path, ts, statistics)]
    assert_same(ev, map(points, ts), wrong)
    return torch.stack(wrong)

# the same errors

@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('arch', WIDTH)
def test_errors_and_losses_are_those_of_the_network(arch, dtype):
    ev, path = Evaluator(make(arch), images(), 150), Path(states(arch, dtype))
    points = [path(t) for t in (0, .2, .5, 1)]
    assert_same(ev, points, map(ev.wrong, points))
    z = ev.logits(points[0])
    assert abs(ev(points[0], 3.).loss - nn.functional.cross_entropy(3*z.double(), ev.y).item()) < 1e-5*z.abs().max()
    assert bool(ev.twin(points[0]).pairs) == bool(ev.norms)

LOOPS = [*[('mlp', round_, s) for round_ in (False, True) for s in STATISTICS], ('resnet18', True, 'exact'), ('resnet18', False, 'repair')]

@pytest.mark.parametrize('arch, round_, statistics', LOOPS)
def test_a_path_is_a_loop(arch, round_, statistics):
    a, b = states(arch)
    ev, points = Evaluator(make(arch), images(), 150), [a, b, {k: (v+b[k])/2 for k, v in a.items()}]
    T = Torus(find_symmetries(make(arch), ev.x[:2])) if round_ else None
    path = Path([T.project(p) for p in points] if T else points, T)
    ts = torch.linspace(0, 1, 15 if arch == 'mlp' else 5).tolist()
    wrong = assert_a_path_is_a_loop(ev, path, ts, statistics)
    assert torch.equal(ev.along(path, ts, statistics).error, wrong.double().mean(1))

def test_a_first_layer_is_computed_once_on_every_leg(monkeypatch):
    calls, products = [], Basis.products
    monkeypatch.setattr(Basis, 'products', lambda self, x: calls.append(len(x)) or products(self, x))
    ev, (a, b) = Evaluator(make('mlp'), images(), 150), states('mlp')
    T = Torus(find_symmetries(make('mlp'), ev.x[:2]))
    p, q = T.project(a), T.project(b)
    for path in (Path((a, b)), Path((p, q), T), Path((p, T.geodesic(p, q, .4), q), T), lambda t: {k: (1-t)*v + t*b[k] for k, v in a.items()}):
        calls.clear()
        points = [path(t) for t in torch.linspace(0, 1, 12).tolist()]
        basis = Basis([points[0]['fc1.weight'], points[-1]['fc1.weight']])
        if getattr(path, 'legs', 1) == 1: assert all(basis.coefficients(s['fc1.weight']) is not None for s in points)
        ev.along(path, torch.linspace(0, 1, 12).tolist())
        assert calls == [150, 150, 100]*getattr(path, 'legs', 1)

@pytest.mark.parametrize('dtype, rounding', [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize('apart', [1., 1e-2, 1e-4])
def test_coefficients_of_near_states(dtype, rounding, apart):
    p, d = torch.randn(2, 20, 50, generator=stream('near'), dtype=torch.float64)
    p, q = p.to(dtype), (p+apart*d).to(dtype)
    w = (.3*p.double() + .7*q.double()).to(dtype)
    c = Basis((p, q)).coefficients(w)
    made = torch.einsum('bu,bui->ui', c, torch.stack((p, q)))
    assert (made-w).abs().max() < 10*rounding and Basis((p, q)).coefficients(w+.1) is None

def test_a_path_that_is_no_combination():
    ev, (a, b) = Evaluator(make('mlp'), images(), 150), states('mlp')
    def bent(t): return {k: v*torch.exp(t*torch.sin(30*v)) for k, v in a.items()}
    assert Basis([bent(0.)['fc1.weight'], bent(1.)['fc1.weight']]).coefficients(bent(.5)['fc1.weight']) is None
    assert_a_path_is_a_loop(ev, bent, [0, .2, .4, .6, .8, 1])

def test_not_finite_is_wrong():
    ev, (a, b) = Evaluator(make('resnet18'), images(), 150), states('resnet18')
    for bad in (torch.nan, torch.inf): assert ev({**a, 'fc.bias': a['fc.bias']+bad}).error == 1
    m, (p, q) = Evaluator(make('mlp'), images(), 150), states('mlp')
    bad = {**q, 'fc1.weight': q['fc1.weight']*torch.nan}
    assert [s.error for s in m.scores([bad, bad, bad, p], (p, bad))] == [1, 1, 1, m(p).error]

def test_a_loss_is_the_cross_entropy():
    z, y = torch.randn(500, 4, generator=stream('loss')), torch.randint(4, (500,), generator=stream('labels'))
    assert abs(loss_of(z, y, 2.) - nn.functional.cross_entropy(2*z.double(), y, reduction='sum').item()) < 1e-9
    assert torch.equal(wrong_of(z, y), z.argmax(1) != y) and wrong_of(z*torch.nan, z.argmax(1)).all()

# networks without a twin, or with part of one

class Reads(nn.Module):
    "Reads between a layer and its normalisation, and the input of an activation after it."
    def __init__(self): super().__init__(); self.a, self.n, self.r, self.b = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)
    def forward(self, x): h = self.a(x.flatten(1)); g = self.n(h); return self.b(self.r(g) + g + h)

class Shared(nn.Module):
    def __init__(self): super().__init__(); self.a, self.n, self.b = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Linear(64, 10)
    def forward(self, x): return self.b(self.n(self.a(self.n(self.a(x.flatten(1))).relu())))

class OnImages(nn.Module):
    "Works in place on what it is given, images included."
    def __init__(self): super().__init__(); self.r, self.b = nn.ReLU(), nn.Linear(64, 10)
    def forward(self, x): return self.b(self.r(x).flatten(1))

class Noisy(nn.Module):
    def __init__(self): super().__init__(); self.b = nn.Linear(64, 10)
    def forward(self, x): return self.b(x.flatten(1)) + torch.rand(len(x), 10).to(x)

class ReadsFirst(nn.Module):
    "Reads what its first layer gives twice, once through a rectifier."
    def __init__(self): super().__init__(); self.a, self.r, self.b, self.c = nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10), nn.Linear(20, 10)
    def forward(self, x): h = self.a(x.flatten(1)); return self.b(self.r(h)) + self.c(h)

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

MIXES = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False), nn.Linear(64, 10))
NETS = [(Reads(), True, 0, 'a'), (Shared(), True, 0, None), (OnImages(), True, 0, None), (ReadsFirst(), True, 0, 'a'), (MIXES, False, 0, None), (Odd(), True, 0, None)]

@pytest.mark.parametrize('net, there, folded, first', NETS, ids=lambda o: type(o).__name__)
def test_what_is_not_sure_is_left_alone(net, there, folded, first):
    a, b = drawn(net, 'odd')
    ev = Evaluator(net, images(), 400)
    kept, twin = ev.x.clone(), ev.twin(a)
    assert (twin is not None) == there and (not twin or (len(twin.pairs), twin.first) == (folded, first))
    assert_a_path_is_a_loop(ev, lambda t: {k: torch.lerp(v, b[k], t) if v.is_floating_point() else v for k, v in a.items()}, [0, .2, .5, .7, 1])
    if type(net) is not OnImages: assert torch.equal(ev.x, kept)      # the network itself writes to them

def test_images_are_left_as_they_are():
    ev, kept = Evaluator(OnImages(), images()), images()[0]
    ev(state_of(OnImages()))
    assert torch.equal(ev.x, kept)

def test_a_random_network_has_no_twin(): assert find_twin(Noisy().eval(), state_of(Noisy()), images()[0][:4]) is None

def test_tied_weights():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    net[3].weight = net[1].weight
    ev, s = Evaluator(net, images(), 150), state_of(net)
    assert torch.equal(ev.wrong(s), of_network(ev, s)) and ev.twin(s).first is None

@pytest.mark.parametrize('arch', WIDTH)
def test_a_twin_in_chunks_gives_the_same_logits_and_keeps_no_tensor(arch):
    net, (a, b), x = make(arch).eval(), states(arch, torch.float64), images(50)[0].double()
    twin = find_twin(net, a, x[:4])
    for chunk in (None, 50, 20):
        twin.chunk = chunk
        for s in (a, b, a): assert near(twin(twin.prepare(s), x), functional_call(net, s, (x,)))
    assert all(table[k].is_meta for table, k, _, _ in twin.slots)

# data that is no tensor

def test_batches_from_anywhere():
    x, y = images()
    (a, b), whole = states('resnet18'), Evaluator(make('resnet18'), (x, y), 70)
    batches = [(x[i:i+70], y[i:i+70]) for i in range(0, 400, 70)]
    for data in (DataLoader(TensorDataset(x, y), 70), batches, iter(batches)):
        ev = Evaluator(make('resnet18'), data)
        assert all(torch.equal(ev.wrong(s), whole.wrong(s)) for s in (a, b)) and not ev.data.held
        assert ev.along(Path((a, b)), [0, .5, 1]).error.tolist() == whole.along(Path((a, b)), [0, .5, 1]).error.tolist()
    assert torch.equal(ev.x, x) and ev.data.held

@pytest.mark.parametrize('n', [None, 1, 30, 65])
@pytest.mark.parametrize('size', [7, 30, 1000])
def test_a_sample_is_the_first_images(n, size):
    x, y = images(70)
    found = first_images(Batches(DataLoader(TensorDataset(x, y), 30)), n, size)
    assert torch.equal(torch.cat(found), x[:n]) and len(found) == -(-len(x[:n])//size)

def test_small_batches_are_set_together(monkeypatch):
    (x, y), a = images(), states('resnet18', torch.float64)[0]
    once = Evaluator(make('resnet18'), (x, y), 400).refresh(a, 200)
    ev, passes = Evaluator(make('resnet18'), DataLoader(TensorDataset(x, y), 30), 250), []
    ev.twin(a), ev.sites(a)
    monkeypatch.setattr('landscape_nb.evaluation.statistics.functional_call', lambda net, s, args: passes.append(len(args[0])) or functional_call(net, s, args))
    assert all(torch.allclose(v, once[k], rtol=1e-9) for k, v in ev.refresh(a, 200).items()) and passes == [200]

def test_images_of_several_sizes():
    small, large = images(40, 8), images(40, 12)
    net, a = make('resnet18'), states('resnet18', torch.float64)[0]
    batches = [tuple(o[i:i+20] for o in part) for part in (small, large) for i in (0, 20)]
    found = Evaluator(net, batches).refresh(a)
    h = torch.cat([functional_call(net.conv1, {'weight': a['conv1.weight']}, (x.double(),)).transpose(0, 1).flatten(1) for x, _ in batches], 1)
    assert torch.allclose(found['bn1.running_mean'], h.mean(1)) and torch.allclose(found['bn1.running_var'], h.var(1))

def test_states_share_a_pass_where_images_come_from_elsewhere():
    passes = []
    class Slow:
        def __iter__(self): passes.append(1); yield from [images()]
    ev, (a, b), ts = Evaluator(make('mlp'), Slow()), states('mlp'), torch.linspace(0, 1, 11).tolist()
    ev(a); passes.clear()
    found = ev.along(Path((a, b)), ts)
    assert len(passes) == 1
    few = Evaluator(make('mlp'), Slow(), memory=8*sum(v.nbytes for v in a.values()))
    few(a); passes.clear()
    assert torch.equal(few.along(Path((a, b)), ts).error, found.error) and len(passes) == 3

@pytest.mark.parametrize('data', [[], [(torch.zeros(3, 64),)], [(torch.zeros(64), 3)], (torch.zeros(3, 64), torch.zeros(2))])
def test_other_data_is_refused(data):
    with pytest.raises(ValueError, match='data: wanted'): Evaluator(make('mlp'), data)

def test_another_order_is_refused():
    ev = Evaluator(make('mlp'), DataLoader(TensorDataset(*images()), 70, shuffle=True, generator=stream('order')))
    with pytest.raises(ValueError, match='order'): ev(states('mlp')[0])

# memory

class Device(nn.Module):
    "Has room for so many images."
    def __init__(self, room): super().__init__(); self.room = room
    def forward(self, x):
        if len(x) > self.room: raise torch.OutOfMemoryError('CUDA out of memory')
        return x

@pytest.mark.filterwarnings('ignore:the memory of')
def test_a_batch_is_halved_until_it_fits():
    net, (a, b) = make('mlp'), states('mlp')
    ev, whole, prefix = Evaluator(nn.Sequential(Device(60), net), images()), Evaluator(net, images()), lambda s: {f'1.{k}': v for k, v in s.items()}
    errors = [s.error for s in ev.scores(map(prefix, (a, b)))]
    assert errors == [whole(a).error, whole(b).error] and ev.batch_size == 50
    with pytest.raises(torch.OutOfMemoryError): Evaluator(nn.Sequential(Device(0), net), images()).logits(prefix(a))
