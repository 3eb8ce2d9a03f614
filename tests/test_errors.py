"Wrong calls: one exception each, and the words that it must say."
import math, warnings
import numpy as np, pytest, torch
from torch import nn
from landscape_nb.alignment import align
from landscape_nb.binary import BinaryRecipe, BinaryRecipeError, Cube, binary_recipe_for, minimize_binary, pack
from landscape_nb.data import DataError, load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.flatness import local_energy, tangent_energy, worst_case
from landscape_nb.flips import FlipEvaluator, FlipPath, differing, fit_flip_bend, flip_barrier, flip_energy, greedy_order, random_order
from landscape_nb.frames import align_many
from landscape_nb.search.group import SymmetryError, lift, state_of
from landscape_nb.models import ModelError, make_model
from landscape_nb.optimizers import Recipe, RecipeError, minimize, recipe_for
from landscape_nb.paths import Path, barrier, fit_bend, removed
from landscape_nb.store import Store, canonical, seed_of, sweep
from landscape_nb.study import StudyError, plan
from landscape_nb.symmetries import UnsupportedModelError, find_symmetries
from landscape_nb.torus import Torus
from landscape_nb.ground.weights import StateError, load_state, save_state

class Answer(nn.Module):
    "A classifier that answers with a dict, not with logits."
    def __init__(self): super().__init__(); self.fc = nn.Linear(64, 10)
    def forward(self, x): return dict(logits=self.fc(x.flatten(1)))

@pytest.fixture(scope='module')
def names(tmp_path_factory):
    "What the calls are made of: a network, its group, torus, states and evaluator; another network; states that are wrong in one way each."
    mlp = lambda seed=0, width=.1, arch='mlp': make_model(arch, size=8, width=width, seed=seed)
    net, other, bnet, bn = mlp(), mlp(width=.2), mlp(arch='binary_mlp'), mlp(arch='resnet18', width=.02)
    x, y, gen = torch.randn(20, 1, 8, 8), torch.arange(20) % 10, torch.Generator().manual_seed(0)
    sym, osym, bsym = (find_symmetries(m, x) for m in (net, other, bnet))
    T, a, b, o = Torus(sym), state_of(net), state_of(mlp(1)), state_of(other)
    p, q, g = T.project(a), T.project(b), sym.sample(gen)
    spoilt = lambda s, v: s | {'fc1.weight': torch.full_like(s['fc1.weight'], v)}
    s1, s2 = (state_of(mlp(i, arch='binary_mlp')) for i in range(2))
    folder = tmp_path_factory.mktemp('errors')
    recipe = lambda **kw: Recipe(**dict(arch='mlp', dataset='digits', algorithm='sgd', seed=0) | kw)
    binary = lambda **kw: BinaryRecipe(**dict(arch='binary_mlp', dataset='digits', algorithm='sgd', seed=0) | kw)
    return globals() | locals() | dict(
        short={k: v for k, v in a.items() if k != 'fc2.bias'}, arrays={k: v.numpy() for k, v in a.items()}, ints={k: v.long() for k, v in a.items()}, double={k: v.double() for k, v in b.items()},
        meta={k: v.to('meta') for k, v in a.items()}, nan=spoilt(a, math.nan), inf=spoilt(a, math.inf), pnan=spoilt(p, math.nan), minus={k: -v for k, v in p.items()}, nans=math.nan, one=torch.ones(1),
        ev=Evaluator(net, (x, y)), fev=FlipEvaluator(bnet, (x, y)), line=Path((p, q), T), data=load_data('digits', 100), store=Store(folder/'store'),
        flips=FlipPath(s1, s2, random_order(s1, s2, gen)), big=torch.randn(2, 3, 32, 32), none=lambda t: None)

