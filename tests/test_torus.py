"The torus of every structure and architecture: one point per orbit, same predictions, a metric on it."
import functools, math
import pytest, torch
from torch.func import functional_call
from landscape_nb.search.group import generic_state, state_of
from landscape_nb.models import make_model
from landscape_nb.symmetries import UnsupportedModelError, find_symmetries
from landscape_nb.torus import Torus
from structures import STRUCTURES, Net, names_of_tests

WIDTHS = {'models.mlp': .1, 'models.lenet': 1, 'models.vgg16': .06, 'models.vgg16_bn': .06, 'models.resnet18': .1, 'models.densenet121': .1}
SOME = '''mlp cnn_flatten resnet_bn depthwise grouped squeeze_excite groupnorm inplace residual_padded tied_layers slice_one bare_attention encoder_layer weight_norm
spectral_norm bn_after_flatten'''.split()
GAUGES = dict(paper=('scale', 'output'), full=('scale', 'output', 'translate', 'shift'))
DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU'))]

class Case:
    "A network, its symmetries and random states in float64."
    def __init__(self, name):
        torch.manual_seed(0)
        self.model, self.x = STRUCTURES[name]() if name in STRUCTURES else (make_model(name.split('.')[1], width=WIDTHS[name], seed=0), torch.randn(2, 1, 28, 28))
        self.sym, self.gen = find_symmetries(self.model, self.x), torch.Generator().manual_seed(1)
        self.moving = {w.tensor for o in (*self.sym.blocks, *self.sym.families) for w in o.wires}
        self.start = state_of(self.model)
        self.model, self.x = self.model.double().eval(), self.x.double() if self.x.is_floating_point() else self.x

    def draw(self): return generic_state(self.start, self.sym.parameters, self.gen, self.moving)

    def logits(self, state):
        with torch.no_grad(): y = functional_call(self.model, state, (self.x,))
        return y if isinstance(y, tuple) else (y,)

@functools.cache
def found(name):
    try: return Case(name)
    except UnsupportedModelError as e: return e

def case(name):
    if isinstance(c := found(name), Exception): pytest.skip(f'refused: {c}')
    return c

def apart(s, t):
    "Largest difference of two states, relative to the largest entry of each tensor."
    assert s.keys() == t.keys()
    gap = lambda u, v: ((u.double()-v.double()).abs().max()/u.double().abs().max().clamp_min(1e-30)).item()
    return max(gap(v, t[k]) if v.is_floating_point() else float((v != t[k]).any()) for k, v in s.items())

def equal(s, t): return s.keys() == t.keys() and all(torch.equal(v, t[k]) for k, v in s.items())
def stacked(*states): return {k: torch.stack([s[k] for s in states]) for k in states[0]}
def at(state, i): return {k: v[i] for k, v in state.items()}

def logits_differ(c, T, a, p):
    "Relative change of the logits by projection, after their scale (and their common part, where the gauge removes it)."
    y, z, r = c.logits(a), c.logits(p), T.radius(a)
    if any(f.kind == 'shift' for f in T.added): y, z = ([t-t.mean(-1, keepdim=True) for t in o] for o in (y, z))
    return max(((u-r*v).abs().max()/u.abs().max().clamp_min(1e-30)).item() for u, v in zip(y, z))

every = pytest.mark.parametrize('name', [*names_of_tests(), *WIDTHS], scope='module')
some = pytest.mark.parametrize('name', [*SOME, 'models.resnet18'], scope='module')

# the canonical form

@every
def test_one_point_for_the_whole_orbit(name):
    "Predictions stay, a second projection changes no bit, all of the orbit over four decades has one canonical form; for a random and for the initial state."
    c = case(name)
    for gauge, kinds in GAUGES.items():
        T = Torus(c.sym, gauge)
        assert not T.left
        for a in (c.draw(), {k: v.double() if v.is_floating_point() else v for k, v in c.start.items()}):
            p, g = T.project(a), c.sym.sample(c.gen, kinds=kinds, spread=2.3 if gauge == 'paper' else 1)
            assert logits_differ(c, T, a, p) < 1e-9
            assert equal(T.project(p), p)
            assert apart(p, T.project(g(a))) < 1e-9
            assert all(((r-1).abs() < 1e-12).logical_or(r == 0).all() for r in (T.norms(p, f) for f in T.held))

