"The command `landscape`: what it prints, writes and answers with."
import os, signal, socket, subprocess, sys, time
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
    save_state(a | {'fc2.bias': torch.full_like(a['fc2.bias'], torch.nan)}, at/'nan.safetensors')
    (at/'text.txt').write_text('epoch 1, loss .5\n')
    (at/'folder').mkdir()
    for seed in range(2): save_state(state_of(make_model('binary_mlp', size=8, width=.1, seed=seed)), at/f'signs{seed}.safetensors')
    (at/'mynets.py').write_text('from torch import nn, randn\n'
        'def one(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 26), nn.ReLU(), nn.Linear(26, 10))\n'
        'def pair(): return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), randn(2, 6)\n'
        'class Net(nn.Linear):\n    def __init__(self): super().__init__(4, 2)\n'
        'def digits():\n    from landscape_nb.data import load_data\n    return load_data("digits").test\n'
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

def test_certify_counts(run):
    status, out, err = run('certify', 'mynets.py:pair')
    assert status == 0 and 'continuous dimensions found: complete' in out, err

def test_a_path_on_images_of_ones_own(run):
    words = ['path', 'a.safetensors', 'b.safetensors', *SMALL, '--points', '3', '--removal', 'none']
    status, own, err = run(words, '--data', 'mynets.py:digits')
    assert status == 0 and '360 images of mynets.py:digits, as they are' in own, err
    status, named, err = run(words, '--dataset', 'digits')
    table = lambda out: [l for l in out.splitlines() if l[:1].isdigit() or l.startswith(('barrier', ' '))]
    assert status == 0 and table(own) == table(named) and 'less 0.3' in named, err
    status, out, err = run(words, '--dataset', 'digits', '--mean', '0', '--std', '1', '--labels', 'zero,one,two,three,four,five,six,seven,eight,nine')
    assert status == 0 and 'less 0, divided by 1' in out and table(out)[:4] != table(own)[:4], err
    assert 'by class' in out and 2 <= len(row(out, 'seven')) <= 3

TWO = 'nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)'

def test_statistics_of_ends_and_interior_are_of_the_same_images(run, files, monkeypatch):
    "Networks that were trained on pixels in [0, 1] and are judged on standardised ones: the path is right and the command says what is odd."
    (files/'bn.py').write_text(f'from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), {TWO})\n')
    from landscape_nb.data import load_data
    from landscape_nb.apps.given import pixels
    data = load_data('digits')
    x, y = pixels(data.x_train, data), data.y_train
    for seed in range(2):
        torch.manual_seed(seed)
        net = eval(f'nn.Sequential(nn.Flatten(), {TWO})')
        opt = torch.optim.SGD(net.parameters(), .1, .9)
        for i in range(120):
            opt.zero_grad()
            nn.functional.cross_entropy(net(x[i*64 % 1280:][:64]), y[i*64 % 1280:][:64]).backward()
            opt.step()
        torch.save(net.state_dict(), files/f'bn{seed}.pt')
    words = 'path bn0.pt bn1.pt --arch bn.py:net --dataset digits --points 5 --removal none'.split()
    status, wrong, err = run(words)
    assert status == 0 and err.count('warning') == 2 and 'bn0.pt' in err and '--mean' in err
    status, right, err = run(words, '--mean', '0', '--std', '1')
    assert status == 0 and err == ''
    errors = lambda out: [float(l.split()[1]) for l in out.splitlines() if l.strip().startswith(('0.0000', '0.2500', '0.5000', '1.0000'))]
    for out in (wrong, right): assert errors(out)[0] < .1 < errors(out)[2]        # ends good, the middle bad: no ends in another light

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
    ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --removal nothing', ['nothing', 'permutation']), ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --points 1', ['--points', '3', '1']),
    ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --images all', ['train', 'all']), ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --out x.jpeg', ['.png']),
    ('symmetries mlp --size -3', ['--size', '-3']), ('symmetries mlp --width 0', ['--width']), ('certify torchvision:resnet18', ['resnet18', 'narrow twin']),
    ('align nan.safetensors b.safetensors --arch mlp --size 8 --width .1', ['nan.safetensors', 'fc2.bias', 'NaN']),
    ('align text.txt b.safetensors --arch mlp --size 8 --width .1', ['text.txt', 'safetensors', 'torch.save']),
    ('align folder b.safetensors --arch mlp --size 8 --width .1', ['folder', 'a folder']),
    ('align a.safetensors b.safetensors --arch mlp --size 8 --width .1 --device gpu', ['--device', 'cpu, cuda', 'gpu']),
    ('align a.safetensors b.safetensors --arch mlp --size 8 --width .1 --method hungarian', ['hungarian', 'greedy', 'best']),
    ('align a.safetensors b.safetensors --arch mlp --size 8 --width .1 --out new/x.safetensors', ['new']),
    ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --labels a,b', ['--labels', '10', '2']),
    ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --n -1', ['--n', '-1']),
    ('path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits --mean 1,2', ['--mean', '1', '2']),
    ('path a.safetensors b.safetensors --arch mlp --size 8 --width .1 --data mynets', ['--data', 'file.py:function']),
    ('path a.safetensors b.safetensors --arch mlp --size 8 --width .1 --data mynets:one', ['--data', 'two tensors', 'Sequential']),
    ('explore', ['out', 'environment.json']), ('explore mynets.py', ['mynets.py', 'finished run']),
    ('report .', ['claims.csv']), ('report mynets.py', ['mynets.py']), ('report nowhere', ['nowhere'])])
def test_what_cannot_be_done_is_one_line_and_status_1(run, line, words):
    status, out, err = run(line.split())
    assert status == 1 and len(err.splitlines()) == 1 and err.startswith(f'landscape {line.split()[0]}: '), err
    assert not out.splitlines()[1:], 'nothing but what will be done'
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

FIRST = '''import sys, time
from landscape_nb import command
class Stop(Exception): pass
def write(text): raise Stop
sys.stdout.write = write
try: command.main(sys.argv[1:])
except Stop: print(time.process_time(), file=sys.stderr)'''

@pytest.mark.parametrize('line', ['symmetries mlp --size 8 --width .1', 'path a.safetensors b.safetensors --arch mlp --width .1 --dataset digits', 'certify mlp'])
def test_the_first_line_comes_before_the_imports(files, root, line):
    first = FIRST.replace('raise Stop', 'print(time.process_time(), file=sys.stderr); raise SystemExit')
    r = subprocess.run([sys.executable, '-c', first, *line.split()], cwd=files, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(root)))
    assert float(r.stderr.split()[0]) < 1.

def test_the_explorer_is_served_until_it_is_interrupted(tmp_path, root):
    (tmp_path/'environment.json').write_text('{}')
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    code = 'import sys; from landscape_nb.command import main; sys.exit(main())'
    p = subprocess.Popen([sys.executable, '-c', code, 'explore', str(tmp_path), '--quiet', '--port', str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                         env=dict(os.environ, PYTHONPATH=str(root)), start_new_session=True)
    try:
        assert str(tmp_path) in p.stdout.readline()
        end = time.monotonic() + 120
        while time.monotonic() < end and p.poll() is None:
            with socket.socket() as s:
                if s.connect_ex(('127.0.0.1', port)) == 0: break
            time.sleep(.2)
        else: raise AssertionError('nothing is served')
        os.killpg(p.pid, signal.SIGINT)
        assert p.wait(60) in (0, 130)
    finally:
        if p.poll() is None: p.kill()

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
