"Paths: ends to the last bit, channel statistics against brute force, chains that are killed, planes, barriers."
from functools import cache
import pytest, torch
from torch import nn
from landscape_nb.training.engine import batch_logits
from landscape_nb.evaluate import STATISTICS, Corrected, Evaluator
from landscape_nb.search.group import lift, state_of
from landscape_nb.models import make_model
from landscape_nb.evaluation.statistics import blend
from landscape_nb.paths import Descent, Path, barrier, fit_bend
from landscape_nb.landscape.planes import Plane, plane
from landscape_nb.store import Checkpoint, stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus

WIDTH = dict(mlp=.1, lenet=1., vgg16=.0625, vgg16_bn=.0625, resnet18=.0625)
BN = ['vgg16_bn', 'resnet18']

def images(n=300, size=8):
    gen = stream('test_paths')
    return torch.randn(n, 1, size, size, generator=gen), torch.randint(10, (n,), generator=gen)

def make(arch, seed=0): return make_model(arch, size=8, width=WIDTH[arch], seed=seed)

def lively(arch, seed):
    "A float64 state with every tensor away from its initial value."
    gen, state = stream('lively', arch, seed), state_of(make(arch, seed))
    noisy = lambda k, v: v.double()*(1+.3*torch.rand(v.shape, generator=gen)) + .1*torch.rand(v.shape, generator=gen)*('weight' not in k or v.dim() == 1)
    return {k: noisy(k, v) if v.is_floating_point() else v for k, v in state.items()}

@cache
def setting(arch, batch_size=1000):
    "An evaluator and two states; tests share them and leave them as they are."
    return Evaluator(make(arch), images(), batch_size=batch_size), lively(arch, 0), lively(arch, 1)

def norms(net): return {k: m for k, m in net.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}

def seen(net, name, x, what):
    "What a module of `net` gets (0) or gives (1) in one pass over all images."
    kept = []
    handle = net.get_submodule(name).register_forward_hook(lambda m, args, out: kept.append((args[0], out)[what].clone()))    # what follows may work in place
    with torch.no_grad(): net(x)
    handle.remove()
    return kept[0].transpose(0, 1).flatten(1)

# ends

@pytest.mark.parametrize('statistics', STATISTICS)
@pytest.mark.parametrize('arch', ['mlp', *BN])
def test_ends_are_the_networks(arch, statistics):
    ev, a, b = setting(arch)
    path = Path((a, b))
    corrected = Corrected(ev, path, statistics)
    assert corrected(0.) is a and corrected(1.) is b
    curve = ev.along(path, [0, .3, 1], statistics)
    assert curve.statistics == statistics and (curve.error[0], curve.error[2], curve.loss[0]) == (ev(a).error, ev(b).error, ev(a).loss)

@pytest.mark.parametrize('arch', ['mlp', 'resnet18'])
def test_states_are_left_as_they_were(arch):
    ev, a, b = setting(arch)
    kept = [{k: v.clone() for k, v in s.items()} for s in (a, b)]
    for statistics in STATISTICS: ev.along(Path((a, b)), [.5], statistics)
    ev.repair(a, ev.moments(b)); batch_logits(ev.net)(a, ev.x[:50].double())
    assert all(torch.equal(s[k], v) for s, old in zip((a, b), kept) for k, v in old.items())

# exact

@pytest.mark.parametrize('arch', BN)
def test_exact_statistics_are_those_of_brute_force(arch):
    ev, a, b = setting(arch)
    middle, x = Path((a, b))(.5), ev.x[:250].double()
    twin = lift(make(arch), middle).eval()
    for name, m in norms(twin).items():      # in the order of the pass: each on what the ones before it let through
        h = seen(twin, name, x, 0)
        m.running_mean, m.running_var = h.mean(1), h.var(1)
    for batch_size in (1000, 64):
        fresh = Evaluator(make(arch), images(), batch_size).refresh(middle, 250)
        for name, m in norms(twin).items():
            assert torch.allclose(fresh[f'{name}.running_mean'], m.running_mean, rtol=1e-8, atol=1e-10) and torch.allclose(fresh[f'{name}.running_var'], m.running_var, rtol=1e-8)
        assert all(torch.equal(fresh[k], v) for k, v in middle.items() if 'running' not in k)