@every
def test_float32_is_float64_rounded(name):
    c = case(name)
    T, a = Torus(c.sym), c.start
    if any(v.dtype == torch.float16 for v in a.values()): pytest.skip('half precision from the start')
    p, wide = T.project(a), T.project({k: v.double() if v.is_floating_point() else v for k, v in a.items()})
    assert all(v.dtype == a[k].dtype for k, v in p.items()) and equal(T.project(p), p)
    assert apart(wide, p) < 1e-5
    q = T.project(c.draw())
    narrow = {k: v.to(a[k].dtype) for k, v in q.items()}
    assert torch.allclose(T.angles(wide, q), T.angles(p, narrow), atol=1e-5)

@every
def test_every_parameter_has_one_place(name):
    "Spheres and flat parameters share out all elements; the report says how."
    c = case(name)
    for gauge in GAUGES:
        T = Torus(c.sym, gauge)
        ones = {k: torch.ones(c.sym.shapes[k]) for k in c.sym.parameters}
        total = T.spread(torch.Tensor.double, sorted(c.sym.parameters), ones)
        assert total.sum() == sum(v.numel() for v in ones.values()) and (total[:-1] > 0).all()
        assert sorted(i for s in T.layer.values() for i in range(s.start, s.stop)) == list(range(T.n))
        assert bool(total[-1]) == bool(T.flat) and f'{100*total[:-1].sum()/total.sum():.1f}% of the parameters lie on spheres' in repr(T)

def test_a_network_row_by_row():
    "The definition, written as loops."
    c = case('mlp')
    T, a = Torus(c.sym), c.draw()
    b = {k: v.clone() for k, v in a.items()}
    for row, read in (('0', '2'), ('2', '4')):
        for u in range(len(b[f'{row}.bias'])):
            r = math.sqrt(sum(w**2 for w in b[f'{row}.weight'][u].tolist()) + b[f'{row}.bias'][u].item()**2)
            b[f'{row}.weight'][u] /= r
            b[f'{row}.bias'][u] /= r
            b[f'{read}.weight'][:, u] *= r
    r = (b['4.weight'].square().sum() + b['4.bias'].square().sum()).sqrt()
    b['4.weight'] /= r
    b['4.bias'] /= r
    assert apart(b, T.project(a)) < 1e-12 and abs(T.radius(a)-r) < 1e-12

def test_a_circle_without_solution_has_a_canonical_form():
    "Large residual branches: norm one of all writers of the stream cannot be had, that of its stem can."
    c = case('inplace')
    T, a = Torus(c.sym), c.draw()
    for k in ('a.weight', 'b.weight'): a[k] = a[k]*100
    p = T.project(a)
    assert T.flat == ['b.weight'] and logits_differ(c, T, a, p) < 1e-9
    assert apart(p, T.project(c.sym.sample(c.gen, kinds='scale output'.split(), spread=2.3)(a))) < 1e-9

# dead units

