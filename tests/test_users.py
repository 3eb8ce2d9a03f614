"Networks and files as people have them: right values, nothing of the caller's changed, reasons where something is refused."
import json, math, threading, warnings
import pytest, torch, torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torchvision.ops import FrozenBatchNorm2d
from landscape_nb.alignment import align
from landscape_nb.evaluate import Evaluator
from landscape_nb.flatness import local_energy, worst_case
from landscape_nb.frames import align_many
from landscape_nb.ground.states import with_estimates
from landscape_nb.ground.weights import StateError, load_state
from landscape_nb.landscape.sharpness import curvature, filter_normalised, gradient, sam_sharpness
from landscape_nb.paths import Path, barrier, fit_bend
from landscape_nb.symmetries import UnsupportedModelError, find_symmetries, state_of
from landscape_nb.torus import Torus
from structures import STRUCTURES

def gen(): return torch.Generator().manual_seed(0)
def sizes(sym): return sorted(b.n for b in sym.blocks)

class Net(nn.Module):
    "A network with its forward as a function."
    def __init__(self, f, **parts):
        super().__init__()
        self.f = f
        for k, v in parts.items(): setattr(self, k, v)
    def forward(self, x): return self.f(self, x)

def small(f=None, **more):
    torch.manual_seed(0)
    plain = lambda s, x: s.c(torch.tanh(s.b(F.relu(s.a(x)))))
    return Net(f or plain, a=nn.Linear(6, 8), b=nn.Linear(8, 7), c=nn.Linear(7, 3), **more).eval()

# --- 1: nothing of the caller's changes, and numbers are right

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.a, self.b = nn.Embedding(9, 6, max_norm=.5), nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer('calls', torch.zeros((), dtype=torch.long))
    def forward(self, i):
        self.calls += 1
        return self.b(F.relu(self.a(self.e(i).mean(1))))*self.calls

def wrapped(wrap): return lambda: nn.Sequential(wrap(nn.Linear(6, 8)), nn.ReLU(), wrap(nn.Linear(8, 7)), nn.Tanh(), nn.Linear(7, 3))
def pruned(m): prune.l1_unstructured(m, 'weight', .3); return m

MAKERS = dict(counting=Counting, spectral_old=wrapped(nn.utils.spectral_norm), spectral=wrapped(nn.utils.parametrizations.spectral_norm),
              weight_norm_old=wrapped(nn.utils.weight_norm), weight_norm=wrapped(nn.utils.parametrizations.weight_norm),
              orthogonal=wrapped(nn.utils.parametrizations.orthogonal), pruned=wrapped(pruned))

def pair(name):
    "Two networks that ran in training and in evaluation, with inputs and labels."
    torch.manual_seed(0)
    nets = [MAKERS[name](), MAKERS[name]()]
    x = torch.randint(9, (30, 4)) if name == 'counting' else torch.randn(30, 6)
    for net in nets: net.train()(x); net.eval()(x)
    return *nets, x, torch.arange(30) % 3

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', MAKERS)
def test_the_callers_tensors_and_module_stay(name):
    net, other, x, y = pair(name)
    a, b = state_of(net), state_of(other)
    before = [{k: v.detach().clone() for k, v in s.items()} for s in (a, b, net.state_dict())]
    modes = [m.training for m in net.modules()]
    sym, ev = find_symmetries(net, x[:2]), Evaluator(net, (x, y), batch_size=12)
    sym.check(net, x[:2])
    first = ev(a)
    gradient(ev, a)
    curvature(ev, a, 2, gen())
    barrier(ev, Path((a, b)), 3, refine=0)
    fit_bend(ev, a, b, steps=1, batch=8)
    T = Torus(sym)
    local_energy(ev, T, a, [.1], 2, gen())
    align(sym, a, b, 'activation', model=net, data=x)
    assert ev(a) == first
    for old, new in zip(before, (a, b, net.state_dict())): assert all(torch.equal(old[k], v) for k, v in new.items())
    assert [m.training for m in net.modules()] == modes
    assert sizes(sym) == {'counting': [8], 'orthogonal': []}.get(name, [7, 8])
    assert sym.check(net, x[:2]) < 1e-9
    if name == 'orthogonal': assert any('householder' in f.what for f in sym.frozen)
    if name != 'counting':
        right = F.cross_entropy(net(x), y).item()
        assert abs(first.loss - right) < 1e-5

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', ['spectral_old', 'spectral'])
def test_estimates_are_computed_and_not_averaged(name):
    net, other, x, _ = pair(name)
    a, b = state_of(net), state_of(other)
    sym = find_symmetries(net, x[:2])
    T = Torus(sym)
    points = [Path((a, b))(.5), T.geodesic(T.project(a), T.project(b), .5), align_many(sym, [a, b, a]) and T.mean([T.project(a), T.project(b)]).state]
    for p in points:
        for w in [k for k in p if k.endswith(('weight_orig', '.original'))]:
            u, v = (p[w.removesuffix('_orig') + s] if w.endswith('_orig') else p[w.replace('original', f'0.{s}')] for s in ('_u', '_v'))
            assert abs((u @ p[w] @ v).item() - torch.linalg.matrix_norm(p[w], 2).item()) < 1e-5
    assert with_estimates(state_of(small())).keys() == state_of(small()).keys()

