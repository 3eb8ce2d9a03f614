"Alignment of every structure and architecture: planted elements come back, objectives are what they say, solvers are deterministic."
import pytest, torch
from torch.func import functional_call
from landscape_nb.alignment import METHODS, align, block_similarity
from landscape_nb.search.group import generic_state, state_of
from landscape_nb.matching.levels import Layout
from landscape_nb.models import ARCHS, make_model
from landscape_nb.matching.similarity import Matching, inner
from landscape_nb.store import stream
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus
from structures import STRUCTURES, ResidualStream, names_of_tests
from test_structures import symmetries

WEIGHTS = [m for m in METHODS if m not in ('activation', 'none')]
ENTANGLED = {'bare_attention', 'channel_attention'}       # signs that turn several levels at once: listed in `left_signs`

def random_state(sym, gen, dtype=torch.float64): return {k: torch.randn(s, generator=gen, dtype=dtype) for k, s in sorted(sym.shapes.items())}

@pytest.mark.parametrize('name', names_of_tests())
def test_a_planted_element_comes_back(name):
    "All permutations and signs at once, on random weights: found exactly, by the barycentre and by Frank and Wolfe."
    sym, gen = symmetries(name), stream('planted', name)
    if not sym.blocks and not any(f.kind == 'sign' for f in sym.families): pytest.skip('nothing to match')
    a = random_state(sym, gen)
    kinds = ('permute', 'sign') if name not in ENTANGLED else ('permute',)
    assert bool(Layout(sym).left_signs) == (name in ENTANGLED)
    far = sym.sample(gen, kinds=kinds)(a)
    for method in ('bary', 'fw'):
        r = align(sym, a, far, method, kinds=kinds)
        assert r.dist_after < 1e-6, (method, r.objective, inner(sym, a, a))

@pytest.mark.parametrize('name', ['mlp', 'tanh_mlp', 'resnet_bn', 'densenet', 'grouped', 'vit', 'shifted_windows', 'rnn_tanh', 'lstm', 'shuffled_groups', 'bilinear', 'attention_multi_query'])
def test_the_compiled_pair_is_the_objective(name):
    "Objective, similarity and element of the compiled pair against the states themselves; and every solver reports what it reached."
    sym, gen = symmetries(name), stream('objective', name)
    a, b = random_state(sym, gen), random_state(sym, gen)
    m = Matching(Layout(sym), a, b)
    own = [k for k in m.layout.of_tensor if k not in m.layout.loose]
    value = lambda g: sum((a[k]*g(b)[k]).sum().item() for k in own)
    polynomial = lambda c: sum((m.score(l, m.linear(l), c) + m.score(l, m.similarity(l, c), c))/2 for l in range(len(m.levels)))
    c, d = m.random(gen), m.random(gen)
    assert abs(polynomial(c)-polynomial(d) - (value(c.element())-value(d.element()))) < 1e-9*max(1, abs(polynomial(c)))
    for method in WEIGHTS:
        r = align(sym, a, b, method)
        assert abs(r.objective - inner(sym, a, r.element(b))) < 1e-9 and all(torch.equal(r.state[k], v) for k, v in r.element(b).items())
        if method not in ('greedy',): assert r.objective >= r.objective_before - 1e-9
        again = align(sym, a, b, method)
        assert again.objective == r.objective and all(torch.equal(r.state[k], v) for k, v in again.state.items())

@pytest.mark.parametrize('name', ['mlp', 'resnet_bn', 'vit', 'tanh_mlp'])
def test_no_single_block_can_gain(name):
    "At the end of coordinate descent no assignment of one block, by the plain similarity, gains anything."
    sym, gen = symmetries(name), stream('optimum', name)
    a, b = random_state(sym, gen), random_state(sym, gen)
    r = align(sym, a, b, 'cd', kinds=('permute',))
    for j, block in enumerate(sym.blocks):
        S = block_similarity(sym, block, a, r.state)
        for _ in range(20):
            p = torch.randperm(block.n, generator=gen)
            assert inner(sym, a, sym.element({j: p})(r.state)) <= r.objective + 1e-9
        from scipy.optimize import linear_sum_assignment
        rows, cols = linear_sum_assignment(S.numpy(), maximize=True)
        assert S[rows, cols].sum() <= S.trace() + 1e-9*abs(S.trace()) or name == 'vit' and block.parent is None