@pytest.mark.parametrize('name, of', [('mlp', ('0.weight', '0.bias')), ('cnn_bn', ('1.weight', '1.bias')), ('cnn_bn', ('0.weight',)), ('models.resnet18', ('layer1.0.conv1.weight',))])
def test_a_dead_unit(name, of):
    "Counted, kept at zero, one canonical form; right angles to the living, none to the dead; nothing is NaN."
    c = case(name)
    T, b = Torus(c.sym), c.draw()
    a = {k: v.index_fill(0, torch.tensor([2]), 0.) if k in of else v for k, v in b.items()}
    p, q = T.project(a), T.project(b)
    assert T.dead(p) == T.dead(a) == 1 and T.dead(q) == 0
    assert all((p[k][2] == 0).all() for k in of) and all(v.isfinite().all() for v in p.values())
    assert logits_differ(c, T, a, p) < 1e-9 and equal(T.project(p), p)
    assert apart(p, T.project(c.sym.sample(c.gen, kinds=('scale', 'output'), spread=2.3)(a))) < 1e-9
    alive = torch.cat([T.norms(p, f) for f in T.families]) > 0
    theta = T.angles(p, q)[~alive]
    assert torch.allclose(theta, torch.full_like(theta, math.pi/2)) and (T.angles(p, p)[~alive] == 0).all()
    for s in (T.geodesic(p, q, .3), T.exp(p, T.log(p, q)), T.noise(p, .1, c.gen)): assert all(v.isfinite().all() for v in s.values())
    assert T.dead(T.noise(p, .1, c.gen)) == 1

def test_what_reads_a_padded_channel_is_zero():
    net = Net(lambda s, x: s.head(torch.nn.functional.pad(torch.relu(s.fc(x)), (0, 2))), fc=torch.nn.Linear(10, 6), head=torch.nn.Linear(8, 5)).double()
    x = torch.randn(2, 10).double()
    sym, gen = find_symmetries(net, x), torch.Generator().manual_seed(0)
    T, a = Torus(sym), state_of(net)
    p = T.project(a)
    assert not T.left and (p['head.weight'][:, 6:] == 0).all() and torch.allclose(functional_call(net, p, (x,))*T.radius(a), net(x))
    assert apart(p, T.project(sym.sample(gen, kinds=('scale', 'output'), spread=2.3)(a))) < 1e-9 and equal(p, T.project(p))

@pytest.mark.parametrize('length', [1e-42, 1e-30, 1e30])
def test_lengths_at_the_ends_of_float32(length):
    c = case('mlp')
    T, a = Torus(c.sym), {k: v.float() for k, v in c.draw().items()}
    a['0.weight'][1], a['0.bias'][1] = length, 0.
    p = T.project(a)
    assert T.dead(p) == 0 and all(v.isfinite().all() for v in p.values())
    assert abs(T.norms(p, T.families[0])[1]-1) < 1e-6 and equal(T.project(p), p)

# the metric

@some
def test_the_distance_is_a_metric_that_the_group_keeps(name):
    c = case(name)
    T = Torus(c.sym)
    a, b = c.draw(), c.draw()
    p, q, r = map(T.project, (a, b, c.draw()))
    assert T.dist(p, p) == 0 < T.dist(p, q) == T.dist(q, p)
    assert T.dist(p, r) <= T.dist(p, q) + T.dist(q, r)
    near = T.noise(p, 1e-9, c.gen)
    assert 0 < T.dist(p, near) < 1e-6 and T.dist(p, near, rms=True) < 2e-9          # no floor
    h = c.sym.sample(c.gen)                                                         # permutations and signs of both, scales of each
    p2, q2 = (T.project(c.sym.sample(c.gen, kinds=('scale', 'output'))(h(s))) for s in (a, b))
    assert abs(T.dist(p2, q2)/T.dist(p, q) - 1) < 1e-9
    assert abs(T.dist(p2, q2, rms=True)/T.dist(p, q, rms=True) - 1) < 1e-9

