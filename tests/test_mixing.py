"Whole matrices and additions: as many as there are, never one too many, and elements that act, compose, are undone and saved."
from dataclasses import replace
import pytest
import torch
from torch import nn
from torch.func import functional_call
from landscape_nb.search.certificate import certified
from landscape_nb.search.group import generic_state, leaves, relative_change
from landscape_nb.search.mixing import Mixing, random_matrix, tangent
from landscape_nb.symmetries import find_symmetries, state_of
from mixed_structures import MIXED, NULLITY

# structure -> dimensions that the rules do not find, with the reason
MISSING = dict(long_chain=2,            # what the second layer does not read: a fibre that depends on the state
               chain_without_bias=3,    # a bias that passes a layer without one
               post_norm=1,             # a turn on both sides of a gain between two norms
               mixer=1)                 # a scale common to all channels, taken back by a map along tokens
EVERYTHING = ('permute', 'scale', 'sign', 'translate', 'mix', 'add')
SOME = ['chain', 'low_rank', 'post_norm', 'rms_transformer', 'pre_norm', 'llama', 'layer_scale', 'batch_norm', 'vit', 'gpt', 'multi_query']

def made(name):
    torch.manual_seed(0)
    return MIXED[name]()

def logits(net, state, x):
    inputs = x.double() if x.is_floating_point() else x
    with torch.no_grad(): return leaves(functional_call(net.double().eval(), state, (inputs,)))

@pytest.mark.parametrize('name', MIXED)
def test_as_many_dimensions_are_found_as_there_are(name):
    net, x = made(name)
    c = certified(find_symmetries(net, x), net, x)
    assert (c.nullity, c.nullity - c.found) == (NULLITY[name], MISSING.get(name, 0)), c
    assert c.gap > 1e4 and not c.wrong

@pytest.mark.parametrize('name', SOME)
def test_elements_keep_the_function_compose_and_are_undone(name, tmp_path):
    net, x = made(name)
    sym, gen = find_symmetries(net, x), torch.Generator().manual_seed(1)
    a = generic_state(state_of(net), sym.parameters, gen, {w.tensor for o in (*sym.blocks, *sym.families) for w in o.wires})
    g, h = (sym.sample(gen, EVERYTHING) for _ in range(2))
    y, both = logits(net, a, x), g(h(a))
    assert relative_change(y, logits(net, both, x)) < 1e-9
    close = lambda s, t: max((s[k] - t[k]).abs().max().item() for k in s if s[k].is_floating_point())
    assert close((g@h)(a), both) < 1e-8
    assert close((g@h).inverse()(both), a) < 1e-8
    (g@h).save(tmp_path/'element')
    assert close(sym.load(tmp_path/'element')(a), both) == 0

def test_a_stack_is_moved_as_its_parts():
    net, x = made('rms_transformer')
    sym, gen = find_symmetries(net, x), torch.Generator().manual_seed(0)
    states = [generic_state(state_of(net), sym.parameters, gen) for _ in range(2)]
    stack, g = {k: torch.stack([s[k] for s in states]) for k in states[0]}, sym.sample(gen, EVERYTHING)
    assert all(torch.allclose(g(stack)[k][1], g(states[1])[k], atol=1e-12) for k in stack)

def test_a_state_is_not_changed():
    net, x = made('chain')
    sym, a = find_symmetries(net, x), {k: v.double() for k, v in state_of(net).items()}
    before = {k: v.clone() for k, v in a.items()}
    sym.sample(torch.Generator().manual_seed(0), EVERYTHING)(a)
    assert all(torch.equal(v, before[k]) for k, v in a.items())

def test_nothing_mixes_unless_it_is_asked_for():
    net, x = made('rms_transformer')
    assert not find_symmetries(net, x).sample(torch.Generator().manual_seed(0)).before

@pytest.mark.parametrize('name', ['perceptron', 'odd', 'gated', 'squeeze'])
def test_where_only_units_move_there_are_no_matrices(name): assert not find_symmetries(*made(name)).mixings

def test_kinds_and_sizes_of_a_transformer():
    found = {m.name: (m.kind, m.n) for m in find_symmetries(*made('pre_norm')).mixings}
    heads = {f'a.{p}[{h}]': ('linear', 3) for p in 'qv' for h in range(2)}
    assert found == heads | {'stem': ('fixing ones', 6)}

@pytest.mark.parametrize('kv, spaces', [(1, 1), (2, 2), (4, 4)])
def test_heads_that_share_keys_share_their_matrix(kv, spaces):
    from mixed_structures import Transformer
    net = Transformer('rms', d=8, given=9, classes=8, heads=4, kv=kv, bias=False)
    assert sum(m.name.startswith('a.q') for m in find_symmetries(net, torch.randn(2, 4, 9)).mixings) == spaces

def test_a_mixing_that_lacks_a_wire_is_caught():
    net, x = made('rms_transformer')
    sym = find_symmetries(net, x)
    m = sym.mixings[0]
    bad = replace(m, wires=(m.wires[0][:-1], m.wires[1]))
    c = certified(replace(sym, mixings=(bad, *sym.mixings[1:])), net, x)
    assert c.wrong == (f'{m.kind} {m.name}',) and not c.complete

def test_a_rule_that_forgets_a_nonlinearity_is_refused(monkeypatch):
    from landscape_nb.search import mixing
    monkeypatch.setitem(mixing.MIXING_RULES, 'gelu', mixing.MIXING_RULES['clone'])
    sym = find_symmetries(*made('rms_transformer'))
    assert all('u' != m.name for m in sym.mixings) and any(f.where.startswith('u') for f in sym.frozen)

@pytest.mark.parametrize('name', ['chain', 'pre_norm', 'llama', 'gpt', 'vit', 'batch_norm', 'layer_scale', 'without_norm', 'maxout', 'lstm', 'relative'])
def test_the_dimension_is_the_rank_of_all_fields(name):
    net, x = made(name)
    sym = find_symmetries(net, x)
    output = sum(f.n for f in sym.families if f.kind in ('output', 'shift'))
    assert sym.dimension - output == NULLITY[name]

@pytest.mark.parametrize('kind, n', [('linear', 4), ('orthogonal', 5), ('fixing ones', 5), ('rotary', 6), ('shear', 4)])
def test_random_matrices_are_of_their_kind(kind, n):
    A, E = random_matrix(kind, n, torch.Generator().manual_seed(0)), torch.eye(n, dtype=torch.float64)
    if kind not in ('linear', 'shear'): assert torch.allclose(A@A.T, E)
    if kind == 'fixing ones': assert torch.allclose(A.sum(1), torch.ones(n, dtype=torch.float64))
    assert torch.linalg.cond(A) < 100
    basis = tangent(kind, n).flatten(1)
    assert torch.linalg.matrix_rank(basis) == len(basis) == Mixing('', n, kind, ((), ())).dimension

def test_a_certificate_is_printed_where_it_was_made():
    net, x = made('chain')
    assert 'complete' in str(find_symmetries(net, x, certify=True)) and 'certificate' not in str(find_symmetries(net, x))