def sure():
    "A network whose loss and gradient are zero in float32."
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))
    with torch.no_grad():
        for p in net.parameters(): p.zero_()
        net[0].weight[:4] = torch.eye(4)
        net[2].weight[:, :4] = 1e4*torch.eye(4)
    return net, torch.eye(4).repeat(8, 1)

def test_a_zero_gradient_gives_zero():
    net, x = sure()
    ev, p = Evaluator(net, (x, x.argmax(1))), state_of(net)
    assert ev(p) == (0., 0.)
    assert sam_sharpness(ev, p) == 0
    assert math.isfinite(filter_normalised(ev, p, generator=gen()))
    assert curvature(ev, p, 2, gen())['top'] == 0
    t = worst_case(ev, Torus(find_symmetries(net, x[:2])), p, [.05], 2, gen(), steps=2)
    assert t.energy.between(-1e-9, 1).all()

def test_curvature_does_not_depend_on_flags_or_unused_parameters():
    x, y = torch.randn(30, 6, generator=gen()), torch.arange(30) % 3
    found = []
    for how in ('as it is', 'frozen', 'half', 'unused'):
        net = small()
        if how == 'frozen': net.requires_grad_(False)
        if how == 'half': net.a.requires_grad_(False)
        ev = Evaluator(net, (x, y))
        found.append(curvature(ev, state_of(net), 4, gen()))
        if how == 'unused':
            net.d = nn.Linear(2, 2)
            ev, a = Evaluator(net, (x, y)), state_of(net)
            assert not gradient(ev, a)['d.weight'].any()
            assert abs(curvature(ev, a, 4, gen())['top'] - found[0]['top']) < 1e-3*found[0]['top']
            fit_bend(ev, a, a, steps=1, batch=8)
    assert all(f == found[0] for f in found)

def test_curvature_of_attention_and_of_weight_norm():
    torch.manual_seed(0)
    f = lambda s, x: s.head((s.into(x) + s.attn(s.into(x), s.into(x), s.into(x), need_weights=False)[0]).mean(1))
    net = Net(f, into=nn.Linear(6, 16), attn=nn.MultiheadAttention(16, 2, batch_first=True), head=nn.utils.parametrizations.weight_norm(nn.Linear(16, 3)))
    ev, p = Evaluator(net, (torch.randn(30, 5, 6), torch.arange(30) % 3)), state_of(net)
    got = curvature(ev, p, 4, gen())
    with sdpa_kernel(SDPBackend.MATH): g = gradient(ev, p)
    k, step = 'into.weight', 1e-2
    bent = lambda t: gradient(ev, {**p, k: p[k] + t*step*g[k]/g[k].norm()})[k]
    quotient = ((bent(1) - bent(-1))*g[k]/g[k].norm()).sum().item()/(2*step)
    assert got['top'] > quotient - 1e-2*abs(quotient) and math.isfinite(got['trace'])

# --- 2: what runs is searched