@some
@pytest.mark.parametrize('gauge', GAUGES)
def test_geodesics_and_tangents(name, gauge):
    "Constant speed, ends exact, no leaving; exp and log are inverse; noise has its length and stays in the gauge."
    c = case(name)
    T = Torus(c.sym, gauge)
    p, q = T.project(c.draw()), T.project(c.draw())
    theta = T.angles(p, q)
    for t in (.25, .5, .9):
        m = T.geodesic(p, q, t)
        assert torch.allclose(T.angles(p, m), t*theta, atol=1e-12) and torch.allclose(T.angles(m, q), (1-t)*theta, atol=1e-12)
        assert all((T.norms(m, f)-1).abs().max() < 1e-12 for f in T.families)
    assert equal(T.geodesic(p, q, 0.), p) and apart(T.geodesic(p, q, 1.), q) == 0
    v = T.log(p, q)
    assert apart({k: q[k] for k in v}, {k: T.exp(p, v)[k] for k in v}) < 1e-12 and apart(v, T.log(p, T.exp(p, v))) < 1e-11
    assert apart(v, T.tangent(p, v)) < 1e-12
    assert all(x.abs().max() == 0 for x in T.log(p, p).values()) and equal(T.exp(p, T.log(p, p)), p)
    other = T.noise(p, .01, c.gen)
    moved = T.angles(p, other)[T.dims() > .5]
    assert len(moved) < 50 or abs(moved.square().mean().sqrt()/.01 - 1) < .2
    assert all((T.norms(other, f)-1).abs().max() < 1e-12 for f in T.families) and apart(T.level(other), other) < 1e-12

@some
def test_many_at_once_is_one_after_another(name):
    c = case(name)
    T = Torus(c.sym, 'full')
    a, b = [c.draw() for _ in range(3)], [c.draw() for _ in range(3)]
    a[1] = {k: torch.zeros_like(v) if k == next(iter(c.sym.shapes)) else v for k, v in a[1].items()}      # with dead units
    P, Q = T.project(stacked(*a)), T.project(stacked(*b))
    p, q = [*map(T.project, a)], [*map(T.project, b)]
    V = T.log(P, Q)
    for i in range(3):
        assert equal(at(P, i), p[i]) and equal(at(Q, i), q[i])
        assert torch.allclose(T.angles(P, Q)[i], T.angles(p[i], q[i]), rtol=1e-12) and torch.allclose(T.angles(P, q[0])[i], T.angles(p[i], q[0]), rtol=1e-12)
        assert apart(at(T.geodesic(P, Q, .3), i), T.geodesic(p[i], q[i], .3)) < 1e-13
        assert apart(at(V, i), T.log(p[i], q[i])) < 1e-13 and apart(at(T.exp(P, V), i), T.exp(p[i], T.log(p[i], q[i]))) < 1e-13

@pytest.mark.parametrize('device', DEVICES)
def test_buffers_integers_and_devices(device):
    "Angles see parameters alone; integers pass; everything stays on its device."
    c = case('models.resnet18')
    T = Torus(c.sym)
    p, q = ({k: v.to(device) for k, v in T.project({**c.draw(), **{k: v for k, v in c.start.items() if not v.is_floating_point()}}).items()} for _ in range(2))
    shaken = {k: v if k in c.sym.parameters else v+1 for k, v in q.items()}
    assert torch.equal(T.angles(p, q), T.angles(p, shaken)) and T.dist(p, q) == T.dist(p, shaken)
    for s in (T.project(p), T.geodesic(p, shaken, .5), T.exp(p, T.log(p, q)), T.noise(p, .1, c.gen)):
        assert all(v.device.type == device and v.dtype == p[k].dtype and (v.is_floating_point() or torch.equal(v, p[k])) for k, v in s.items())
    assert T.angles(p, q).device.type == T.norms(p, T.families[0]).device.type == device

# gradients

def leaf(s): return {k: v.clone().requires_grad_() for k, v in s.items()}
def finite(*states): return all(v.grad is None or v.grad.isfinite().all() for s in states for v in s.values())

