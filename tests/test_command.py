"The command `landscape`: what it prints, writes and answers with."
import os, subprocess, sys
from configparser import ConfigParser
from importlib.metadata import EntryPoint
import pandas as pd, pytest, torch
from torch import nn
from landscape_nb import command
from landscape_nb.command import COMMANDS, EXAMPLES, main, parser_of
from landscape_nb.search.group import state_of
from landscape_nb.models import make_model
from landscape_nb.symmetries import find_symmetries
from landscape_nb.torus import Torus
from landscape_nb.ground.weights import load_state, save_state

SMALL = '--arch mlp --size 8 --width .1'.split()

@pytest.fixture(scope='module')
def files(tmp_path_factory):
    "Two networks, and the second in another order, scale and dress; binary ones; and a module with networks."
    at = tmp_path_factory.mktemp('weights')
    net = make_model('mlp', size=8, width=.1, seed=0)
    sym, a, b = find_symmetries(net, torch.randn(2, 1, 8, 8)), state_of(net), state_of(make_model('mlp', size=8, width=.1, seed=1))
    save_state(a, at/'a.safetensors'); save_state(b, at/'b.safetensors')
    moved = sym.sample(torch.Generator().manual_seed(0))(a)
    torch.save(dict(epoch=1, state_dict={f'module.{k}': v for k, v in moved.items()}), at/'moved.pt')
    for seed in range(2): save_state(state_of(make_model('binary_mlp', size=8, width=.1, seed=seed)), at/f'signs{seed}.safetensors')
    (at/'mynets.py').write_text('from torch import nn, randn\n'
        'def one(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 26), nn.ReLU(), nn.Linear(26, 10))\n'
        'def pair(): return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), randn(2, 6)\n'
        'class Net(nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n'
        'number = 3\ndef broken(): raise RuntimeError("out of\\nclay")\n')
    return at

@pytest.fixture
def run(files, monkeypatch, capsys):
    "Run a command line in the folder of the files -> status, stdout, stderr."
    monkeypatch.chdir(files)
    def run(*words):
        status = main([w for word in words for w in ([word] if isinstance(word, str) else word)])
        return status, *capsys.readouterr()
    return run

def numbers(line): return [float(w) for w in line.split() if w.replace('.', '').replace('-', '').replace('e', '').replace('+', '').isdigit()]
def row(out, name): return numbers(next(l for l in out.splitlines() if l.startswith(name)).removeprefix(name))

def test_symmetries_prints_the_report_and_the_check(run):
    status, out, err = run('symmetries', 'mlp', '--size', '8', '--width', '.1')
    assert status == 0 and err == '' and '2 blocks, 52 units' in out and 'not searched' in out
    assert float(out.split('changes the logits by ')[1].split()[0]) < 1e-10

@pytest.mark.parametrize('words, found', [
    (['torchvision:squeezenet1_1', '--size', '32', '--classes', '10'], 'features.12.squeeze'), (['mynets:one', '--channels', '1', '--size', '8'], '26 units'),
    (['mynets:pair'], 'sign'), (['mynets.py:pair'], 'sign'), (['mynets:Net', '--channels', '1', '--size', '4'], 'output')])
def test_networks_go_by_many_names(run, words, found):
    status, out, err = run('symmetries', words)
    assert status == 0 and found in out, err

def test_a_planted_element_is_found_and_the_file_holds_the_same_function(run, files):
    status, out, err = run('align', 'a.safetensors', 'moved.pt', SMALL, '--out', 'near.safetensors')
    assert status == 0, err
    before, after = row(out, 'torus (radians)')
    assert after < 1e-3 < 1 < before and row(out, 'objective')[1] > row(out, 'objective')[0] and 'seconds' in out
    net, x = make_model('mlp', size=8, width=.1), torch.randn(50, 1, 8, 8)
    logits = lambda f: torch.func.functional_call(net, load_state(files/f, net), x)
    assert torch.allclose(logits('near.safetensors'), logits('moved.pt'), rtol=1e-4, atol=1e-5)
    T = Torus(find_symmetries(net, x[:2]))
    assert T.dist(*(T.project(load_state(files/f, net)) for f in ('a.safetensors', 'near.safetensors'))) < 1e-3

