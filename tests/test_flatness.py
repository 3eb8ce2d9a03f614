"Flatness: exact values, invariance under the whole group, stopping."
from functools import cache
import numpy as np, pytest, torch
from torch import nn
from landscape_nb.evaluate import Evaluator
from landscape_nb.flatness import capped, draw, local_energy, ordered, shaken, tangent_energy, worst_case
from landscape_nb.search.group import generic_state, state_of
from landscape_nb.models import make_model
from landscape_nb.landscape.sharpness import curvature, filter_normalised, sam_sharpness
from landscape_nb.store import stream
from landscape_nb.studies.ranks import correlations, kendall, partial, spearman
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus

def tanh(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10))

@cache
def setting(arch):
    net = tanh() if arch == 'tanh' else make_model(arch, size=8, width=.06 if arch != 'lenet' else .5, seed=0)
    gen = stream('test_flatness')
    x = torch.randn(150, 1, 8, 8, generator=gen)
    a = generic_state(state_of(net), dict(net.named_parameters()), stream('state', arch))
    sym = find_symmetries(net, x[:2])
    ev = Evaluator(net, (x, torch.zeros(150, dtype=torch.long)))
    a = ev.refresh(a)                                                       # else a deep one says the same of every image
    return Evaluator(net, (x, ev.logits(a).argmax(1))), Torus(sym), a       # no error at a

# exact values

@pytest.mark.parametrize('seed', range(3))
def test_a_perceptron_has_the_energy_of_the_formula(seed):
    n, gen = 60, stream('perceptron', seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(n, 2, bias=False))
    x, w = torch.randn(400, n, generator=gen, dtype=torch.float64), torch.randn(2, n, generator=gen, dtype=torch.float64)
    T, y = Torus(find_symmetries(net, x[:2].float())), (x @ (w[1]-w[0]) > 0).long()
    p = T.project({'1.weight': w})
    sigmas, v = (.05, .1, .2, .4, .8), p['1.weight']
    table = local_energy(Evaluator(net, (x, y)), T, p, sigmas, 100, stream('noise', seed))
    margin, size = (x @ (v[1]-v[0]))*(2*y-1), (x.square() @ v.square().sum(0)).sqrt()
    for s, e, se in zip(sigmas, table.energy, table.se): assert abs(e - torch.special.ndtr(-margin/(s*size)).mean().item()) < 3*se

def test_local_energy_is_a_loop():
    ev, T, a = setting('resnet18')
    p = T.project(a)
    table, gen = local_energy(ev, T, a, (.05, .1, .2, .4), 3, stream('loop')), stream('loop')
    rows = []
    for _ in range(3):
        z = draw(p, T.sym.parameters, gen)
        rows.append([(ev.logits(shaken(p, z, s)).argmax(1) != ev.y).double().mean().item() for s in (.05, .1, .2, .4)])
    assert np.allclose(table.energy, np.mean(rows, 0) - ev(p).error, atol=1e-15)

# invariance

@pytest.mark.parametrize('measure', [local_energy, tangent_energy, worst_case])
@pytest.mark.parametrize('arch', ['mlp', 'lenet', 'resnet18', 'tanh'])
def test_own_measures_are_one_number_on_an_orbit(arch, measure):
    ev, T, a = setting(arch)
    b = T.sym.sample(stream('element', arch), spread=.5)(a)
    kwargs = dict(steps=4) if measure is worst_case else {}
    one, two = (measure(ev, T, s, (.05, .3), 2, stream('noise'), order=True, **kwargs) for s in (a, b))
    assert np.abs(one.energy - two.energy).max() < 1e-6 and np.abs(one.se - two.se).max() < 1e-6 and one.energy.max() > 0

@pytest.mark.parametrize('arch', ['mlp', 'resnet18', 'tanh'])
def test_an_order_is_the_same_function(arch):
    ev, T, a = setting(arch)
    p = T.project(a)
    o = ordered(T, p)
    assert (ev.logits(o) - ev.logits(p)).abs().max() < 1e-9*ev.logits(p).abs().max() and any(not torch.equal(o[k], v) for k, v in p.items())

def test_comparisons_do_change():
    ev, T, a = setting('lenet')
    b = T.sym.sample(stream('element', 'scale'), kinds=('scale',), spread=1)(a)
    for m in (sam_sharpness, lambda ev, p: curvature(ev, p, 4, stream('trace'))['trace'], lambda ev, p: filter_normalised(ev, p, .3, 4, stream('filter'))):
        assert abs(m(ev, b)/m(ev, a) - 1) > .05

# radii and stopping

def test_a_capped_vector_has_its_radius():
    _, T, a = setting('mlp')
    p = T.project(a)
    v = T.tangent(p, {k: torch.randn(p[k].shape, generator=stream('v', k), dtype=torch.float64) for k in sorted(T.sym.parameters)})
    for stretch in (False, True):
        length = T.spread(Tensor_square, T.place, capped(T, v, p, .1, stretch))[:-1].sqrt()
        assert (length < .1+1e-9).all() and (not stretch or (length > .1-1e-9).all())
    away = T.angles(p, T.exp(p, capped(T, v, p, .1, True)))
    assert torch.allclose(away, torch.full_like(away, .1), atol=1e-9)

Tensor_square = torch.Tensor.square

def test_the_worst_is_inside_and_worse_than_the_mean():
    ev, T, a = setting('mlp')
    worst, mean = worst_case(ev, T, a, (.1,), 2, stream('w'), steps=10), tangent_energy(ev, T, a, (.1,), 10, stream('w'))
    assert worst.energy[0] > mean.energy[0] + 3*mean.se[0] and worst.worst[0] >= worst.energy[0]

@pytest.mark.parametrize('measure', [local_energy, tangent_energy])
def test_draws_until_the_wanted_precision(measure):
    ev, T, a = setting('mlp')
    run = lambda **k: measure(ev, T, a, (.1, .4), 4, stream('stop'), **k)
    loose, tight, cut = run(tolerance=1.), run(tolerance=.008), run(tolerance=1e-9, most=7)
    assert loose.n[0] == 4 and np.allclose(loose.energy, run().energy) and tight.se.max() <= .008 and tight.n[0] > 4 and cut.n[0] == 7
    with pytest.raises(ValueError, match='tolerance'): run(tolerance=0)