def test_float32_statistics_are_close_to_float64():
    ev, a, b = setting('resnet18')
    middle = Path((a, b))(.5)
    single = ev.refresh({k: v.float() if v.is_floating_point() else v for k, v in middle.items()})
    for k, v in ev.refresh(middle).items(): assert torch.allclose(single[k].to(v), v, rtol=1e-3, atol=1e-4)

# repair

@pytest.mark.parametrize('batch_size', [1000, 64])
@pytest.mark.parametrize('arch', ['mlp', 'lenet', 'vgg16', *BN])
def test_repair_reaches_its_targets(arch, batch_size):
    ev, a, b = setting(arch, batch_size)
    t, sites = .3, ev.sites(a).modules
    fixed = Corrected(ev, Path((a, b)), 'repair', n=250)(t)
    nets, x = [lift(make(arch), s).eval() for s in (a, b, fixed)], ev.x[:250].double()
    for name in sites:
        p, q, got = (seen(net, name, x, 1) for net in nets)
        assert (got.mean(1) - (1-t)*p.mean(1) - t*q.mean(1)).abs().max() < 1e-5
        assert (got.std(1) - (1-t)*p.std(1) - t*q.std(1)).abs().max() < 1e-5
    layers = [k for k, m in nets[0].named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    assert set(sites) == (set(layers[:-1]) if not norms(nets[0]) else {*norms(nets[0])} | {k for k in layers[:-1] if 'classifier' in k})

@pytest.mark.parametrize('arch', ['lenet', 'resnet18'])
def test_repair_towards_itself_changes_nothing(arch):
    ev, a, _ = setting(arch)
    a = ev.refresh(a)
    again = ev.repair(a, ev.moments(a))
    assert all(torch.allclose(again[k], v, rtol=1e-8, atol=1e-10) for k, v in a.items())

def test_repair_shifts_a_constant_channel():
    ev, a, b = setting('mlp')
    a = {**a, 'fc2.weight': a['fc2.weight'].index_fill(0, torch.tensor([3]), 0.)}
    want = blend([ev.moments(a), ev.moments(b)], [.5, .5])
    got = ev.moments(fixed := ev.repair(a, want))
    assert all(v.isfinite().all() for v in fixed.values()) and (got['fc2'].mean - want['fc2'].mean).abs().max() < 1e-8 and got['fc2'].var[3] == 0

class Functional(nn.Module):
    def __init__(self): super().__init__(); self.fc, self.w = nn.Linear(64, 8), nn.Parameter(torch.randn(8, 10))
    def forward(self, x): return self.fc(x.flatten(1)).relu() @ self.w

class Twice(nn.Module):
    def __init__(self): super().__init__(); self.inner, self.fc, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
    def forward(self, x): return self.out(self.inner(self.fc(self.inner(x.flatten(1)).relu()).relu()).relu())

class Tied(nn.Module):
    def __init__(self): super().__init__(); self.a, self.b, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10); self.b.weight = self.a.weight
    def forward(self, x): return self.out(self.b(self.a(x.flatten(1)).relu()).relu())

NO_BIAS = nn.Sequential(nn.Flatten(), nn.Linear(64, 8, bias=False), nn.ReLU(), nn.Linear(8, 10))
NORMED = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 8)), nn.ReLU(), nn.Linear(8, 10))

@pytest.mark.parametrize('net', [Functional(), Twice(), Tied(), NO_BIAS, NORMED], ids=['functional', 'twice', 'tied', 'no bias', 'weight_norm'])
def test_repair_refuses_what_it_cannot_treat(net):
    a = state_of(net)
    with pytest.raises(ValueError, match="choose statistics='exact' or 'none'"): Evaluator(net, images()).along(Path((a, a)), [.5], 'repair')
    x, y = images()
    with torch.no_grad(): error = (net.eval()(x).argmax(1) != y).double().mean()
    assert Evaluator(net, (x, y)).along(Path((a, a)), [.5], 'exact').error == error

def test_a_normalisation_that_is_called_twice_is_refused():
    bn = nn.BatchNorm1d(64)
    net = nn.Sequential(nn.Flatten(), bn, nn.Linear(64, 64), bn, nn.Linear(64, 10))
    with pytest.raises(ValueError, match="'none'"): Evaluator(net, images()).refresh(state_of(net))