def test_raw_weights_are_matched_as_they_are(run):
    status, out, _ = run('align', 'a.safetensors', 'b.safetensors', SMALL, '--raw', '--method', 'cd')
    before, after = row(out, 'weights (Euclidean)')
    assert status == 0 and after < before and 'method cd' in out

def test_distance_as_found_matched_and_against_the_null(run):
    status, out, err = run('distance', 'a.safetensors', 'moved.pt', SMALL, '--null', '--layers')
    assert status == 0, err
    assert row(out, 'matched (best) ')[1] < 1e-3 < row(out, 'as found ')[1] and row(out, 'matched (best), untrained')[1] > 1
    assert {l.split()[0] for l in out.splitlines()[-3:]} == {'fc1', 'fc2', 'fc3'}

def test_networks_of_signs_are_measured_by_hamming(run):
    words = 'signs0.safetensors signs1.safetensors --arch binary_mlp --width .1'.split()
    status, out, err = run('distance', words, '--size', '8')
    assert status == 0 and 'Hamming' in out, err
    assert row(out, 'matched (best)')[0] < row(out, 'as found')[0] < 1
    status, out, err = run('path', words, '--dataset', 'digits', '--removal', 'all', '--points', '5')
    assert status == 0 and 'permutation' in out, err
    status, out, err = run('path', words, '--dataset', 'digits', '--removal', 'norm')
    assert status == 1 and 'none, permutation, all' in err

def test_a_path_is_a_table_and_a_figure(run, files):
    words = ['path', 'a.safetensors', 'moved.pt', '--arch', 'mlp', '--width', '.1', '--dataset', 'digits', '--removal', 'all', '--points', '5']
    status, out, err = run(words, '--out', 'path.csv')
    assert status == 0, err
    table = pd.read_csv(files/'path.csv')
    assert len(table) == 4*5 and set(table.removal) == {'none', 'norm', 'permutation', 'both'}
    ends, both = table[table.t.isin([0, 1])].error, table[table.removal == 'both'].error
    assert ends.nunique() == 1 and both.nunique() == 1, 'one function at both ends, and with all symmetries removed on the whole path'
    assert f'{ends.iloc[0]:.4f}' in out and out.count('barrier') == 4
    status, out, _ = run(words[:-4], '--n', '50', '--images', 'train', '--points', '3', '--out', 'path.png')
    assert status == 0 and '50 train images' in out and (files/'path.png').read_bytes()[:4] == b'\x89PNG'

@pytest.fixture(scope='module')
def kept(tmp_path_factory):
    "The folder of a run: the claims of a made study."
    from landscape_nb.report import claims_table, save_report
    from landscape_nb.studies.claims import made_study
    return save_report(tmp_path_factory.mktemp('kept'), {}, {}, claims_table(made_study(seeds=range(3))), {})

def test_a_report_is_text_or_markdown(run, kept):
    status, out, _ = run('report', str(kept))
    assert status == 0 and 'rsgd minima are flatter than sgd minima' in out and 'holds' in out
    claims = pd.read_csv(kept/'claims.csv')
    assert all(s in out for s in claims.statement)
    status, out, _ = run('report', str(kept), '--markdown')
    assert status == 0 and len([l for l in out.splitlines() if l.startswith('|')]) == len(claims) + 2

@pytest.mark.parametrize('line, words', [
    ('symmetries resnet19', ['resnet19', 'resnet18']), ('symmetries torchvision:resnet19', ['resnet19', 'resnet18']), ('symmetries torchvision:resnet18 --width 2', ['width']),
    ('symmetries mynets:absent', ['mynets', 'absent', 'one']), ('symmetries nowhere:f', ['nowhere']), ('symmetries nowhere.py:f', ['nowhere.py']), ('symmetries mynets:number', ['int', 'nn.Module']),
    ('symmetries mynets:one', ['(2, 3, 224, 224)']), ('symmetries mynets:broken', ['RuntimeError', 'out of clay', '--debug']), ('symmetries timm:absent', ['timm']),
    ('align a.safetensors absent.pt --arch mlp --size 8 --width .1', ['absent.pt']), ('align a.safetensors b.safetensors --arch mlp', ['fc1.weight', '(256, 784)', '--width']),
    ('align a.safetensors b.safetensors --arch mlp --size 8 --width .1 --method psychic', ['psychic', 'greedy']), ('align a.safetensors mynets.py --arch mlp --size 8 --width .1', ['mynets.py']),
    ('align a.safetensors b.safetensors --arch mlp --size 8 --width .1 --out x.pt', ['.safetensors']), ('align a.safetensors b.safetensors --arch mlp --size 8 --width .1 --device tpu9', ['tpu9']),
    ('distance a.safetensors signs0.safetensors --arch mlp --size 8 --width .1', ['missing', 'fc1.bias']), ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digit', ['digits']),
    ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --removal nothing', ['nothing', 'permutation']), ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --points 1', ['n_points', '1']),
    ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --images all', ['train', 'all']), ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --out x.jpeg', ['.png']),
    ('report .', ['claims.csv']), ('report mynets.py', ['mynets.py']), ('report nowhere', ['nowhere'])])
