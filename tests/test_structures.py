"Symmetries of every structure: safe on random states, complete against what was derived by hand, and the caller's network stays as it was."
import functools
import pytest, torch
from torch.func import functional_call
from landscape_nb.search.group import state_of
from landscape_nb.symmetries import UnsupportedModelError, find_symmetries
from structures import EXPECTED, PEERS, STRUCTURES, names_of_tests

KINDS = ('permute', 'scale', 'sign', 'translate')      # these keep the values of the logits

def build(name):
    torch.manual_seed(0)
    return STRUCTURES[name]()

@functools.cache
def search(name):
    "Symmetries, refusal or crash of a network with gradients and mixed modes; and what changed on the caller's side."
    model, x = build(name)
    for i, p in enumerate(model.parameters()):
        p.requires_grad_(i != 1)
        if i % 2 == 0: p.grad = torch.ones_like(p)
    for i, m in enumerate(model.modules()): m.training = bool(i % 3)
    before = photograph(model, x)
    try: result = find_symmetries(model, x)
    except Exception as e: result = e
    after = photograph(model, x)
    return result, [k for k in before.keys() | after.keys() if before.get(k) != after.get(k)]

def photograph(model, x):
    "All that a search could leave behind."
    bits = lambda v: None if v is None else (v.dtype, v.device, tuple(v.shape), v.detach().flatten().contiguous().view(torch.uint8).numpy().tobytes())
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    out = {f'tensor {k}': (id(v), bits(v), v.requires_grad, id(v.grad), bits(v.grad)) for k, v in named}
    out |= {f'module {k}': (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), sorted(vars(m))) for k, m in model.named_modules()}
    return out | {'example': bits(x), 'global generator': bits(torch.get_rng_state())}

def found(name):
    "The symmetries, or the refusal."
    result, _ = search(name)
    if isinstance(result, Exception) and not isinstance(result, UnsupportedModelError): raise result
    return result

def symmetries(name):
    sym = found(name)
    if isinstance(sym, Exception): pytest.skip(f'refused: {sym}')
    return sym

class Module:
    "The module itself in float64 on a random state: knows nothing of the search and its check."
    def __init__(self, name):
        model, x = build(name)
        self.gen = torch.Generator().manual_seed(1)
        self.model, self.x = model.double().eval(), x.double() if x.is_floating_point() else x
        self.parameters = set(dict(model.named_parameters()))
        self.a = {k: self.draw(k, v) for k, v in state_of(model).items()}
        self.y = self.logits(self.a)
        noisy = {k: v*(1 + 1e-16*self.normal(v)) if v.is_floating_point() else v for k, v in self.a.items()}
        self.limit = max(1e-9, 1000*self.change(noisy))

    def normal(self, v): return torch.randn(v.shape, generator=self.gen, dtype=torch.float64)

    def draw(self, name, v):
        "Every float tensor random, buffers positive; integers stay."
        if not v.is_floating_point(): return v
        if name not in self.parameters: return .5 + torch.rand(v.shape, generator=self.gen, dtype=torch.float64)
        x, long = self.normal(v), [s for s in v.shape if s > 1]
        return x*(2*long[0]/v.numel())**.5 if len(long) > 1 else x.sign()*(.3 + .7*x.abs())

    def logits(self, state):
        with torch.no_grad(): y = functional_call(self.model, state, (self.x,))
        return torch.cat([o.flatten() for o in (y if isinstance(y, tuple) else (y,))])

    def change(self, state):
        z = self.logits(state)
        return ((self.y - z).abs().max()/self.y.abs().max()).item() if z.isfinite().all() else float('inf')

    def idle(self, state, name):
        "New random values of this tensor move nothing: the logits do not depend on it."
        return self.change(state | {name: self.draw(name, state[name])}) < 1000*self.limit

module = functools.cache(Module)
every = pytest.mark.parametrize('name', names_of_tests(), scope='module')     # the tests of one structure run together

@every
def test_an_element_keeps_the_function(name):
    sym, m = symmetries(name), module(name)
    for kinds in (KINDS, *((k,) for k in KINDS)):
        g, h = sym.sample(generator=m.gen, kinds=kinds), sym.sample(generator=m.gen, kinds=kinds)
        for what, b in dict(g=g(m.a), inverse=g.inverse()(m.a), composition=(g @ h)(m.a)).items():
            assert b.keys() == m.a.keys() and all(b[k].shape == v.shape for k, v in m.a.items())
            assert m.change(b) <= m.limit, f'{what} of {kinds} changes the function'

