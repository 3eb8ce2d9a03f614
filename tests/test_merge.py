"Merging trained networks: the command `landscape merge` on networks of digits with batch normalisation."
import hashlib
import pytest, torch, torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from landscape_nb.command import main
from landscape_nb.data import load_data
from landscape_nb.evaluate import Evaluator
from landscape_nb.landscape.merging import canonical, merge
from landscape_nb.symmetries import find_symmetries, state_of
from landscape_nb.torus import Torus

MINE = '''
from torch import nn
from landscape_nb.data import load_data
def net():
    layers = [nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 10))
def train(): return load_data('digits').train
def test(): return load_data('digits').test
def raw():
    d = load_data('digits')
    return d.x_test*d.std + d.mean, d.y_test
def three(): return 1, 2, 3
def words(): return 'images', 'labels'
def short(): return load_data('digits').x_test[:5], load_data('digits').y_test[:4]
'''
TRUE = '--arch mine.py:net --channels 1 --size 8 --data mine.py:train --test mine.py:test'.split()

def trained(net, seed:int, epochs:int=30):
    "A network of digits by plain torch."
    x, y = load_data('digits').train
    gen = torch.Generator().manual_seed(seed)
    o = torch.optim.SGD(net.parameters(), .1, .9, weight_decay=1e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(o, epochs)
    for _ in range(epochs):
        for i in torch.randperm(len(x), generator=gen).split(64):
            o.zero_grad()
            F.cross_entropy(net(x[i]), y[i]).backward()
            o.step()
        slower.step()
    return net.eval()

@pytest.fixture(scope='module')
def mine(once):
    "A folder with a module of the user's and ten networks that were trained from its weights."
    def make(at):
        (at/'mine.py').write_text(MINE)
        space = {}
        exec(MINE, space)
        for seed in range(10):
            torch.manual_seed(seed)
            torch.save(trained(space['net'](), seed).state_dict(), at/f'{seed}.pt')
    return once('merged', make)

@pytest.fixture
def run(mine, monkeypatch, capsys):
    "A command line in that folder -> status, stdout, stderr."
    monkeypatch.chdir(mine)
    def run(*words):
        status = main([w for word in words for w in (word.split() if isinstance(word, str) else word)])
        return status, *capsys.readouterr()
    return run

@pytest.fixture(scope='module')
def net(mine):
    space = {}
    exec(MINE, space)
    return space['net']().eval()

def printed(out, name):
    "Error and loss that the command prints of one network."
    line = next(l for l in out.splitlines() if l.startswith(name))
    return [float(w) for w in line.removeprefix(name).split()]

def digest(path): return hashlib.sha256(path.read_bytes()).hexdigest()

@pytest.mark.parametrize('files', [f'{i}.pt {i+1}.pt' for i in range(0, 10, 2)] + ['0.pt 1.pt 2.pt'])
def test_a_merge_is_far_better_than_the_average(run, mine, net, tmp_path, files):
    before = {f: digest(mine/f) for f in files.split()}
    status, out, err = run('merge', files, TRUE, '--out', [str(tmp_path/'m.safetensors')])
    assert status == 0, err
    plain, merged = printed(out, 'plain average')[0], printed(out, 'merge')[0]
    assert merged <= plain/2 and merged < .06, out
    assert {f: digest(mine/f) for f in before} == before
    net.load_state_dict(load_file(tmp_path/'m.safetensors'))
    x, y = load_data('digits').test
    with torch.no_grad(): z = net(x)
    assert abs((z.argmax(1) != y).double().mean().item() - merged) < 1e-4
    assert abs(F.cross_entropy(z, y).item() - printed(out, 'merge')[1]) < 1e-3

def test_the_file_is_the_merge_bit_for_bit(run, mine, net, tmp_path):
    run('merge 0.pt 1.pt', TRUE, '--out', [str(tmp_path/'m.safetensors')])
    a, b = (torch.load(mine/f'{i}.pt') for i in (0, 1))
    sym = find_symmetries(net, torch.randn(2, 1, 8, 8))
    wanted = merge(sym, [a, b], Evaluator(net, load_data('digits').train))
    net.load_state_dict(load_file(tmp_path/'m.safetensors'))
    found = net.state_dict()
    assert found.keys() == a.keys() and all(torch.equal(v, wanted[k]) and v.dtype == a[k].dtype for k, v in found.items())

def test_repair_and_averaged_statistics(run, tmp_path):
    out_to = ['--out', str(tmp_path/'m.safetensors')]
    status, out, err = run('merge 2.pt 3.pt', TRUE, '--repair', out_to)
    assert status == 0 and printed(out, 'merge')[0] <= printed(out, 'plain average')[0]/2, err
    status, out, err = run('merge 2.pt 3.pt --arch mine.py:net --channels 1 --size 8', out_to)
    assert status == 0 and 'no --data' in out, err

def test_the_way_to_the_torus_and_back_costs_no_confidence(mine, net):
    data, sym = load_data('digits'), find_symmetries(net, torch.randn(2, 1, 8, 8))
    ev = Evaluator(net, data.test)
    for i in range(10):
        a = torch.load(mine/f'{i}.pt')
        assert abs(ev(canonical(sym, a)).loss - ev(a).loss) < 1e-6
        assert ev(Torus(sym).project(a)).loss > 2*ev(a).loss           # what it would cost without
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10, bias=False))
    a = {k: 3*v for k, v in state_of(wide).items()}
    sym, ev = find_symmetries(wide, torch.randn(2, 1, 8, 8)), Evaluator(wide, data.test)
    assert abs(ev(canonical(sym, a)).loss - ev(a).loss) < 1e-6

