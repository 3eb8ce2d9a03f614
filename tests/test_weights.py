"Weights from files that nobody vouches for, and networks of libraries that may not be here."
import argparse, importlib.util, os, pickle
import numpy as np, pytest, torch
from torch import nn
from landscape_nb.models import make_model
from landscape_nb.symmetries import find_symmetries, state_of
from landscape_nb.ground.weights import StateError, load_state, save_state, to_numpy

class Decoy:
    "Whoever unpickles it makes a folder."
    def __init__(self, path): self.path = path
    def __reduce__(self): return os.mkdir, (str(self.path),)

def poisoned(kind, path, mark):
    "A file whose payload makes the folder `mark`, in one of the ways in which weights are pickled."
    if kind == 'pickle': path.write_bytes(pickle.dumps({'fc.weight': Decoy(mark)}, 2))
    elif kind == 'numpy': np.savez(path, **{'fc.weight': np.array(Decoy(mark), dtype=object)})
    else: torch.save({'fc.weight': Decoy(mark), 'fc.bias': torch.ones(2)}, path, _use_new_zipfile_serialization=kind == 'zip')
    return path if path.exists() else path.with_name(path.name + '.npz')

def trusting(kind, path):
    "What a reader without protection does."
    if kind == 'numpy': np.load(path, allow_pickle=True)['fc.weight']
    elif kind == 'pickle': pickle.loads(path.read_bytes())
    else: torch.load(path, weights_only=False)

@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle', 'numpy'])
@pytest.mark.parametrize('environment', ['', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(kind, environment, tmp_path, monkeypatch):
    if environment: monkeypatch.setenv(environment, '1')
    mark = tmp_path/'ran'
    path = poisoned(kind, tmp_path/'weights.pt', mark)
    with pytest.raises(StateError, match='mkdir|numpy.savez') as e: load_state(path)
    assert str(path) in str(e.value) and not mark.exists()
    trusting(kind, path)
    assert mark.exists(), 'the payload is live: only the reader kept it from running'

def test_other_objects_are_named(tmp_path):
    torch.save(dict(args=argparse.Namespace(lr=1), state_dict=nn.Linear(2, 2).state_dict()), tmp_path/'a.pt')
    torch.save(nn.Linear(2, 2), tmp_path/'b.pt')
    with pytest.raises(StateError, match='argparse.Namespace'): load_state(tmp_path/'a.pt')
    with pytest.raises(StateError, match='Linear'): load_state(tmp_path/'b.pt')

@pytest.mark.parametrize('cut', [0, 5, 40, 500, -1])
@pytest.mark.parametrize('kind', ['pt', 'safetensors', 'npz'])
def test_a_file_cut_short_is_refused(kind, cut, tmp_path):
    state, path = state_of(make_model('mlp', size=8, width=.1)), tmp_path/f'whole.{kind}'
    dict(pt=lambda: torch.save(state, path), safetensors=lambda: save_state(state, path), npz=lambda: np.savez(path, **to_numpy(state)))[kind]()
    part = tmp_path/f'part.{kind}'
    part.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StateError, match='neither safetensors'): load_state(part)

class Inner(nn.Module):
    "A network that really has a layer called `module`, and one called `model`."
    def __init__(self):
        super().__init__()
        self.module, self.model = nn.Linear(3, 4), nn.Linear(4, 2)
    def forward(self, x): return self.model(self.module(x).relu())

class Outer(nn.Module):
    def __init__(self, net): super().__init__(); self.model = net
    def forward(self, x): return self.model(x)

WRAPS = dict(plain=lambda net: net, parallel=nn.DataParallel, compiled=torch.compile, both=lambda net: torch.compile(nn.DataParallel(net)),
             other=lambda net: nn.DataParallel(torch.compile(net)), lightning=Outer, all=lambda net: Outer(nn.DataParallel(torch.compile(net))))

@pytest.mark.parametrize('net', [Inner, lambda: make_model('resnet18', size=8, channels=1, width=.02), lambda: nn.Linear(2, 2), lambda: nn.Sequential(nn.Linear(2, 2))], ids=['inner', 'resnet18', 'linear', 'one'])
@pytest.mark.parametrize('wrap', WRAPS)
def test_every_wrapping_is_taken_off(wrap, net):
    net = net()
    state = state_of(net)
    for source in (WRAPS[wrap](net), dict(epoch=1, state_dict=WRAPS[wrap](net).state_dict())):
        found = load_state(source, net)
        assert [*found] == [*state] and all(torch.equal(found[k], v) for k, v in state.items())

def test_names_are_not_bent_until_they_fit():
    a, b = nn.Sequential(), nn.Sequential()
    a.add_module('encoder', nn.Linear(2, 2)); b.add_module('decoder', nn.Linear(2, 2))
    with pytest.raises(StateError, match='missing decoder.weight, decoder.bias; unexpected'): load_state(a, b)

def test_copies_are_given():
    state = state_of(nn.Linear(2, 2))
    found = load_state(state)
    found['weight'].zero_()
    assert state['weight'].abs().sum() > 0

def libraries(*names): return [pytest.param(n, marks=pytest.mark.skipif(importlib.util.find_spec(n.partition(':')[0]) is None, reason=f'{n.partition(":")[0]} is not installed')) for n in names]

@pytest.mark.parametrize('name', libraries('timm:resnet18', 'timm:vit_tiny_patch16_224', 'timm:convnext_atto', 'transformers:resnet', 'transformers:vit'))
def test_a_classifier_of_another_library(name, tmp_path):
    library, _, which = name.partition(':')
    if library == 'timm':
        import timm
        size = 224 if 'vit' in which else 64
        net = timm.create_model(which, num_classes=10)
    else:
        import transformers as hf
        size = 32
        net = (hf.ResNetForImageClassification(hf.ResNetConfig(depths=[1, 1], hidden_sizes=[16, 32], embedding_size=16, num_labels=10)) if which == 'resnet' else
               hf.ViTForImageClassification(hf.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=32, patch_size=8, num_labels=10)))
    x = torch.randn(2, 3, size, size)
    sym = find_symmetries(net, x)
    assert sym.coverage > .9 and sym.blocks
    if library == 'timm': assert sym.check(net, x) < 1e-9
    torch.save(net.state_dict(), tmp_path/'pytorch_model.bin')
    found = load_state(tmp_path/'pytorch_model.bin', net)
    assert all(torch.equal(found[k], v) for k, v in state_of(net).items())
    if library == 'timm': return
    class Logits(nn.Module):
        def __init__(self): super().__init__(); self.net = net
        def forward(self, x): return self.net(x).logits
    assert find_symmetries(Logits(), x).headline() == sym.headline()
    net.save_pretrained(tmp_path)
    again = type(net).from_pretrained(tmp_path)
    assert all(torch.equal(load_state(again, net)[k], v) for k, v in state_of(net).items())
