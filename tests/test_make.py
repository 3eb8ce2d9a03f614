"The Makefile passes on what it is given; what the study does not know is refused."
import gzip, json, os, shlex, shutil, subprocess, sys, tempfile
from pathlib import Path
import nbformat, numpy as np, pytest
from PIL import Image
from pages import ROOT

sys.path.insert(0, str(ROOT/'tools'))
import reproduce

STUB = f"""#!{sys.executable}
import json, sys
sys.path.insert(0, {str(ROOT/'tools')!r})
import reproduce
print(json.dumps([sys.argv[1:], reproduce.under_make()]))
"""

def make(target, *args):
    "`make` in a folder of its own, whose python says what it was given -> (its arguments, the words of the study, what lies there afterwards)"
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        shutil.copy(ROOT/'Makefile', at)
        for file, text in (('tools/setup_venv.sh', ''), ('.venv/bin/python', STUB)):
            (at/file).parent.mkdir(parents=True)
            (at/file).write_text(text)
            (at/file).chmod(0o755)
        r = subprocess.run(['make', target, *args], cwd=at, capture_output=True, text=True)
        assert not r.returncode, r.stderr
        return *json.loads(r.stdout.splitlines()[-1]), sorted(p.name for p in at.iterdir())

def passed(*args):
    "What papermill gets from `make reproduce` with these arguments."
    said, words, _ = make('reproduce', *args)
    assert said == ['tools/reproduce.py']
    return reproduce.command(words)

HOSTILE = ["x'; touch y; '", 'x"; touch y; "', '$(shell touch y)', '$$(touch y)', '`touch y`', 'x; touch y', "it's", 'do$lar', 'a#b', r'back\slash', '$(ARCH)', '*', 'two  words ']

@pytest.mark.parametrize('target', ['reproduce', 'results'])
@pytest.mark.parametrize('value', HOSTILE)
def test_no_argument_of_make_is_code(target, value):
    "Each arrives letter by letter, and nothing else happens."
    said, words, there = make(target, f'OUT={value}', f'PYTHON={value}', f'TYPO={value}')
    assert said == ['tools/reproduce.py'] + ['keep']*(target == 'results')
    assert sorted(words) == [f'OUT={value}', f'PYTHON={value}', f'TYPO={value}']
    assert there == ['.venv', 'Makefile', 'tools']

@pytest.mark.parametrize('value', ['out/mlp-digits-smoke', "it's $(shell touch y)", ''])
def test_the_explorer_gets_its_run(value, tmp_path):
    "Letter by letter; without a run the command looks for the newest."
    shutil.copy(ROOT/'Makefile', tmp_path)
    for file, text in (('tools/setup_venv.sh', ''), ('.venv/bin/landscape', f'#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n')):
        (tmp_path/file).parent.mkdir(parents=True)
        (tmp_path/file).write_text(text)
        (tmp_path/file).chmod(0o755)
    r = subprocess.run(['make', 'explore', *[f'RUN={value}']*bool(value)], cwd=tmp_path, capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != 'RUN'})
    assert json.loads(r.stdout.splitlines()[-1]) == ['explore', '--', value] and not (tmp_path/'y').exists()

def test_parameters_reach_papermill():
    flags = ' '.join(passed('ARCH=resnet18', 'PRESET=paper', 'SEEDS=5', 'ALGORITHMS=sgd rsgd', 'OUT=out/other', 'JOBS=2', 'WIDTH='))
    for part in ('-r arch resnet18', '-r preset paper', '-r algorithms sgd rsgd', '-r out out/other', '-p seeds 5', '-p jobs 2', '--log-output'):
        assert part in flags
    assert 'out/other/reproduce.ipynb' in flags and 'n_train' not in flags and 'width' not in flags

def test_every_parameter_of_the_page_can_be_given():
    for name, value in reproduce.defaults().items():
        how = '-r' if isinstance(value, str) else '-p'
        assert f'{how} {name} 1' in ' '.join(passed(f'{name.upper()}=1'))

def test_a_mistyped_parameter_is_refused():
    r = subprocess.run([sys.executable, 'tools/reproduce.py', 'ARHC=resnet18'], cwd=ROOT, capture_output=True, text=True)
    assert r.returncode and r.stderr.startswith('there is no parameter ARHC; there are ARCH ') and len(r.stderr.splitlines()) == 1
    with pytest.raises(SystemExit, match='no parameter arch;'): passed('arch=resnet18')

def test_the_environment_is_no_parameter(monkeypatch):
    monkeypatch.setenv('ARCH', 'x86_64')
    flags = ' '.join(passed('PYTHON=python3'))
    assert 'arch' not in flags and '-r preset quick' in flags and '-r out out/mlp-fashion_mnist-quick' in flags

def test_the_standard_preset_adds_networks_until_nothing_is_open(tmp_path, monkeypatch):
    "From ten to fifteen while a claim of the paper is open; those of other groups and a number that was asked for end it."
    page, runs = reproduce.defaults(), []
    def stub(words):
        seeds = int(dict(w.split('=') for w in words).get('SEEDS', 10))
        runs.append(seeds)
        (tmp_path/'environment.json').write_text(json.dumps(dict(parameters=dict(seeds=[*range(seeds)]))))
        (tmp_path/'claims.csv').write_text(f'group,verdict\npaper,{"undecided" if seeds < 15 else "holds"}\ncheck,undecided\n')
    monkeypatch.setattr(reproduce, 'run', stub)
    words = ['DATASET=digits', f'OUT={tmp_path}']
    for more, wanted in (['PRESET=standard'], [10, 15]), (['PRESET=standard', 'SEEDS=10'], [10]), (['PRESET=quick'], [10]):
        runs.clear()
        reproduce.reproduce([*words, *more])
        assert runs == wanted

def test_results_are_kept_beside_the_pages(tmp_path, monkeypatch):
    out, words, page = tmp_path/'run', ['ARCH=lenet', f'OUT={tmp_path/"run"}'], reproduce.defaults()
    for f in ('claims.csv', 'environment.json', 'tables/minima.csv', 'tables/distances.csv'):
        (out/f).parent.mkdir(parents=True, exist_ok=True)
        (out/f).write_text('a,b\n')
    (out/'figures').mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (400, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out/'figures/paths.png')
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f'"{tmp_path}/run"', metadata=dict(papermill={}))])
    nbformat.write(nb, out/'reproduce.ipynb')
    monkeypatch.setattr(reproduce, 'ROOT', tmp_path)
    monkeypatch.setattr(reproduce, 'defaults', lambda: page)
    to = tmp_path/'nbs/results/lenet-fashion_mnist-quick'
    def keep():
        reproduce.keep(words)
        return {str(p.relative_to(to)): p.read_bytes() for p in to.rglob('*') if p.is_file()}
    kept = keep()
    assert kept.keys() == {'claims.csv', 'environment.json', 'tables/minima.csv.gz', 'tables/distances.csv.gz', 'paths.png', 'reproduce.ipynb'}
    assert gzip.decompress(kept['tables/minima.csv.gz']) == b'a,b\n' and len(kept['paths.png']) <= reproduce.PICTURE
    assert str(tmp_path) not in kept['reproduce.ipynb'].decode() and 'papermill' not in kept['reproduce.ipynb'].decode()
    assert keep() == kept, 'the same run gives the same bytes'
    monkeypatch.setattr(reproduce, 'PAGE_SIZE', 100)
    assert 'reproduce.ipynb' not in keep()
