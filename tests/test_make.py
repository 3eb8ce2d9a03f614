"The Makefile passes on what it is given and refuses what it does not know."
import subprocess

def make(root, *args): return subprocess.run(['make', '-n', *args], cwd=root, capture_output=True, text=True)

def test_parameters_reach_papermill(root):
    r = make(root, 'reproduce', 'ARCH=resnet18', 'PRESET=paper', 'SEEDS=5', 'ALGORITHMS=sgd rsgd', 'OUT=out/other', 'JOBS=2')
    line = next(o for o in r.stdout.splitlines() if 'papermill' in o)
    for part in ("-r arch 'resnet18'", "-r dataset 'fashion_mnist'", "-r preset 'paper'", "-r algorithms 'sgd rsgd'", "-r out 'out/other'", "-p seeds '5'", "-p jobs '2'"):
        assert part in line
    assert "'out/other/reproduce.ipynb'" in line and 'n_train' not in line

def test_a_mistyped_parameter_is_refused(root):
    r = make(root, 'reproduce', 'ARHC=resnet18')
    assert r.returncode and 'there is no parameter ARHC; there are ARCH ' in r.stderr

def test_the_environment_is_no_parameter(root, monkeypatch):
    monkeypatch.setenv('ARCH', 'x86_64')
    assert "-r arch 'mlp'" in make(root, 'reproduce').stdout