def lstm(s, x):
    h = torch.zeros(1, len(x), 14), torch.zeros(1, len(x), 14)
    return s.head(s.rnn(x, h)[0][:, -1])

def exact(s, x):
    with torch.autocast('cpu', enabled=False): h = F.relu(s.a(x.float()))
    with torch.no_grad(): h = F.relu(s.b(h))
    return s.c(h)

def rounded(s, x):
    with torch.autocast('cpu', dtype=torch.bfloat16): return s.c(F.relu(s.b(F.relu(s.a(x)))))

CONSTANTS = dict(
    lstm=(lambda: Net(lstm, rnn=nn.LSTM(7, 14, batch_first=True), head=nn.Linear(14, 5)), torch.randn(2, 4, 7), [14]),
    where=(lambda: small(lambda s, x: s.c(F.relu(s.b(torch.where(s.a(x) >= 0, 1., -1.))))), torch.randn(2, 6), [7, 8]),
    one_hot=(lambda: Net(lambda s, x: s.b(F.relu(s.a(F.one_hot(x, 7).float())).mean(1)), a=nn.Linear(7, 12), b=nn.Linear(12, 5)), torch.randint(7, (2, 4)), [12]),
    autocast_off=(lambda: small(exact), torch.randn(2, 6), [7, 8]),
    autocast_on=(lambda: small(rounded), torch.randn(2, 6), [7, 8]),
    padded=(lambda: small(lambda s, x: s.c(F.relu(s.b(F.relu(s.a(torch.cat([x, torch.zeros(len(x), 3)], 1))))))), torch.randn(2, 3), [7, 8]),
    ellipsis=(lambda: small(lambda s, x: s.c(torch.einsum('...i,oi->...o', torch.einsum('...i,oi', x, s.a.weight).relu(), s.b.weight).relu().mean(1))), torch.randn(2, 4, 6), [7, 8]),
    dropout=(lambda: small(lambda s, x: s.c(F.relu(s.b(F.dropout(F.relu(s.a(x)), .3))))), torch.randn(2, 6), [7, 8]))

@pytest.mark.parametrize('name', CONSTANTS)
def test_what_forward_makes_follows_the_precision_of_the_check(name):
    make, x, right = CONSTANTS[name]
    torch.manual_seed(0)
    net = make().eval()
    sym = find_symmetries(net, x)
    assert sizes(sym) == right and sym.check(net, x) < 1e-9
    assert torch.get_default_dtype() == torch.float32
    assert any('dropout' in f.why for f in sym.frozen) == (name == 'dropout')

@torch.library.custom_op('users::single', mutates_args=())
def single(x:torch.Tensor)->torch.Tensor:
    if x.dtype != torch.float32: raise RuntimeError('only float32')
    return x.tanh()

@single.register_fake
def _(x): return torch.empty_like(x)

def test_a_network_that_runs_in_float32_only_is_verified_there_and_says_so():
    net = small(lambda s, x: s.c(F.relu(s.b(F.relu(s.a(single(x)))))))
    sym = find_symmetries(net, torch.randn(2, 6))
    assert sizes(sym) == [7, 8] and sym.check(net, torch.randn(2, 6)) < 1e-5
    assert any('verified in float32' in f.why for f in sym.frozen)

# --- 3 and 4: what is lost has its reason, and the reason is true

def test_frozen_batch_norm_moves_with_its_channels():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), FrozenBatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), FrozenBatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)).eval()
    for v in net.buffers(): v.copy_(torch.rand(v.shape) + .5)
    x = torch.randn(2, 3, 12, 12)
    sym = find_symmetries(net, x)
    assert sizes(sym) == [8, 12] and sym.check(net, x) < 1e-9
    g = sym.sample(gen(), ('permute',))
    assert not torch.equal(g(state_of(net))['1.running_var'], net[1].running_var)

def test_a_constant_that_tells_units_apart_is_named():
    for f in (lambda s, x: s.c(F.relu(s.b(F.relu(s.a(x)))) + torch.arange(7)/7), lambda s, x: s.c(F.relu(s.b(F.relu(s.a(x)))) + s.pe)):
        net = small(f)
        net.register_buffer('pe', torch.arange(7)/7)
        sym = find_symmetries(net, torch.randn(2, 6))
        assert sizes(sym) == [8]
        assert any('7 units of b.weight[0] meet a constant' in o.why for o in sym.frozen)

