"The count of continuous symmetries: right by hand, never exceeded, and a mistake in a rule is caught."
import copy
from dataclasses import replace
import pytest
import torch
from torch import nn
from landscape_nb.search.certificate import CertificateError, certified, null_space
from landscape_nb.symmetries import certify, find_symmetries
from mixed_structures import MIXED, NULLITY

SMALL = ['perceptron', 'chain', 'gated', 'maxout', 'low_rank', 'convolution_of_one', 'residual', 'rms_chain', 'layer_chain', 'lstm']

def made(name):
    torch.manual_seed(0)
    return MIXED[name]()

@pytest.mark.parametrize('name', SMALL)
def test_the_nullity_is_the_number_derived_by_hand(name):
    c = certify(*made(name))
    assert c.nullity == NULLITY[name]
    assert c.found <= c.nullity and c.gap > 1e4 and not c.wrong
    assert sum(c.missing.values()) == pytest.approx(c.nullity - c.found, abs=.1)

def block(i, o): return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU())

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b, self.head = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
    def forward(self, x):
        x = self.stem(x).relu()
        return self.head((x + self.b(self.a(x).relu())).relu().mean((2, 3)))

class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.a, self.head = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3, padding=1), nn.Linear(7, 8)
    def forward(self, x):
        x = self.stem(x).relu()
        return self.head(torch.cat([x, self.a(x).relu()], 1).mean((2, 3)))

TWINS = dict(mlp=lambda: nn.Sequential(nn.Flatten(), nn.Linear(18, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 5)),
             lenet=lambda: nn.Sequential(block(2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 5)),
             vgg=lambda: nn.Sequential(block(2, 3), nn.MaxPool2d(2), block(3, 4), nn.Flatten(), nn.Linear(16, 5)), resnet=Residual, densenet=Dense)

@pytest.mark.parametrize('name', TWINS)
def test_scales_are_all_there_is_in_the_networks_of_the_paper(name):
    torch.manual_seed(0)
    c = certify(TWINS[name](), torch.randn(2, 2, 3 if name == 'mlp' else 4, 3 if name == 'mlp' else 4))
    assert c.complete, c

def test_a_planted_mistake_is_named():
    net, x = made('perceptron')
    sym = find_symmetries(net, x)
    f = next(o for o in sym.families if o.kind == 'scale')
    bad = replace(f, wires=tuple(replace(w, exponent=2*w.exponent) if w.exponent < 0 else w for w in f.wires))
    c = certified(replace(sym, families=tuple(bad if o is f else o for o in sym.families)), net, x)
    assert c.wrong == (f'scale {f.name}',) and not c.complete and 'WRONG' in str(c)

def test_frozen_weights_do_not_move():
    net, x = made('low_rank_frozen')
    free = copy.deepcopy(net).requires_grad_(True)
    assert (certify(net, x).nullity, certify(free, x).nullity) == (NULLITY['low_rank_frozen'], NULLITY['low_rank'])

def test_nothing_that_was_passed_in_is_changed():
    net, x = made('layer_chain')
    before, eps, y = copy.deepcopy(net.state_dict()), net[1].eps, x.clone()
    certify(net, x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()) and net[1].eps == eps and torch.equal(x, y) and net.training

def test_a_column_of_rounding_errors_is_no_rank():
    gen = torch.Generator().manual_seed(0)
    J = torch.randn(50, 6, generator=gen, dtype=torch.float64)
    J[:, 5] = 1e-17*torch.randn(50, generator=gen, dtype=torch.float64)
    assert null_space(J).basis.shape == (6, 1)

@pytest.mark.parametrize('model, message', [(nn.Linear(60, 60), 'narrow twin'), (nn.Linear(3, 3).requires_grad_(False), 'require a gradient')])
def test_what_cannot_be_counted_is_refused(model, message):
    with pytest.raises(CertificateError, match=message): certify(model, torch.randn(2, model.in_features))