# chains

@cache
def workshop(arch):
    ev, a, b = setting(arch)
    a, b = ({k: v.float() if v.is_floating_point() else v for k, v in s.items()} for s in (a, b))
    return ev, a, b, Torus(find_symmetries(make(arch), ev.x[:2]))

class Mortal(Checkpoint):
    "Dies after every few saves."
    lives = 3
    def save(self, *args):
        super().save(*args)
        self.lives -= 1
        if not self.lives: raise KeyboardInterrupt

@pytest.mark.parametrize('arch, round_, bends', [('mlp', False, 1), ('mlp', True, 2), ('resnet18', False, 2)])
def test_a_chain_that_is_killed_again_and_again_is_the_same(arch, round_, bends, tmp_path):
    ev, a, b, T = workshop(arch)
    if round_: a, b = T.project(a), T.project(b)
    fit = lambda cp: fit_bend(ev, a, b, torus=T if round_ else None, steps=10, batch=32, bends=bends, reads=2, n_points=5, checkpoint=cp)
    whole, deaths = fit(None), 0
    while True:
        try: found = fit(Mortal(tmp_path/'bend', every=0)); break
        except KeyboardInterrupt: deaths += 1
    assert deaths >= 3 and found.history == whole.history
    assert all(torch.equal(v, p[k]) for p, q in zip(found.points, whole.points) for k, v in q.items())

def test_legs_are_what_they_say():
    _, a, b, T = workshop('mlp')
    a, b = T.project(a), T.project(b)
    for torus in (None, T):
        whole = Path((a, b), torus)
        legs = Path([whole(t) for t in (0, .25, .5, .75, 1)], torus)
        for t in (.1, .25, .4, .6, .9): assert all(torch.allclose(legs(t)[k], v, atol=1e-6) for k, v in whole(t).items())
        assert all(legs(t) is p for t, p in zip(legs.knots, legs.points))

def test_bends_lower_the_worst_error():
    ev, a, b, T = workshop('mlp')
    y = torch.cat([ev.logits(a).argmax(1)[:150], ev.logits(b).argmax(1)[150:]])
    ev = Evaluator(make('mlp'), (ev.x, y))
    straight = ev.along(Path((a, b)), [.25, .5, .75]).error.max()
    for bends in (1, 2):
        chain = fit_bend(ev, a, b, steps=150, bends=bends, batch=100)
        assert len(chain.points) == bends+2 and ev.along(chain, [.25, .5, .75]).error.max() < straight
        assert chain.history[-1].keys() == {'step', 'worst', 't', 'statistics'}

# planes

@pytest.mark.parametrize('statistics', STATISTICS)
@pytest.mark.parametrize('arch, round_', [('mlp', True), ('mlp', False), ('resnet18', True), ('resnet18', False)])
def test_corners_of_a_plane_are_the_networks(arch, round_, statistics):
    ev, a, b, T = workshop(arch)
    c = {k: v.float() if v.is_floating_point() else v for k, v in lively(arch, 2).items()}
    corners, T = ([T.project(s) for s in (a, b, c)], T) if round_ else ([a, b, c], None)
    at = Plane(*corners, T, [k for k, _ in ev.net.named_parameters()])
    assert all((at(100., 100.)[k] > 0).all() for k in a if 'running_var' in k)
    assert all(at(*xy) is p for xy, p in zip(at.positions.tolist(), corners))
    assert at.positions.sum(0).abs().max() < 1e-6 and abs(at.positions[0, 1] - at.positions[1, 1]) < 1e-6
    frame = plane(ev, T, *corners, n=2, statistics=statistics)
    assert frame[frame.network != ''].error.tolist() == [ev(p).error for p in corners] and (frame.statistics == statistics).all()
    assert torch.allclose(torch.tensor(frame[frame.network != ''][['x', 'y']].to_numpy()), at.positions) and frame.loss.notna().all()

# barriers