TABLE = '''
find_symmetries('mlp', x)                                      | UnsupportedModelError | nn.Module, str
find_symmetries(a, x)                                          | UnsupportedModelError | nn.Module, dict
find_symmetries(net, None)                                     | UnsupportedModelError | example, batch, NoneType
find_symmetries(net, x.numpy())                                | UnsupportedModelError | example, batch, ndarray
find_symmetries(net, ())                                       | UnsupportedModelError | example, batch
find_symmetries(net, x[:0])                                    | UnsupportedModelError | example, empty, (0, 1, 8, 8)
find_symmetries(net, x.long())                                 | UnsupportedModelError | example, dtype, floating
find_symmetries(net, big)                                      | UnsupportedModelError | Sequential, 3072, the input must fit the network
state_of(a)                                                    | SymmetryError | model, nn.Module, dict
lift(a, a)                                                     | SymmetryError | model, nn.Module, dict
lift(net, short)                                               | SymmetryError | fc2.bias, 6 tensors
lift(net, o)                                                   | SymmetryError | fc1.weight, (26, 64), (51, 64)
sym.sample(kinds='permute')                                    | SymmetryError | kinds, permute, sign
sym.sample(kinds=('rotate',))                                  | SymmetryError | kinds, rotate, translate
sym.sample(generator=0)                                        | SymmetryError | generator, torch.Generator, 0
sym.act(g, short)                                              | SymmetryError | lacks, fc2.bias
sym.act(g, o)                                                  | SymmetryError | fc1.weight, (26, 64), (51, 64)
sym.act(g, net)                                                | SymmetryError | state, by name, Sequential
sym.act(g, arrays)                                             | SymmetryError | fc1, tensor, ndarray
sym.act(a, g)                                                  | SymmetryError | element, dict
sym.act(osym.sample(gen), a)                                   | SymmetryError | element, another network
g(o)                                                           | SymmetryError | fc1.weight, (26, 64), (51, 64)
g @ osym.sample(gen)                                           | SymmetryError | element, another network
g @ a                                                          | SymmetryError | element, dict
sym.check(a, x)                                                | SymmetryError | nn.Module, dict
sym.check(other, x)                                            | SymmetryError | fc1.weight, (26, 64), (51, 64)
sym.check(net, None)                                           | SymmetryError | example, NoneType
sym.check(net, big)                                            | SymmetryError | example, (2, 3, 32, 32)
sym.check(net, x, element=osym.sample(gen))                    | SymmetryError | element, another network
sym.element({9: torch.arange(26)})                             | SymmetryError | block 9, below 2
sym.element({0: torch.arange(5)})                              | SymmetryError | block 0, 26, 5
sym.element({0: torch.zeros(26, dtype=torch.long)})            | SymmetryError | block 0, permutation
sym.element({}, {1: torch.ones(3)})                            | SymmetryError | family 1, 26, 3
Torus(net)                                                     | SymmetryError | find_symmetries, Sequential
Torus(sym, 'other')                                            | ValueError    | gauge, paper, full, other
T.project(net)                                                 | SymmetryError | state, by name, Sequential
T.project(short)                                               | SymmetryError | lacks, fc2.bias
T.project(o)                                                   | SymmetryError | fc1.weight, (26, 64), (51, 64)
T.project(ints)                                                | SymmetryError | fc1.weight, floating, int64
T.project(meta)                                                | SymmetryError | fc1.weight, data, meta
T.project(nan)                                                 | SymmetryError | fc1, NaN
T.project(inf)                                                 | SymmetryError | fc1, infinity
T.dist(p, o)                                                   | SymmetryError | fc1.weight, (26, 64), (51, 64)
T.dist(p, short)                                               | SymmetryError | lacks, fc2.bias
T.dist(p, None)                                                | SymmetryError | state, by name, NoneType
T.dist(p, pnan)                                                | SymmetryError | NaN
T.dist(p, pnan, rms=True)                                      | SymmetryError | NaN
T.angles(o, p)                                                 | SymmetryError | fc1.weight, (26, 64), (51, 64)
T.layer_angles(p, short)                                       | SymmetryError | lacks, fc2.bias
T.geodesic(p, short, .5)                                       | SymmetryError | lacks, fc2.bias
T.geodesic(p, minus, .5)                                       | ValueError    | antipodal, signs
T.geodesic(p, pnan, .5)                                        | SymmetryError | NaN
T.geodesic(p, q, nans)                                         | ValueError    | t, number, nan
T.log(p, o)                                                    | SymmetryError | fc1.weight, (26, 64), (51, 64)
T.log(p, minus)                                                | ValueError    | antipodal
T.exp(p, o)                                                    | SymmetryError | fc1.weight, (26, 64), (51, 64)
T.exp(p, 0.)                                                   | SymmetryError | state, float
T.noise(p, -1)                                                 | ValueError    | sigma, >= 0, -1
T.noise(p, .1, 0)                                              | ValueError    | generator, torch.Generator
T.noise(short, .1)                                             | SymmetryError | lacks, fc2.bias
T.dead(short)                                                  | SymmetryError | lacks, fc2.bias
T.radius(o)                                                    | SymmetryError | fc1.weight, (51, 64)
align(sym, a, b, 'psychic')                                    | ValueError    | method, psychic, greedy
align(net, a, b)                                               | SymmetryError | sym, find_symmetries, Sequential
align(sym, a, net)                                             | SymmetryError | state, by name, Sequential
align(sym, a, short)                                           | SymmetryError | lacks, fc2.bias
align(sym, a, o)                                               | SymmetryError | fc1.weight, (26, 64), (51, 64)
align(sym, a, nan)                                             | SymmetryError | NaN
align(sym, nan, b, 'fw')                                       | SymmetryError | NaN
align(sym, a, ints)                                            | SymmetryError | fc1.weight, floating, int64
align(sym, a, double)                                          | SymmetryError | one dtype, float32, float64
align(sym, a, meta)                                            | SymmetryError | fc1, meta
align(sym, a, b, kinds=('scale',))                             | ValueError    | kinds, permute, scale
align(sym, a, b, torus=sym)                                    | ValueError    | torus, Symmetries
align(sym, a, b, start=a)                                      | SymmetryError | element, dict
align(sym, a, b, restarts=2)                                   | ValueError    | restarts, generator
align(sym, a, b, 'activation')                                 | ValueError    | activation, model, data
align(sym, a, b, 'activation', model=net, data=big)            | ValueError    | data, (2, 3, 32, 32)
align_many(sym, [a])                                           | ValueError    | states, two, 1
align_many(sym, a)                                             | ValueError    | states, list, dict
align_many(sym, [a, o])                                        | SymmetryError | fc1.weight, (26, 64), (51, 64)
align_many(sym, [a, nan])                                      | SymmetryError | NaN
align_many(sym, [a, b], rounds=0)                              | ValueError    | rounds, 0
T.mean([])                                                     | ValueError    | states, one, 0
T.mean([a, b], steps=0)                                        | ValueError    | steps, 0
Evaluator(a, (x, y))                                           | ValueError    | model, nn.Module, dict
Evaluator(net, x)                                              | ValueError    | data, images and labels
Evaluator(net, None)                                           | ValueError    | data, NoneType
Evaluator(net, (x, y[:5]))                                     | ValueError    | data, 20, 5
Evaluator(net, (x[:0], y[:0]))                                 | ValueError    | data, at least one, 0
Evaluator(net, [])                                             | ValueError    | data, images and labels
Evaluator(net, (x, y.float()))                                 | ValueError    | labels, int64, float32
Evaluator(net, (x, y[:, None]))                                | ValueError    | labels, [20, 1]
Evaluator(net, (x, y-1))                                       | ValueError    | labels, >= 0, -1
Evaluator(net, (x, y+100))(a)                                  | ValueError    | labels, 109, 10 outputs
Evaluator(net, (big[:, :, :8, :8], y[:2]))(a)                  | ValueError    | images, (3, 8, 8), Sequential
Evaluator(Answer(), (x, y))(state_of(Answer()))                | ValueError    | logits, dict, wrap
Evaluator(net, (x, y), batch_size=0)                           | ValueError    | batch_size, 0
Evaluator(net, (x, y), device='tpu9')                          | ValueError    | device, tpu9
ev(short)                                                      | SymmetryError | missing, fc2.bias
ev(a | dict(extra=x))                                          | SymmetryError | unexpected, extra
ev(o)                                                          | SymmetryError | fc1.weight, (26, 64), (51, 64)
ev(net)                                                        | SymmetryError | state, by name, Sequential
ev(None)                                                       | SymmetryError | state, by name, NoneType
ev.logits(o)                                                   | SymmetryError | fc1.weight, (26, 64), (51, 64)
ev.wrong(short)                                                | SymmetryError | missing, fc2.bias
Evaluator(bn, (x, y)).refresh(a)                               | SymmetryError | missing, conv1.weight
ev.along(line, [])                                             | ValueError    | ts, one or more
ev.along(line, .5)                                             | ValueError    | ts, 0.5
ev.along(line, [2.])                                           | ValueError    | t, [0, 1], 2.0
ev.along(p, [0., 1.])                                          | ValueError    | path, function, dict
ev.along(none, [.5])                                           | SymmetryError | state, NoneType
ev.along(line, [.5], 'some')                                   | ValueError    | statistics, exact, some
local_energy(net, T, p, [.1])                                  | ValueError    | ev, Evaluator, Sequential
local_energy(ev, sym, p, [.1])                                 | ValueError    | T, Torus, Symmetries
local_energy(ev, T, o, [.1])                                   | SymmetryError | fc1.weight, (26, 64), (51, 64)
local_energy(ev, T, nan, [.1])                                 | SymmetryError | fc1, NaN
local_energy(ev, T, p, [])                                     | ValueError    | sigmas, []
local_energy(ev, T, p, .1)                                     | ValueError    | sigmas, 0.1
local_energy(ev, T, p, [-.1])                                  | ValueError    | sigmas, > 0, -0.1
local_energy(ev, T, p, [nans])                                 | ValueError    | sigmas, > 0, nan
local_energy(ev, T, p, [.1], 1)                                | ValueError    | n_samples, 2, 1
local_energy(ev, T, p, [.1], generator=0)                      | ValueError    | generator, Generator, int
local_energy(ev, T, p, [.1], tolerance=0)                      | ValueError    | tolerance, > 0
tangent_energy(ev, T, short, [.1])                             | SymmetryError | lacks, fc2.bias
worst_case(ev, T, p, [])                                       | ValueError    | sigmas, []
Path((p,))                                                     | ValueError    | two points, 1
Path(p)                                                        | ValueError    | two points, dict
Path((p, net))                                                 | ValueError    | point 1, by name, Sequential
Path((p, o))                                                   | ValueError    | point 1, same network, fc1
Path((p, short))                                               | ValueError    | point 1, fc2.bias
Path((p, q), sym)                                              | ValueError    | torus, Symmetries
Path((p, pnan), T)(.5)                                         | SymmetryError | NaN
line(2)                                                        | ValueError    | t, [0, 1], 2
line(nans)                                                     | ValueError    | t, [0, 1], nan
removed(T, a, o, g)                                            | SymmetryError | fc1.weight, (26, 64), (51, 64)
removed(T, a, b, None)                                         | ValueError    | element, NoneType
barrier(T, line)                                               | ValueError    | ev, Evaluator, Torus
barrier(ev, p)                                                 | ValueError    | path, function, dict
barrier(ev, Path((o, o)))                                      | SymmetryError | fc1.weight, (26, 64), (51, 64)
barrier(ev, line, 2)                                           | ValueError    | n_points, 3, 2
barrier(ev, line, 5, refine=-1)                                | ValueError    | refine, -1
barrier(ev, line, over='mean')                                 | ValueError    | over, ends, mean
barrier(ev, line, statistics='some')                           | ValueError    | statistics, repair, some
fit_bend(T, p, q)                                              | ValueError    | ev, Evaluator, Torus
fit_bend(ev, p, o, T)                                          | SymmetryError | fc1.weight, (26, 64), (51, 64)
fit_bend(ev, p, short)                                         | SymmetryError | missing, fc2.bias
fit_bend(ev, p, pnan, T)                                       | ValueError    | fc1.weight, NaN
fit_bend(ev, p, q, T, bends=0)                                 | ValueError    | bends, 1, 0
fit_bend(ev, p, q, T, steps=0)                                 | ValueError    | steps, 1, 0
fit_bend(ev, p, q, T, batch=0)                                 | ValueError    | batch, 0
fit_bend(ev, p, q, T, lr=-1)                                   | ValueError    | lr, -1
fit_bend(ev, p, q, T, steps=1, statistics='some')              | ValueError    | statistics, some
recipe(arch='resnet19')                                        | ModelError    | resnet19, resnet18
recipe(arch='binary_mlp')                                      | RecipeError   | binary_mlp, BinaryRecipe, minimize_binary, studies.binary
recipe(dataset='mnist2')                                       | DataError     | mnist2, fashion_mnist
recipe(algorithm='lbfgs')                                      | RecipeError   | lbfgs, rsgd
recipe(seed='one')                                             | RecipeError   | seed, one, whole number
recipe(lr=nans)                                                | RecipeError   | lr, nan
recipe(epochs=1.5)                                             | RecipeError   | epochs, 1.5, whole number
recipe(augment='yes')                                          | RecipeError   | augment, True, yes
recipe(n_train=10**6)                                          | DataError     | n_train, 1000000, 1,437
recipe(label='flat')                                           | RecipeError   | flat, sgd-long
recipe(colour='red')                                           | TypeError     | colour
recipe_for('mlp', 'digits', 'sgd', 0, 'huge')                  | RecipeError   | huge, smoke
recipe_for('binary_mlp', 'digits', 'sgd', 0)                   | RecipeError   | binary_mlp, BinaryRecipe
minimize('mlp')                                                | RecipeError   | recipe, Recipe, str
minimize(binary(), store)                                      | RecipeError   | BinaryRecipe, minimize_binary
minimize(recipe(), 'folder')                                   | RecipeError   | store, Store, folder
minimize(recipe(), store, data=(x, y))                         | RecipeError   | data, load_data, tuple
minimize(recipe(dataset='mnist'), store, data=data)            | RecipeError   | data, mnist, digits
minimize(recipe(), store, device='tpu9')                       | DataError     | device, tpu9
binary(arch='mlp')                                             | BinaryRecipeError | mlp, binary_lenet
binary(algorithm='esgd')                                       | BinaryRecipeError | esgd, rsgd
binary(rule='newton')                                          | BinaryRecipeError | newton, adam
binary(epochs=0)                                               | BinaryRecipeError | epochs, 0, whole number
binary(lr='fast')                                              | BinaryRecipeError | lr, fast, number
binary(lr=nans)                                                | BinaryRecipeError | lr, nan, number
binary(width=0)                                                | BinaryRecipeError | width, 0, number
binary(hold=2)                                                 | BinaryRecipeError | hold, share
binary_recipe_for('mlp', 'digits', 'sgd', 0)                   | BinaryRecipeError | mlp, binary_mlp
minimize_binary(recipe(), store)                               | BinaryRecipeError | BinaryRecipe, Recipe
minimize_binary(binary(), 'folder')                            | BinaryRecipeError | store, Store, folder
minimize_binary(binary(dataset='mnist'), store, data)          | BinaryRecipeError | data, mnist, digits
Cube(bnet)                                                     | SymmetryError | find_symmetries, Sequential
Cube(bsym).project(a)                                          | SymmetryError | fc1.weight, (26, 64)
Cube(bsym).dist(s1, a)                                         | SymmetryError | fc1.weight, (26, 64)
pack(a)                                                        | ValueError    | fc1.weight, -1 and 1
differing(s1, a)                                               | ValueError    | same network, fc1.weight
FlipPath(s1, s2, torch.arange(10**6))                          | ValueError    | order, 1000000
flips(2)                                                       | ValueError    | t, [0, 1], 2
FlipEvaluator(net, (x, y))                                     | ValueError    | fc1, bias, Evaluator
FlipEvaluator(bn, (x, y))                                      | ValueError    | chain, Evaluator
fev(a)                                                         | ValueError    | fc1.weight, -1 and 1
flip_energy(fev, s1, [])                                       | ValueError    | p, []
flip_energy(fev, s1, [.9])                                     | ValueError    | p, 0.5, 0.9
flip_barrier(fev, [], [0., 1.])                                | ValueError    | paths, 0
flip_barrier(fev, [flips], [])                                 | ValueError    | points, 0
greedy_order(fev, s1, a, gen)                                  | ValueError    | same network, fc1.weight
fit_flip_bend(fev, s1, a)                                      | ValueError    | same network, fc1.weight
fit_flip_bend(fev, s1, s2, 0)                                  | ValueError    | steps, 0
plan('resnet19')                                               | ModelError    | resnet19, resnet18
plan(dataset='mnist2')                                         | DataError     | mnist2, fashion_mnist
plan(preset='huge')                                            | StudyError    | preset, huge, quick
plan(algorithms='sgd lbfgs')                                   | StudyError    | lbfgs, rsgd
plan(seeds='one')                                              | StudyError    | seeds, one
plan(dataset='imagenet')                                       | DataError     | imagenet, fashion_mnist, digits, cifar10
plan(preset='fast')                                            | StudyError    | fast, smoke, quick, paper, auto
plan(algorithms='sgd adagrad')                                 | StudyError    | adagrad, sgd, rsgd, adv
plan(seeds=0)                                                  | StudyError    | seeds, 0
plan(seeds='many')                                             | StudyError    | seeds, many
plan(device='tpu9')                                            | StudyError    | device, tpu9, cpu
plan(device=None)                                              | StudyError    | device, auto, None
plan(jobs=-1)                                                  | StudyError    | jobs, -1
plan(width='wide')                                             | StudyError    | width, wide
plan(n_train=10**6)                                            | DataError     | n_train, 60,000
load_data('mnist2')                                            | DataError     | mnist2, digits
load_data(None)                                                | DataError     | None, digits
load_data('digits', 0)                                         | DataError     | n_train, 0, 1,437
load_data('digits', device='tpu9')                             | DataError     | device, tpu9
store.remember('x', print)                                     | ValueError    | spec, kind, x
store.remember(dict(kind='../x'), print)                       | ValueError    | kind, folder, ../x
store.remember(dict(kind='x', v=nans), print)                  | ValueError    | NaN
store.remember(dict(kind='x', v=net), print)                   | ValueError    | v, JSON, Sequential
store.remember(dict(kind='x'), lambda c: (dict(a=5), {}))      | ValueError    | compute, tensor, 5
store.remember(dict(kind='x'), lambda c: None)                 | ValueError    | compute, record, NoneType
sweep([(print, (1,)), 7])                                      | ValueError    | tasks, function, 7
store.remember(dict(kind='x'), lambda c: ({}, dict(a=net)))    | ValueError    | a, JSON, Sequential
seed_of(net)                                                   | ValueError    | JSON, Sequential
make_model('resnet19')                                         | ModelError    | resnet19, resnet18
make_model(None)                                               | ModelError    | None, mlp
make_model('mlp', classes=0)                                   | ModelError    | classes, 1, 0
make_model('mlp', channels='three')                            | ModelError    | channels, three
make_model('mlp', size=7)                                      | ModelError    | size, 8, 7
make_model('mlp', width=nans)                                  | ModelError    | width, nan
make_model('resnet50', width=.5)                               | ModelError    | width, resnet50
load_state(5)                                                  | StateError    | source, path, int
load_state(folder/'nowhere.pt')                                | StateError    | nowhere.pt, no such file
load_state({})                                                 | StateError    | by name, none
load_state(dict(epoch=3))                                      | StateError    | epoch, state_dict
load_state(short, net)                                         | StateError    | missing, fc2.bias
load_state(a | dict(extra=x), net)                             | StateError    | unexpected, extra
load_state(o, net)                                             | StateError    | fc1.weight, (26, 64), (51, 64)
load_state(ints, net)                                          | StateError    | fc1.weight, float32, int64
load_state({'fc': np.array(['a'])})                            | StateError    | fc, numbers
load_state(a, 'mlp')                                           | StateError    | model, nn.Module, str
save_state(a, folder/'a.pt')                                   | StateError    | .safetensors, a.pt
save_state(net, folder/'a.safetensors')                        | StateError    | by name
'''
CASES = [[part.strip() for part in line.rsplit('|', 2)] for line in TABLE.strip().splitlines()]