@pytest.mark.parametrize('draw', [torch.randn, torch.rand, lambda n: torch.bernoulli(torch.full((n,), .5))])
def test_a_random_network_is_refused_as_random(draw):
    with pytest.raises(UnsupportedModelError, match='random in evaluation mode'):
        find_symmetries(small(lambda s, x: s.c(F.relu(s.b(F.relu(s.a(x)))*draw(7)))), torch.randn(2, 6))

def test_an_evaluator_warns_of_a_random_network():
    net = small(lambda s, x: s.c(F.relu(s.b(F.dropout(F.relu(s.a(x)), .5)))))
    with pytest.warns(UserWarning, match='random in evaluation mode'): Evaluator(net, (torch.randn(9, 6), torch.arange(9) % 3))(state_of(net))

def test_complex_buffers_are_no_complex_parameters():
    net = small(lambda s, x: s.c(F.relu(s.b(F.relu(s.a(x)*s.turn.real[0])))))
    net.register_buffer('turn', torch.polar(torch.ones(2), torch.ones(2)))
    assert sizes(find_symmetries(net, torch.randn(2, 6))) == [7, 8]
    net.c.weight = nn.Parameter(net.c.weight.to(torch.complex64))
    with pytest.raises(UnsupportedModelError, match='complex parameters'): find_symmetries(net, torch.randn(2, 6))

def test_wrapped_modules():
    x, y = torch.randn(60, 6), torch.arange(60) % 3
    right = (small()(x).argmax(1) != y).double().mean().item()
    for net in (nn.DataParallel(small()), AveragedModel(small())):
        assert sizes(find_symmetries(net, x[:2])) == [7, 8]
        assert Evaluator(net, (x, y))(state_of(net)).error == right

# --- 5: no raw exceptions

@torch.jit.script
def scripted(x:torch.Tensor): return x.mul(torch.tanh(x))

def test_modules_that_python_cannot_copy():
    x, y = torch.randn(30, 6), torch.arange(30) % 3
    net = small(lambda s, x: s.c(scripted(s.b(F.relu(s.a(x))))), lock=threading.Lock())
    net.last = net(x)
    net.cache = dict(last=net(x))
    assert sizes(find_symmetries(net, x[:2])) == [7, 8]
    assert Evaluator(net, (x, y))(state_of(net)).error == (net(x).argmax(1) != y).double().mean().item()

def test_shapes_suffice_for_a_search():
    with torch.device('meta'): net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    for x in (torch.randn(2, 6), torch.randn(2, 6, device='meta')): assert sizes(find_symmetries(net, x)) == [8]
    assert net[0].weight.is_meta
    net.register_buffer('order', torch.arange(8, device='meta'))
    with pytest.raises(UnsupportedModelError, match='device meta'): find_symmetries(net, x)

@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_matched_bit_for_bit(dtype):
    net = nn.Sequential(nn.Conv2d(3, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 10, 3), nn.ReLU(), nn.Flatten(), nn.Linear(160, 14), nn.Tanh(), nn.Linear(14, 4)).eval()
    sym = find_symmetries(net, torch.randn(2, 3, 8, 8))
    T, g = Torus(sym), sym.sample(gen(), ('permute',))
    a = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state_of(net).items()}
    for method in ('greedy', 'cd', 'bary', 'fw', 'best'):
        r = align(sym, a, g(a), method)
        assert all(torch.equal(r.state[k], v) for k, v in a.items())
    p, q = T.project(a), T.project(g(a))
    q = align(sym, p, q, torus=T).state
    assert T.dist(p, q) < .2
    for state in (T.geodesic(p, q, .5), T.exp(p, T.log(p, q)), T.noise(p, .1, gen()), T.mean([p, q]).state):
        assert all(v.dtype == dtype for v in state.values() if v.is_floating_point())

# --- 6: usable weights