def test_the_normalisation_of_the_images_is_said_and_counts(run, tmp_path):
    data = load_data('digits')
    mean, std = data.mean.item(), data.std.item()
    words = ['merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:raw --out', [str(tmp_path/'m.safetensors')]]
    _, right, _ = run(*words, f'--mean {mean} --std {std}')
    _, wrong, _ = run(*words)
    assert 'as they are' in wrong and f'{mean:.4f}' in right
    assert printed(right, '0.pt')[0] < .05 < printed(wrong, '0.pt')[0]

WRONG = {
    'merge 0.pt --arch mine.py:net --out m.safetensors': ['two', '1'],
    'merge 0.pt 1.pt --arch mine.py:net --out m.pt': ['.safetensors', 'm.pt'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8': ['--out', '.safetensors'],
    'merge 0.pt absent.pt --arch mine.py:net --channels 1 --size 8 --out m.safetensors': ['absent.pt'],
    'merge 0.pt mine.py --arch mine.py:net --channels 1 --size 8 --out m.safetensors': ['mine.py'],
    'merge 0.pt 1.pt --arch mlp --size 8 --out m.safetensors': ['0.pt'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --repair --out m.safetensors': ['--repair', '--data'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --mean .5 --out m.safetensors': ['--mean', '--data'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --test mine.py:test --out m.safetensors': ['--test', '--data'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine --out m.safetensors': ['--data', 'file.py:function'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:none --out m.safetensors': ['mine.py', 'none', 'train'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:three --out m.safetensors': ['--data', 'images', 'labels'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:words --out m.safetensors': ['--data', 'str'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:short --out m.safetensors': ['5', '4'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:test --mean a,b --out m.safetensors': ['--mean', 'a,b'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:test --mean 1,2 --out m.safetensors': ['--mean', '2', '1'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --data mine.py:test --std 0 --out m.safetensors': ['--std', '0'],
    'merge 0.pt 1.pt --arch mine.py:net --channels 1 --size 8 --out nowhere/m.safetensors': ['nowhere']}

@pytest.mark.parametrize('line', WRONG)
def test_wrong_input_is_one_sentence(run, mine, line):
    status, out, err = run(line)
    assert status == 1 and len(err.splitlines()) == 1 and err.startswith('landscape merge: '), err
    assert all(w in err for w in WRONG[line]), err
    assert not (mine/'m.safetensors').exists() and not (mine/'nowhere').exists()
