"Convolutions by Winograd's algorithm, in C and by torch, against torch's own."
import platform, shutil, subprocess, warnings
import pytest, torch
from torch.nn.functional import conv2d
from landscape_nb import kernels
from landscape_nb.kernels import MATRICES, compiled, pays, source, spread, winograd
from landscape_nb.store import stream

COMPILER = platform.system() == 'Linux' and shutil.which('cc') is not None

def case(n, c, k, h, w, dtype, bias=True):
    gen = stream('test_kernels')
    x, g, b = (torch.randn(shape, generator=gen, dtype=torch.float64) for shape in ((n, c, h, w), (k, c, 3, 3), (k,)))
    return x.to(dtype), (g/c**.5).to(dtype), b.to(dtype) if bias else None

@pytest.fixture
def threads():
    n = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(n)

@pytest.mark.skipif(not COMPILER, reason='no C compiler')
def test_compiles_where_there_is_a_compiler():
    assert compiled() is not None
    for size, rows in ((64, 12), (32, 6), (16, 6)): subprocess.run('cc -Wall -Wextra -Wno-psabi -Wno-unknown-pragmas -Werror -fsyntax-only -fopenmp -x c -'.split(), input=source(size, rows), text=True, check=True)

@pytest.mark.parametrize('command', ['false', 'there-is-no-such-compiler', 'cc --no-such-option', '"'])
def test_without_a_compiler_torch_does_it_without_noise(command, monkeypatch, capfd):
    monkeypatch.setenv('CC', command)
    monkeypatch.setattr(kernels, 'compiled', kernels.functools.cache(compiled.__wrapped__))
    x, g, b = case(2, 30, 33, 9, 7, torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        u = spread(g, 4)
        assert u.shape == (36, 33, 30) and not pays(g)
        assert (winograd(x, u, b, 33, (1, 1), {}) - conv2d(x, g, b, padding=1)).abs().max() < 1e-12
    assert capfd.readouterr() == ('', '')

@pytest.mark.parametrize('n_threads', [1, 2, 5])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize('side', MATRICES)
@pytest.mark.parametrize('c', [False, pytest.param(True, marks=pytest.mark.skipif(not COMPILER, reason='no C compiler'))], ids=['torch', 'C'])
def test_convolves(c, side, dtype, n_threads, threads):
    threads(n_threads)
    held = {}          # the same buffers for all
    for n, channels, outputs in ((1, 16, 16), (3, 17, 33), (5, 40, 24), (2, 70, 130), (31, 16, 64)):
        for h, w, *padding in ((3, 3, 0, 0), (4, 7, 1, 1), (9, 5, 2, 0), (1, 1, 1, 1), (13, 12, 0, 2)):
            for last in (True, False):
                x, g, b = case(n, channels, outputs, h, w, dtype, last)
                u = spread(g, side, c)
                assert u.dim() == (4 if c else 3)
                y = winograd(x.to(memory_format=torch.channels_last) if last else x, u, b, outputs, tuple(padding), held)
                z = conv2d(x, g, b, padding=padding)
                assert y.shape == z.shape and y.is_contiguous(memory_format=torch.channels_last)
                assert (y-z).abs().max() <= 32*torch.finfo(dtype).eps*z.abs().max()

@pytest.mark.skipif(not COMPILER, reason='no C compiler')
def test_what_is_not_a_number_stays_in_sight():
    x, g, b = case(2, 20, 20, 8, 8, torch.float32)
    u = spread(g, 4)
    for wrong in (torch.nan, torch.inf):
        y = winograd(x.index_fill(0, torch.tensor(1), wrong), u, b, 20, (1, 1), {})
        assert y[0].isfinite().all() and not y[1].isfinite().any()

def test_half_precision_is_left_to_torch():
    assert not kernels.in_c(torch.zeros(64, 64, 3, 3, dtype=torch.bfloat16)) and spread(torch.zeros(64, 64, 3, 3, device='meta'), 4).device.type == 'meta'

@pytest.mark.parametrize('c', [False, True], ids=['torch', 'C'])
def test_refuses_what_it_would_read_beyond(c):
    x, g, b = case(2, 20, 24, 6, 6, torch.float32)
    u = spread(g, 4, c)
    for wrong in (dict(x=x.double()), dict(x=x[:, :19]), dict(x=x[..., :1]), dict(b=b.double()), dict(b=b[:23])):
        given = dict(x=x, b=b) | wrong
        with pytest.raises(RuntimeError, match='winograd: wanted images .n, 20, h, w. .* 24 biases'): winograd(given['x'], u, given['b'], 24, (0, 0), {})
    every = torch.stack([b, b], 1)[:, 0]
    assert not every.is_contiguous() and torch.equal(winograd(x, u, every, 24, (0, 0), {}), winograd(x, u, b, 24, (0, 0), {})) and len(winograd(x[:0], u, b, 24, (1, 1), {})) == 0