@pytest.mark.parametrize('where', ['coincident', 'antipodal', 'dead', 'apart'])
def test_gradients_are_finite(where):
    c = case('mlp')
    T = Torus(c.sym)
    p, q = T.project(c.draw()), T.project(c.draw())
    zero = lambda s: T.project({k: torch.zeros_like(v) if k in ('0.weight', '0.bias') else v.abs() if k == '2.bias' else v for k, v in s.items()})
    if where == 'coincident': q = p
    if where == 'antipodal': q = p | {k: -p[k] for k in ('0.weight', '0.bias')}
    if where == 'dead': p, q = zero(p), zero(q)
    u, v = leaf(p), leaf(q)
    T.angles(u, v).square().sum().backward()
    T.angles(u, v).sum().backward()
    assert finite(u, v)
    if where == 'antipodal':
        for f in (T.log, lambda p, q: T.geodesic(p, q, .5)):
            with pytest.raises(ValueError, match='antipodal on 12 spheres'): f(u, v)
        return
    for f in (lambda: T.geodesic(u, v, .3), lambda: T.log(u, v), lambda: T.exp(u, T.log(u, v)), lambda: T.project(u)):
        sum(x.square().sum() + x.sum() for x in f().values()).backward()
        assert finite(u, v)

def test_gradients_are_true():
    "Going on along the geodesic the angle grows at its own rate; angles and geodesics against finite differences."
    c = case('mlp')
    T = Torus(c.sym)
    p, q = T.project(c.draw()), T.project(c.draw())
    s, v = torch.zeros((), dtype=torch.float64, requires_grad=True), T.log(q, p)
    theta = T.angles(p, T.exp(q, {k: -s*x for k, x in v.items()}))
    theta.sum().backward()
    assert abs(s.grad/theta.sum() - 1) < 1e-9
    w = q['0.bias'].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: T.angles(p, q | {'0.bias': w}), w)
    assert torch.autograd.gradcheck(lambda w: T.geodesic(p, q | {'0.bias': w}, .3)['0.weight'], w)
    assert torch.autograd.gradcheck(lambda w: T.project(q | {'0.bias': w})['2.weight'], w)

@pytest.mark.parametrize('name', ['mlp', 'grouped', 'encoder_layer', 'models.resnet18'])
def test_gradients_of_angles_equal_those_of_their_definition(name):
    "First and second derivatives, of many states against one too, by formula and by autograd through every element."
    c = case(name)
    T = Torus(c.sym)
    def plain(p, q):
        near, far = T.spread(lambda u, v: torch.stack([(u-v).square(), (u+v).square()]), T.place, p, q)[..., :-1].sqrt()
        return 2*torch.atan2(near, far)
    draw = lambda: T.project(c.draw())
    P, q, r = stacked(draw(), draw()), draw(), {k: torch.randn(v, generator=c.gen, dtype=torch.float64) for k, v in c.sym.shapes.items()}
    def derivatives(angles):
        u, v = ({k: s[k].clone().requires_grad_() for k in T.place} for s in (P, q))
        leaves = [*u.values(), *v.values()]
        first = torch.autograd.grad((angles(u, v)**3).sum(), leaves, create_graph=True)
        return first, torch.autograd.grad(sum((g*r[k]).sum() for k, g in zip([*u, *v], first)), leaves)
    for ours, theirs in zip(derivatives(T.angles), derivatives(plain)):
        assert all(torch.allclose(g, h, rtol=1e-9, atol=1e-11*h.abs().max().item()) for g, h in zip(ours, theirs))

def test_angles_under_transforms_of_functions():
    c = case('mlp')
    T = Torus(c.sym)
    P, q = stacked(*(T.project(c.draw()) for _ in range(3))), T.project(c.draw())
    grad = torch.func.grad(lambda p: T.angles(p, q).sum())
    assert torch.allclose(torch.func.vmap(lambda p: T.angles(p, q))(P), T.angles(P, q), rtol=1e-12)
    assert max(apart(at(torch.func.vmap(grad)(P), i), grad(at(P, i))) for i in range(3)) < 1e-12

# refusals

def test_what_is_wrong_is_refused():
    c = case('mlp')
    with pytest.raises(ValueError, match="gauge: wanted 'paper' or 'full', got 'none'"): Torus(c.sym, 'none')
    with pytest.raises(ValueError, match='state lacks'): Torus(c.sym).project({})