@pytest.mark.parametrize('n_points', [3, 8, 13])
@pytest.mark.parametrize('over', ['ends', 'line'])
def test_a_barrier_is_that_of_a_loop(n_points, over):
    ev, a, b = setting('mlp')
    ev = Evaluator(make('mlp'), (ev.x, ev.logits(a).argmax(1)))     # one end is right everywhere
    path = Path((b, a))
    o = barrier(ev, path, n_points, refine=0, over=over)
    wrong = torch.stack([ev.wrong(path(t.item())) for t in torch.linspace(0, 1, n_points, dtype=torch.float64)]).double()
    u = o.ts if over == 'line' else torch.zeros(n_points)
    d = wrong - (1-u)[:, None]*wrong[0] - u[:, None]*wrong[-1]
    best = int(d.mean(1).argmax())
    assert abs(o.value - d.mean(1).max()) < 1e-12 and o.t_max == o.ts[best] and o.lo <= o.value <= o.hi
    assert abs((o.hi-o.lo)/2 - 1.96*d[best].std()/len(ev.y)**.5) < 1e-12
    finer = barrier(ev, path, n_points, refine=3, over=over)
    assert finer.value >= o.value - 1e-12 and (finer.ts.diff() > 0).all() and finer.over == over

def test_ties_and_flat_paths():
    ev, a, _ = setting('mlp')
    flat = barrier(ev, Path((a, a)), 4)
    assert (flat.value, flat.lo, flat.hi, flat.t_max) == (0, 0, 0, 0)
    two = barrier(ev, lambda t: a if t in (0, 1) else {k: 0*v for k, v in a.items()}, 7, refine=0)
    assert two.t_max == two.ts[1] or two.value == 0

def test_wrong_words_are_refused():
    ev, a, b = setting('mlp')
    for bad in (dict(n_points=2), dict(statistics='reset'), dict(over='mean')):
        with pytest.raises(ValueError, match='wanted'): barrier(ev, Path((a, b)), **bad)
    with pytest.raises(ValueError, match='bends'): fit_bend(ev, a, b, bends=0)

LAYOUTS = dict(first=lambda v: v.contiguous(), last=lambda v: v.to(memory_format=torch.channels_last) if v.dim() == 4 else v, turned=lambda v: v.mT.contiguous().mT if v.dim() > 1 else v)

@pytest.mark.parametrize('of_grad', LAYOUTS)
@pytest.mark.parametrize('of_point', LAYOUTS)
def test_a_point_moves_by_adam_whatever_the_strides(of_point, of_grad):
    "Tensors and gradients lie in memory as a network likes: a step is that of Kingma and Ba, entry by entry."
    gen, shapes = stream('strides'), dict(kernel=(5, 3, 4, 2), matrix=(6, 7), bias=(4,))
    draw = lambda: {k: torch.randn(shape, dtype=torch.float64, generator=gen) for k, shape in shapes.items()}
    w = draw()
    walk, mean, square = Descent({k: LAYOUTS[of_point](v.clone()) for k, v in w.items()}, sorted(shapes)), *({k: torch.zeros_like(v) for k, v in w.items()} for _ in range(2))
    for n in range(1, 6):
        grads = draw()
        walk.step({k: LAYOUTS[of_grad](g) for k, g in grads.items()}, .1)
        for k, g in grads.items():
            mean[k], square[k] = .9*mean[k] + .1*g, .99*square[k] + .01*g**2
            w[k] = w[k] - .1*(mean[k]/(1-.9**n))/((square[k]/(1-.99**n)).sqrt() + 1e-8)
    assert all(torch.allclose(walk.point[k], v, rtol=1e-9) for k, v in w.items())

@pytest.mark.parametrize('round_', [False, True])
def test_a_bend_of_a_convolutional_network_does_not_depend_on_the_layout(round_):
    "The gradient in the layout of the convolutions, and with channels first, move a point alike."
    ev, a, b = setting('resnet18')
    T = Torus(find_symmetries(make('resnet18'), ev.x[:2])) if round_ else None
    p, names = T.project(a) if T else a, sorted(k for k, _ in make('resnet18').named_parameters())
    walks = {how: Descent(p, names, T) for how in LAYOUTS}
    for i in range(3):
        grad = {k: torch.randn(p[k].shape, dtype=torch.float64, generator=stream('grads', i, k)) for k in names}
        for how, walk in walks.items(): walk.step({k: LAYOUTS[how](g) for k, g in grad.items()}, 1e-2)
    assert all(torch.allclose(walks['first'].point[k], walk.point[k], rtol=1e-9, atol=1e-12) for walk in walks.values() for k in names)
