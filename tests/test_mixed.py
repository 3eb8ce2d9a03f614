"Alignment over whole matrices: canonical forms keep the function, planted elements come back, nothing ends below permutations."
import itertools
import pytest
import torch
from torch.func import functional_call
from landscape_nb.alignment import align
from landscape_nb.matching.mixed import OVER, Heads, balancing, canonical, levelled, parts_of, turning
from landscape_nb.matching.similarity import inner
from landscape_nb.search.group import SymmetryError, generic_state, leaves, relative_change
from landscape_nb.search.mixing import random_matrix
from landscape_nb.symmetries import find_symmetries, state_of
from mixed_structures import MIXED

EVERYTHING = ('permute', 'scale', 'sign', 'mix', 'add')
# what is left is compact there: a random element of the whole group has to come back
COMPACT = ['perceptron', 'chain', 'gated', 'low_rank_frozen', 'rms_transformer', 'pre_norm', 'without_norm', 'llama',
           'multi_query', 'grouped_by_flag', 'layer_scale', 'gpt', 'vit', 'latent_attention', 'parallel_branches',
           'batch_norm', 'mixer', 'lstm']
OTHERS = ['post_norm', 'linear_bottleneck', 'low_rank', 'convnext']

def made(name):
    torch.manual_seed(0)
    net, x = MIXED[name]()
    sym = find_symmetries(net, x)
    x = x.double() if x.is_floating_point() else x
    def logits(state):
        with torch.no_grad(): return leaves(functional_call(net.double().eval(), state, (x,)))
    def drawn(seed):
        touched = {w.tensor for o in (*sym.blocks, *sym.families) for w in o.wires}
        return generic_state(state_of(net), sym.parameters, torch.Generator().manual_seed(seed), touched)
    return sym, logits, drawn

@pytest.mark.parametrize('name', COMPACT + OTHERS)
def test_an_element_of_the_whole_group_is_undone(name):
    sym, logits, drawn = made(name)
    a = drawn(0)
    far = sym.sample(torch.Generator().manual_seed(1), EVERYTHING)(a)
    assert relative_change(logits(a), logits(canonical(sym, a)(a))) < 1e-9
    r = align(sym, a, far, over='all')
    assert relative_change(logits(far), logits(r.state)) < 1e-9
    assert relative_change(logits(a), logits(r.reference)) < 1e-9
    size = inner(sym, r.reference, r.reference)**.5
    if name not in COMPACT: return
    assert r.dist_after < 1e-6*size
    again = canonical(sym, r.reference)(r.reference)
    assert inner(sym, again, again) == pytest.approx(size**2, rel=1e-6)

@pytest.mark.parametrize('name', ['chain', 'rms_transformer', 'pre_norm', 'without_norm', 'llama', 'vit', 'post_norm'])
def test_unrelated_networks_never_end_below_permutations(name):
    sym, logits, drawn = made(name)
    a, b = drawn(0), drawn(1)
    before = {k: v.clone() for k, v in (*a.items(), *b.items())}
    for over in OVER[1:]:
        r = align(sym, a, b, over=over)
        assert r.objective >= r.tried['permutations'] - 1e-9
        assert r.objective == pytest.approx(inner(sym, r.reference, r.state), abs=1e-9)
        assert relative_change(logits(b), logits(r.state)) < 1e-9
        assert all(torch.equal(v, r.element(b)[k]) for k, v in r.state.items())
        twice = align(sym, a, b, over=over)
        assert all(torch.equal(v, twice.state[k]) for k, v in r.state.items())
    assert all(torch.equal(v, before[k]) for k, v in b.items())

def test_heads_against_all_orders_and_many_rotations():
    "Two heads of three: no order with 200 random rotations each reaches more than what was found."
    sym, _, drawn = made('rms_transformer')
    a, b = (canonical(sym, s)(s) for s in (drawn(0), drawn(1)))
    heads, = [p for p in parts_of(sym, levelled(sym, a)) if isinstance(p, Heads)]
    step, gen = heads.best(a, b), torch.Generator().manual_seed(0)
    def reached(perm, matrices):
        state = sym.element({heads.number: perm})(b)
        for j, R in matrices.items():
            state = {k: v.clone() for k, v in state.items()}
            sym.mixings[j].act_(state, R)
        return inner(sym, a, state)
    found = reached(step.perms[heads.number], step.matrices)
    for order in itertools.permutations(range(2)):
        for _ in range(200):
            drawn_ones = {j: random_matrix('orthogonal', 3, gen) for j in step.matrices}
            assert reached(torch.tensor(order), drawn_ones) <= found + 1e-9

@pytest.mark.parametrize('kind', ['orthogonal', 'fixing ones', 'rotary'])
def test_no_random_rotation_reaches_more(kind):
    gen = torch.Generator().manual_seed(0)
    for _ in range(5):
        C = torch.randn(4, 4, generator=gen, dtype=torch.float64)
        R = turning(C, kind)
        assert torch.allclose(R @ R.T, torch.eye(4).double())
        if kind == 'fixing ones': assert torch.allclose(R.sum(1), torch.ones(4).double())
        for _ in range(300): assert (C*random_matrix(kind, 4, gen)).sum() <= (C*R).sum() + 1e-12

def test_balanced_sides_are_equally_strong_and_shortest():
    gen = torch.Generator().manual_seed(0)
    X, Y = torch.randn(3, 5, generator=gen).double(), torch.randn(3, 7, generator=gen).double()
    size = lambda A: (A @ X).square().sum() + (torch.linalg.inv(A).T @ Y).square().sum()
    A = balancing(X, Y)
    U, V = A @ X, torch.linalg.inv(A).T @ Y
    assert torch.allclose(U @ U.T, V @ V.T)
    for _ in range(200): assert size(A) <= size(random_matrix('linear', 3, gen) @ A) + 1e-12
    flat = X.clone()
    flat[2] = flat[0]
    assert torch.equal(balancing(flat, Y), torch.eye(3).double())

def test_float32_and_starts():
    sym, _, drawn = made('rms_transformer')
    a = {k: v.float() for k, v in drawn(0).items()}
    g = sym.sample(torch.Generator().manual_seed(1), EVERYTHING)
    r = align(sym, a, g(a), over='all')
    assert r.state['stem.weight'].dtype == torch.float32 and r.dist_after < 1e-3*r.dist_before
    r = align(sym, a, a, over='all', start=g)
    assert r.dist_after < 1e-3*r.dist_before and torch.equal(r.element(a)['stem.weight'], r.state['stem.weight'])

def test_what_is_refused():
    sym, _, drawn = made('chain')
    a = drawn(0)
    with pytest.raises(ValueError, match="over: wanted one of .*got 'everything'"): align(sym, a, a, over='everything')
    with pytest.raises(SymmetryError): canonical(sym, {k: v for k, v in a.items() if k != '0.weight'})
    assert align(sym, a, a).reference is a
