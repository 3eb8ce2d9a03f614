"Convolutions by Winograd's algorithm, in C and by torch, and linear layers in C, against torch's own."
import platform, shutil, subprocess, warnings
import pytest, torch
from torch.nn.functional import conv2d
from landscape_nb import kernels
from landscape_nb.evaluation.kernels import MATRICES, PARTS, compiled, linear, pack, packs, pays, perceptron, source, spread, winograd
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
    for part in PARTS:
        assert compiled(part) is not None
        for size, rows in ((64, 12), (32, 6), (16, 6)): subprocess.run('cc -Wall -Wextra -Wno-psabi -Wno-unknown-pragmas -Werror -fsyntax-only -fopenmp -x c -'.split(), input=source(part, size, rows), text=True, check=True)

@pytest.mark.parametrize('command', ['false', 'there-is-no-such-compiler', 'cc --no-such-option', '"'])
def test_without_a_compiler_torch_does_it_without_noise(command, monkeypatch, capfd):
    monkeypatch.setenv('CC', command)
    monkeypatch.setattr(kernels, 'compiled', kernels.functools.cache(compiled.__wrapped__))
    x, g, b = case(2, 30, 33, 9, 7, torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        u = spread(g, 4)
        assert u.shape == (36, 33, 30) and not pays(g) and not packs(g[..., 0, 0].float())
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

def layers(*sizes, bias=True):
    gen = stream('test_kernels', *sizes)
    return [(torch.randn(k, c, generator=gen)/c**.5, torch.randn(k, generator=gen) if bias else None) for c, k in zip(sizes, sizes[1:])]

@pytest.mark.skipif(not COMPILER, reason='no C compiler')
@pytest.mark.parametrize('n_threads', [1, 2, 5])
@pytest.mark.parametrize('before, after', [(False, False), (True, False), (False, True), (True, True)])
def test_linear_layers_in_a_row(before, after, n_threads, threads):
    threads(n_threads)
    for sizes in ((1, 1), (3, 5), (20, 40, 7), (16, 16, 16), (100, 33, 64, 10), (70, 32, 31, 130)):
        for n in (0, 1, 5, 47, 48, 49, 400):
            for bias in (True, False):
                ws, x = layers(*sizes, bias=bias), torch.randn(n, sizes[0], generator=stream('rows', n))
                h = x.double().relu() if before else x.double()
                for i, (w, b) in enumerate(ws, 1):
                    h = torch.nn.functional.linear(h, w.double(), b if b is None else b.double())
                    if after or i < len(ws): h = h.relu()
                y, packed = perceptron([x], [pack(*o) for o in ws], sizes[1:], before, after), [pack(*o) for o in ws]
                assert y.shape == h.shape and (not n or (y-h).abs().max() <= 1e-5*(1+h.abs().max()))
                assert all(torch.equal(perceptron([x[i:i+1]], packed, sizes[1:], before, after), y[i:i+1]) for i in range(0, n, 50))      # a row does not depend on the others

@pytest.mark.skipif(not COMPILER, reason='no C compiler')
def test_sums_of_inputs():
    for c in (1, 7, 40):
        xs, mix = [torch.randn(90, c, generator=stream('inputs', i)) for i in range(3)], torch.randn(4, c, generator=stream('mix'))
        (w, b), = layers(c, 20)
        h = (mix[:3, None].double()*torch.stack(xs).double()).sum(0) + mix[3].double()
        for before in (True, False):
            wanted = torch.nn.functional.linear(h.relu() if before else h, w.double(), b.double())
            assert (perceptron(xs, [pack(w, b)], [20], before, mix=mix) - wanted).abs().max() < 1e-4
            askew = lambda t: t.mT.contiguous().mT
            assert torch.equal(perceptron([*map(askew, xs)], [askew(pack(w, b))], [20], before, mix=askew(mix)), perceptron(xs, [pack(w, b)], [20], before, mix=mix))

@pytest.mark.skipif(not COMPILER, reason='no C compiler')
def test_a_row_that_is_not_finite_stays_in_sight():
    ws, x = layers(20, 30, 10), torch.randn(100, 20, generator=stream('rows'))
    for wrong in (torch.nan, torch.inf):
        y = perceptron([x.index_fill(0, torch.tensor(50), wrong)], [pack(*o) for o in ws], [30, 10], True)
        assert y.isfinite().all(1).nonzero()[:, 0].tolist() == [i for i in range(100) if i != 50]

@pytest.mark.skipif(not COMPILER, reason='no C compiler')
def test_refuses_layers_that_do_not_fit():
    (a, b), x = layers(20, 40, 10), torch.randn(9, 20, generator=stream('rows'))
    packed, mix = [pack(*a), pack(*b)], torch.ones(2, 20)
    good = dict(xs=[x], layers=packed, outputs=[40, 10], before=True, mix=mix)
    perceptron(**good)
    for wrong in (dict(xs=[x.double()]), dict(xs=[x[:, :19]]), dict(xs=[x[None]]), dict(xs=[x, x]), dict(xs=[x, x[:8]], mix=torch.ones(3, 20)), dict(xs=[x, x], mix=None), dict(layers=packed[::-1]),
                  dict(layers=packed[:1]), dict(outputs=[40, 17]), dict(outputs=[40]), dict(layers=[packed[0], packed[1].double()]), dict(mix=mix[:, :19]), dict(mix=mix.double())):
        with pytest.raises(RuntimeError, match='perceptron: wanted rows, packed layers'): perceptron(**good | wrong)

def test_without_a_compiler_torch_multiplies(monkeypatch):
    monkeypatch.setattr(kernels, 'compiled', lambda part: None)
    for name, value in dict(PIXELS=False, LINEAR_IN_C=True, MUCH=1, WORTH=1).items(): monkeypatch.setattr(kernels, name, value)
    (w, b), = layers(20, 40)
    x = torch.randn(9, 20, generator=stream('rows'))
    assert torch.equal(linear(x, w, b), torch.nn.functional.linear(x, w, b))

@pytest.mark.skipif(not COMPILER, reason='no C compiler')
def test_what_fits_in_no_cache_is_left_to_torch(monkeypatch):
    monkeypatch.setattr(kernels, 'LINEAR_IN_C', True)
    assert [packs(torch.empty(*shape, dtype=dtype)) for shape, dtype in (((512, 512), torch.float32), ((1024, 1024), torch.float32), ((64, 64), torch.float64), ((64, 64), torch.bfloat16))] == [True, False, False, False]