@pytest.mark.parametrize('call, kind, words', CASES, ids=[c for c, *_ in CASES])
def test_a_wrong_call_says_what_was_wanted_and_what_came(call, kind, words, names):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(eval(kind, names)) as e: eval(call, names)
    said = str(e.value)
    assert not (lacking := [w for w in words.split(', ') if w not in said]), f'{lacking} not in: {said}'
    assert '\n' not in said.strip() and len(said) < 900, said

def test_the_table_is_long_and_has_every_room():
    assert len(CASES) == len({c for c, *_ in CASES}) >= 60
    for name in ('find_symmetries', 'state_of', 'sym.sample', 'sym.act', 'sym.check', 'T.project', 'T.dist', 'T.angles', 'T.geodesic', 'T.exp', 'T.log', 'T.noise', 'align', 'align_many', 'Evaluator', 'ev', 'ev.along', 'local_energy',
                 'barrier', 'Path', 'fit_bend', 'minimize', 'recipe', 'plan', 'load_data', 'store.remember', 'make_model', 'load_state', 'minimize_binary', 'binary', 'FlipEvaluator', 'FlipPath', 'fit_flip_bend', 'Cube'):
        assert any(c.startswith(f'{name}(') for c, *_ in CASES), name

def test_what_is_right_is_not_refused(names):
    n = names
    assert n['T'].dist(n['p'], n['p']) < 1e-6 and n['align'](n['sym'], n['a'], n['b'], 'cd').objective > 0
    assert 0 <= n['ev'](n['a']).error <= 1 and n['ev'](n['nan']).error == 1      # a network that diverged gets everything wrong
    stacked = {k: torch.stack([v, n['b'][k]]) for k, v in n['a'].items()}
    assert n['T'].project(stacked)['fc1.weight'].shape[0] == 2
    assert n['sym'].element({0: torch.arange(26).roll(1)}, {})(n['a'])['fc1.bias'].shape == (26,)