@every
def test_elements_compose_and_invert(name):
    sym, m = symmetries(name), module(name)
    g, h = sym.sample(generator=m.gen, kinds=KINDS), sym.sample(generator=m.gen, kinds=KINDS)
    for b, c in (((g @ h)(m.a), g(h(m.a))), (g.inverse()(g(m.a)), m.a), (g(g.inverse()(m.a)), m.a)):
        for k in m.a: torch.testing.assert_close(b[k], c[k], rtol=1e-9, atol=1e-12, msg=lambda s: f'{k}: {s}')

@every
def test_a_tensor_left_behind_is_seen(name):
    sym, m = symmetries(name), module(name)
    b = sym.sample(generator=m.gen, kinds=KINDS)(m.a)
    moved = [k for k in b if b[k].is_floating_point() and not torch.equal(b[k], m.a[k])]
    assert moved or not (sym.blocks or any(f.kind in KINDS for f in sym.families)), 'a random element of all kinds moves nothing'
    for i in torch.randperm(len(moved), generator=m.gen)[:4].tolist():
        k = moved[i]
        assert m.change(b | {k: m.a[k]}) > 1000*m.limit or m.idle(b, k), f'{k} put back unmoved is not seen'

@every
def test_blocks_are_well_formed(name):
    sym = symmetries(name)
    blocks = {b.name: b for b in sym.blocks}
    assert len(blocks) == len(sym.blocks), 'two blocks of one name'
    for b in sym.blocks:
        assert b.n > 1 and b.wires and (b.parent is None or b.parent in blocks)
        for w in b.wires:
            size = sym.shapes[w.tensor][w.axis:w.axis + getattr(w, 'span', 1)].numel()
            assert w.index.dtype == torch.int64 and w.index.dim() == 2 and len(w.index) == b.n
            assert len(w.index.unique()) == w.index.numel() and 0 <= int(w.index.min()) and int(w.index.max()) < size

@every
def test_all_is_found(name):
    want, sym = EXPECTED[name], found(name)
    if want.get('refused'):
        assert isinstance(sym, UnsupportedModelError) and type(build(name)[0]).__name__ in str(sym)
        return
    assert not isinstance(sym, Exception), f'refused: {sym}'
    blocks = sorted(b.n for b in sym.blocks)
    if 'blocks' in want: assert blocks == want['blocks'], f'frozen: {[str(f) for f in sym.frozen]}'
    else: assert not (lacks := missing(want['at_least'], blocks)), f'{lacks} not among {blocks}; frozen: {[str(f) for f in sym.frozen]}'
    for kind in ('scale', 'sign'):
        if kind in want: assert sum(f.n for f in sym.families if f.kind == kind) == want[kind], kind

def missing(want, got):
    "What `got` lacks of `want`, counted."
    rest = list(got)
    return [n for n in want if n not in rest or rest.remove(n)]

@every
def test_a_refusal_says_why(name):
    sym = found(name)
    if isinstance(sym, UnsupportedModelError): assert len(str(sym)) > 20
    else: assert all(f.what and f.why for f in sym.frozen)

@every
def test_the_network_stays_as_it_was(name): assert not search(name)[1]

def test_every_structure_has_an_expectation():
    assert EXPECTED.keys() == STRUCTURES.keys() and len(PEERS) == 19 and len(STRUCTURES) >= 59

@pytest.mark.parametrize('name', PEERS)
def test_an_element_acts_on_stacked_states_and_comes_back_from_disk(name, tmp_path):
    "Many networks in one state are moved as each alone; a saved element is the same element; what it does not move is shared."
    sym, gen = symmetries(name), torch.Generator().manual_seed(5)
    states = [{k: torch.rand(s, generator=gen, dtype=torch.float64) for k, s in sorted(sym.shapes.items())} for _ in range(2)]
    g = sym.sample(gen, kinds=KINDS)
    together, alone = g({k: torch.stack([s[k] for s in states]) for k in sym.shapes}), [g(s) for s in states]
    assert all(torch.allclose(together[k][i], alone[i][k], rtol=1e-12, atol=1e-12) for k in sym.shapes for i in (0, 1))
    g.save(tmp_path/'g.safetensors')
    assert all(torch.equal(alone[0][k], v) for k, v in sym.load(tmp_path/'g.safetensors')(states[0]).items())
    touched = {k[0] for k in (*g.sources, *g.factors)} | g.added.keys()
    assert all((alone[0][k] is v) == (k not in touched) for k, v in states[0].items())