def test_planted_in_a_residual_network():
    "Two inputs and two outputs hold a stream of 30 units: coordinate descent is lost, Frank and Wolfe finds 50 of 50, and 30 of 30 under noise as strong as the weights."
    sym, found, seconds = find_symmetries(ResidualStream(), torch.randn(2, 2)), {}, {}
    for sigma, trials in ((0, 50), (1, 30)):
        for trial in range(trials):
            gen = stream('residual', sigma, trial)
            a = random_state(sym, gen, torch.float32)
            g = sym.sample(gen, kinds=('permute',))
            b = {k: v + sigma*torch.randn(v.shape, generator=gen) for k, v in sorted(g(a).items())}
            for method in ('cd', 'fw'):
                r = align(sym, a, b, method, kinds=('permute',))
                found[method, sigma] = found.get((method, sigma), 0) + (r.objective >= inner(sym, a, g.inverse()(b)) - 1e-3)
                seconds[method] = seconds.get(method, 0) + r.seconds
    print(found, seconds)
    assert found['fw', 0] == 50 and found['fw', 1] >= 29 and found['cd', 0] < 25 and found['cd', 1] < 10

@pytest.mark.parametrize('arch', ARCHS)
def test_home_from_anywhere_on_the_orbit(arch):
    "Permutations, scales over four decades, signs, normaliser scales: `project` and `align` bring a network back, and no prediction changes."
    channels, size = (40, 1) if arch == 'cnn1d' else (1, 28)
    x = torch.randn(16, channels, size, size, generator=stream('images', arch), dtype=torch.float64)
    net = make_model(arch, 10, channels, size, width=.125 if arch != 'mlp' else .25, seed=0)
    sym = find_symmetries(net, x[:2].float())
    T, a = Torus(sym), generic_state(state_of(net), sym.parameters, stream('orbit', arch))
    far = sym.sample(stream('far', arch), kinds=('permute', 'scale', 'sign', 'output'), spread=2.)(a)
    p, q = T.project(a), T.project(far)
    for method in ('bary', 'fw'):
        r = align(sym, p, q, method, torus=T)
        assert r.dist_after < 1e-6 < r.dist_before, (method, r.dist_after)
    net = net.double().eval()
    y = functional_call(net, a, (x,)).argmax(1)
    for s in (p, q, r.state): assert torch.equal(functional_call(net, s, (x,)).argmax(1), y)

def test_float32_finds_what_float64_finds():
    "On an independent pair the solvers reach the same objective in both, to rounding or a better tie."
    sym = find_symmetries(make_model('lenet', width=.5), torch.randn(2, 1, 28, 28))
    a, b = (state_of(make_model('lenet', width=.5, seed=s)) for s in (0, 1))
    wide = lambda s: {k: v.double() for k, v in s.items()}
    for method in ('greedy', 'cd', 'bary', 'fw'):
        r, w = align(sym, a, b, method), align(sym, wide(a), wide(b), method)
        assert abs(r.objective - w.objective) < .02*abs(w.objective)

def test_activation_with_signs_and_convolutions():
    "Correlations find a planted permutation of a convolutional network; its parameters are not looked at where a module shows the units."
    net = make_model('lenet', width=.5, seed=0)
    x = torch.randn(64, 1, 28, 28, generator=stream('activation'))
    sym, a = find_symmetries(net, x[:2]), state_of(net)
    g = sym.sample(stream('move'), kinds=('permute',))
    r = align(sym, a, g(a), 'activation', model=net, data=x)
    assert r.dist_after == 0 and net.training
    assert align(sym, a, g(a), 'activation', model=net, data=[x[:30], x[30:]]).dist_after == 0

@pytest.mark.parametrize('name', ['squeezenet1_1', *(pytest.param(n, marks=pytest.mark.long) for n in
    'resnet18 resnext50_32x4d densenet121 mobilenet_v3_small shufflenet_v2_x0_5 regnet_y_400mf efficientnet_b0 swin_t'.split())])
def test_home_from_anywhere_in_torchvision(name):
    "The same for networks that are built elsewhere, on random weights: grouped and depthwise convolutions, gates, shuffles, concatenations, windows of attention."
    import torchvision
    torch.manual_seed(0)
    net, x = torchvision.models.get_model(name, weights=None), torch.randn(4, 3, 64, 64, generator=stream('images', name), dtype=torch.float64)
    sym = find_symmetries(net, x[:2].float())
    T, a = Torus(sym), generic_state(state_of(net), sym.parameters, stream('orbit', name))
    far = sym.sample(stream('far', name), kinds=('permute', 'scale', 'sign', 'output'), spread=2.)(a)
    p, q = T.project(a), T.project(far)
    r = align(sym, p, q, 'bary', torus=T)
    assert r.dist_after < 1e-6 < r.dist_before, r.dist_after
    net = net.double().eval()
    y = functional_call(net, a, (x,)).argmax(1)
    for s in (p, q, r.state): assert torch.equal(functional_call(net, s, (x,)).argmax(1), y)