def test_averaged_models_and_names_of_checkpoints(tmp_path):
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    swa = AveragedModel(net, use_buffers=True)
    swa.update_parameters(net)
    torch.save(dict(state_dict=swa.state_dict(), epoch=3), tmp_path/'swa.pt')
    sd, right = net.state_dict(), state_of(net)
    for c in (swa, swa.state_dict(), tmp_path/'swa.pt', dict(step=1, model_state=sd), dict(params=sd), dict(epoch=1, state_dict_ema=sd)):
        assert all(torch.equal(load_state(c, net)[k], v) for k, v in right.items())
    with pytest.warns(UserWarning, match='state_dict is read; the checkpoint also holds state_dict_ema'):
        load_state(dict(state_dict=sd, state_dict_ema={k: v*0 for k, v in sd.items()}), net)

def test_an_averaged_counter_is_cut_as_torch_does():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    soup = {k: v*1. for k, v in net.state_dict().items()} | {'1.num_batches_tracked': torch.tensor(2.5)}
    assert load_state(soup, net)['1.num_batches_tracked'] == 2
    with pytest.raises(StateError, match='wanted torch.int64'): load_state(soup | {'1.num_batches_tracked': torch.tensor(math.nan)}, net)

def test_sharded_weights(tmp_path):
    net = small()
    right = state_of(net)
    parts = {'model-1.safetensors': {k: v for k, v in right.items() if k[0] == 'a'}, 'model-2.safetensors': {k: v for k, v in right.items() if k[0] != 'a'}}
    for name, part in parts.items(): save_file(part, tmp_path/name)
    with pytest.raises(StateError, match='a folder'): load_state(tmp_path, net)
    index = tmp_path/'model.safetensors.index.json'
    index.write_text(json.dumps(dict(weight_map={k: name for name, part in parts.items() for k in part})))
    for source in (tmp_path, index): assert all(torch.equal(v, right[k]) for k, v in load_state(source, net).items())
    (tmp_path/'model-2.safetensors').unlink()
    with pytest.raises(StateError, match='model-2.safetensors'): load_state(tmp_path, net)
    index.write_text(json.dumps(dict(weight_map=dict(a='../x.safetensors'))))
    with pytest.raises(StateError, match='files beside it'): load_state(index, net)

# --- queries that share keys

@pytest.mark.parametrize('name', [k for k in STRUCTURES if k.startswith('grouped_queries_')])
def test_groups_of_queries_and_queries_of_a_group_are_found_again(name):
    "LLM-Pruner#64, Torch-Pruning#527: heads that share a key and value."
    torch.manual_seed(0)
    net, x = STRUCTURES[name]()
    net, a = net.double(), state_of(net.double())
    sym = find_symmetries(net.eval(), x.double())
    heads = torch.arange(len(a['q.weight'])).view(-1, 6)
    shared = len(heads)//(len(a['k.weight'])//6)
    one = heads.clone()
    first = [0, 2] if name.endswith('tiled') else [0, 1]         # two queries of the first key
    one[first] = heads[first[::-1]]
    c = a | {'q.weight': a['q.weight'][one.reshape(-1)], 'o.weight': a['o.weight'][:, one.reshape(-1)]}
    pair = torch.arange(len(a['k.weight'])).view(-1, 6)
    pair[[0, 1]] = pair[[1, 0]]
    groups = heads.view(shared, -1, 6).transpose(0, 1) if name.endswith('tiled') else heads.view(-1, shared, 6)
    swap = groups.clone()
    swap[[0, 1]] = groups[[1, 0]]
    if name.endswith('tiled'): swap = swap.transpose(0, 1)
    q, k = swap.reshape(-1), pair.reshape(-1)
    b = a | {'q.weight': a['q.weight'][q], 'o.weight': a['o.weight'][:, q], 'k.weight': a['k.weight'][k], 'v.weight': a['v.weight'][k]}
    y = torch.func.functional_call(net, a, x.double())
    for moved in (b, c):
        assert torch.allclose(torch.func.functional_call(net, moved, x.double()), y, atol=1e-12)
        back = align(sym, a, moved).state
        assert max((back[k]-a[k]).abs().max().item() for k in a) < 1e-9