def test_what_cannot_be_done_is_one_line_and_status_1(run, line, words):
    status, out, err = run(line.split())
    assert status == 1 and out == '' and len(err.splitlines()) == 1 and err.startswith(f'landscape {line.split()[0]}: '), err
    assert all(w in err for w in words), err

@pytest.mark.parametrize('line, words', [
    ('', ['wanted a command', 'align']), ('symetries mlp', ['symmetries?']), ('align a.safetensors', ['required', 'usage']), ('align a b', ['--arch']), ('symmetries mlp --size big', ['invalid int']),
    ('symmetries mlp --colour red', ['--colour']), ('report', ['run'])])
def test_a_wrong_command_line_is_status_2(run, line, words):
    status, out, err = run(line.split())
    assert status == 2 and out == '' and all(w in err for w in words), err

def test_debug_shows_where(run):
    status, out, err = run('symmetries', 'mynets:broken', '--debug')
    assert status == 1 and 'Traceback' in err and 'mynets.py' in err

@pytest.mark.parametrize('name', COMMANDS)
def test_help_has_every_option_and_examples_that_parse(run, name):
    status, out, err = run(name, '--help')
    assert status == 0 and 'examples:' in out and '(default: )' not in out
    for o in parser_of(name)._actions:
        assert o.help and (not o.option_strings or o.option_strings[-1] in out or o.help == '==SUPPRESS=='), o
    for e in EXAMPLES[name]: assert f'landscape {name} {e}' in out and parser_of(name).parse_args(e.partition(' >')[0].split())

START = 'import sys, time; from landscape_nb.command import main; s = main(sys.argv[1:]); print(time.process_time(), *sorted({"torch", "numpy", "pandas"} & set(sys.modules)), file=sys.stderr); sys.exit(s)'

def test_help_starts_quickly_and_lists_every_command(root):
    r = subprocess.run([sys.executable, '-c', START, '--help'], cwd=root, capture_output=True, text=True)
    assert r.returncode == 0 and all(k in r.stdout for k in COMMANDS)
    seconds, *heavy = r.stderr.split()
    assert not heavy and float(seconds) < .5

def test_the_console_script_is_this_command(root):
    ini = ConfigParser(delimiters=['='])
    ini.read(root/'settings.ini')
    name, _, value = ini['DEFAULT']['console_scripts'].partition('=')
    assert name == 'landscape' and EntryPoint(name, value, 'console_scripts').load() is main

@pytest.mark.parametrize('line, status, words', [('report {kept}', 0, 'rsgd minima are flatter'), ('report nowhere', 1, 'landscape report: nowhere'), ('reports', 2, 'perhaps report?')])
def test_the_process_ends_with_the_status(files, root, kept, line, status, words):
    r = subprocess.run([sys.executable, '-c', 'import sys; from landscape_nb.command import main; sys.exit(main())', *line.format(kept=kept).split()], cwd=files, capture_output=True, text=True,
                       env=dict(os.environ, PYTHONPATH=str(root)))
    assert r.returncode == status and words in (r.stderr if status else r.stdout) and 'Traceback' not in r.stderr

def test_a_reader_that_closes_the_pipe_is_no_error(files, root, kept):
    r = subprocess.run([f'"{sys.executable}" -c "import sys; from landscape_nb.command import main; sys.exit(main())" report "{kept}" | head -1'], shell=True, cwd=root, capture_output=True, text=True)
    assert r.stdout.startswith(kept.name) and r.stderr == ''
