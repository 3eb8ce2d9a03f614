"""Random networks against an oracle of its own: every group that `find_symmetries` returns must preserve the function.

A program is a list of `[id, op, ids of the operands, arguments]`; it prints, reads back as JSON and replays:
`python tests/fuzz.py --cases 500 --seed 0 --jobs 2 --shrink --out failing.jsonl`, then `--replay failing.jsonl`."""
import argparse, copy, json, os, random, re, signal, sys, time, traceback, warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from multiprocessing import get_context
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from landscape_nb.search.group import state_of
from landscape_nb.symmetries import UnsupportedModelError, find_symmetries

KINDS = ('permute', 'scale', 'sign')    # what must preserve the logits themselves
WIDTHS = (2, 3, 4, 4, 4, 6, 6, 8, 8, 12)
BATCH, CLASSES = 2, 3

class Invalid(ValueError):
    "A program that does not run, or whose output does not depend on its input."

# operations

@dataclass(frozen=True)
class Op:
    "What runs (`run(at, *tensors, **args)`), which ranks each operand may have, and how arguments are drawn."
    run: object
    ranks: tuple        # per operand the allowed ranks as digits, or 'same': the shape of the first
    args: object        # (rng, *shapes) -> dict, None where the operation does not apply
    weight: float

OPS = {}
def op(*ranks, args=lambda r, *s: {}, weight=1.):
    "Register an operation of the grammar under the name of the function."
    def register(f): OPS[f.__name__] = Op(f, ranks, args, weight); return f
    return register

class Bare(nn.Module):
    "One parameter without a layer."
    def __init__(self, *shape): super().__init__(); self.value = nn.Parameter(torch.zeros(shape))

class Still(nn.Module):
    "One buffer without a layer."
    def __init__(self, value): super().__init__(); self.register_buffer('value', value)

def width(r, s=()): return s[channel(s)] if s and flag(r, .4) else r.choice(WIDTHS)     # often as wide as the operand
def flag(r, p=.5): return r.random() < p
def channel(s): return 1 if len(s) == 4 else len(s)-1
def axis(r, s): return channel(s) if flag(r, .7) else r.randrange(1, len(s))
def divisor(r, n, *of): return next((d for d in r.sample(of, len(of)) if n % d == 0), None)
def facing(v, x, a): return v.view([-1 if d == a else 1 for d in range(x.dim())])

def moved_to_last(f, x, a):
    "`f` on the last axis, applied along axis `a`."
    return f(x) if a in (-1, x.dim()-1) else f(x.transpose(a, -1)).transpose(a, -1)

@op('4', args=lambda r, s: dict(out=width(r, s), k=r.choice((1, 1, 3)), stride=r.choice((1, 1, 1, 2)), bias=flag(r, .7), mode=r.choice(('zeros', 'zeros', 'reflect', 'circular'))), weight=12)
def conv(at, x, out, k, stride, bias, mode): return at('', lambda: nn.Conv2d(x.shape[1], out, k, stride, k//2, bias=bias, padding_mode=mode if k > 1 else 'zeros'))(x)

def _groups(r, s):
    g = divisor(r, s[1], 2, 3, 4)
    return g and dict(groups=g, each=r.choice((1, 2, 2, 3)), k=r.choice((1, 3)), bias=flag(r))

@op('4', args=_groups, weight=3)
def grouped_conv(at, x, groups, each, k, bias): return at('', lambda: nn.Conv2d(x.shape[1], groups*each, k, padding=k//2, groups=groups, bias=bias))(x)

@op('4', args=lambda r, s: dict(times=r.choice((1, 1, 2)), k=r.choice((1, 3)), bias=flag(r)), weight=3)
def depthwise(at, x, times, k, bias): return at('', lambda: nn.Conv2d(x.shape[1], times*x.shape[1], k, padding=k//2, groups=x.shape[1], bias=bias))(x)

@op('4', args=lambda r, s: dict(out=2*(width(r, s)//2) or 2, k=r.choice((1, 2, 3)), groups=divisor(r, s[1], 1, 1, 2), bias=flag(r)), weight=2)
def conv_transpose(at, x, out, k, groups, bias): return at('', lambda: nn.ConvTranspose2d(x.shape[1], out, k, 2 if k == 2 else 1, 1 if k == 3 else 0, groups=groups or 1, bias=bias))(x)

@op('4', args=lambda r, s: dict(out=width(r, s), k=s[2]//2) if s[2] == s[3] and s[2] % 2 == 0 else None)
def patches(at, x, out, k): return at('', lambda: nn.Conv2d(x.shape[1], out, k, k))(x).flatten(2).transpose(1, 2)

@op('3', args=lambda r, s: dict(out=width(r, s), k=r.choice((1, 3)), groups=divisor(r, s[1], 1, 1, 2, 3)))
def conv1d(at, x, out, k, groups): return at('', lambda: nn.Conv1d(x.shape[1], out, k, padding=k//2, groups=groups or 1))(x)

@op('234', args=lambda r, s: dict(out=width(r, s), bias=flag(r, .7)) if len(s) < 4 or flag(r, .1) else None, weight=12)
def linear(at, x, out, bias): return at('', lambda: nn.Linear(x.shape[-1], out, bias=bias))(x)

@op('34', args=lambda r, s: dict(a=1, out=r.choice((2, 3, 4, s[1]))), weight=2)
def mixer(at, x, a, out): return moved_to_last(at('', lambda: nn.Linear(x.shape[a], out)), x, a)

@op('34', args=lambda r, s: dict(out=width(r, s), einsum=flag(r)), weight=2)
def matmul(at, x, out, einsum):
    w = at('', lambda: Bare(x.shape[channel(x.shape)], out)).value
    if x.dim() == 4: return torch.einsum('bchw,cd->bdhw', x, w) if einsum else (w.t() @ x.flatten(2)).unflatten(2, x.shape[2:])
    return torch.einsum('bnd,de->bne', x, w) if einsum else x @ w

def _tie(r, s): return dict(mode=r.choice(('share', 'transpose', 'call')), bias=flag(r))
@op('24', '3', args=lambda r, *s: None)
def tied(at, x, of, mode, bias):
    "A contraction with the weight of another layer, as one module parameter or by a call; transposed where asked for."
    layer, c = at.other(of), x.shape[channel(x.shape)]
    w = layer.weight.flatten(1).t() if mode == 'transpose' else layer.weight
    if mode == 'share':
        def twin():
            new = copy.deepcopy(layer); new.weight = layer.weight
            if not bias: new.bias = None
            return new
        return at('', twin)(x)
    b = at('bias', lambda: Bare(w.shape[0])).value if bias else None
    if x.dim() == 4: return F.conv2d(x, w.reshape(*w.shape[:2], 1, 1) if w.dim() < 4 else w, b)
    return F.linear(x, w.flatten(1), b)

@op('234', args=lambda r, s: dict(affine=flag(r, .75), running=flag(r, .95)), weight=6)
def batch_norm(at, x, affine, running): return at('', lambda: (nn.BatchNorm2d if x.dim() == 4 else nn.BatchNorm1d)(x.shape[1], affine=affine, track_running_stats=running or x.dim() == 2))(x)

@op('234', args=lambda r, s: dict(groups=divisor(r, s[1], 1, 2, 3, s[1]), affine=flag(r, .75)), weight=3)
def group_norm(at, x, groups, affine): return at('', lambda: nn.GroupNorm(groups or 1, x.shape[1], affine=affine))(x)

@op('34', args=lambda r, s: dict(affine=flag(r)))
def instance_norm(at, x, affine): return at('', lambda: (nn.InstanceNorm2d if x.dim() == 4 else nn.InstanceNorm1d)(x.shape[1], affine=affine))(x)

@op('234', args=lambda r, s: dict(whole=flag(r, .25), affine=flag(r, .75)), weight=4)
def layer_norm(at, x, whole, affine):
    if whole: return at('', lambda: nn.LayerNorm(list(x.shape[1:]), elementwise_affine=affine))(x)
    return moved_to_last(at('', lambda: nn.LayerNorm(x.shape[channel(x.shape)], elementwise_affine=affine)), x, channel(x.shape))

@op('234', args=lambda r, s: dict(a=axis(r, s), one_plus=flag(r, .3), module=flag(r, .3)), weight=2)
def rms_norm(at, x, a, one_plus, module):
    if module: return moved_to_last(at('', lambda: nn.RMSNorm(x.shape[a], eps=1e-5)), x, a)
    w = at('', lambda: Bare(x.shape[a])).value
    return x * torch.rsqrt(x.pow(2).mean(a, keepdim=True) + 1e-5) * facing(1+w if one_plus else w, x, a)

@op('234', args=lambda r, s: dict(a=axis(r, s), how=r.choice(('norm', 'normalize', 'abs', 'std', 'amax'))), weight=1.5)
def by_norm(at, x, a, how):
    if how == 'norm': return x / (x.norm(dim=a, keepdim=True) + 1e-3)
    if how == 'normalize': return F.normalize(x, dim=a)
    if how == 'abs': return x / (x.abs().sum(a, keepdim=True) + 1.)
    if how == 'std': return (x-x.mean(a, keepdim=True)) / (x.var(a, keepdim=True, unbiased=False)+1e-3).sqrt()
    return x / (x.abs().amax(a, keepdim=True) + .1)

ACTS = dict(relu=F.relu, leaky_relu=lambda x: F.leaky_relu(x, .1), gelu=F.gelu, silu=F.silu, tanh=torch.tanh, sigmoid=torch.sigmoid, hardtanh=F.hardtanh, uneven=lambda x: F.hardtanh(x, -1., 2.),
            relu6=F.relu6, softplus=F.softplus, abs=torch.abs, square=torch.square, power=lambda x: x**2, cube=lambda x: x*x*x, identity=nn.Identity(), dropout=nn.Dropout(.5).eval(), clamp=lambda x: x.clamp(min=0),
            elu=F.elu, hardswish=F.hardswish, sin=torch.sin, erf=torch.erf, softsign=F.softsign, negative=lambda x: -x, half=lambda x: .5*x, plus=lambda x: x+.5, one_minus=lambda x: 1-x, threshold=lambda x: x*(x > 0),
            where=lambda x: torch.where(x > 0, x, .2*x), crelu=lambda x: torch.cat([F.relu(x), F.relu(-x)], 1))

@op('234', args=lambda r, s: dict(f=r.choice((*['relu']*8, *['leaky_relu', 'gelu', 'tanh']*2, *ACTS))), weight=14)
def act(at, x, f): return ACTS[f](x)

@op('234', args=lambda r, s: dict(each=flag(r)), weight=2)
def prelu(at, x, each): return at('', lambda: nn.PReLU(x.shape[1] if each else 1))(x)

@op('234', args=lambda r, s: dict(f=r.choice(('relu_', 'relu_', 'tanh_', 'abs_', 'mul_'))), weight=3)
def in_place(at, x, f): return x.mul_(2.) if f == 'mul_' else getattr(x, f)()

@op('234', 'same', args=lambda r, *s: dict(f=r.choice(('add_', 'mul_'))), weight=1.5)
def in_place_pair(at, x, y, f): return getattr(x, f)(y)

@op('234', args=lambda r, s: dict(a=axis(r, s)), weight=1)
def softmax_gate(at, x, a): return x * torch.softmax(x, a)

@op('234', 'same', args=lambda r, *s: dict(f=r.choice(('softmax', 'sigmoid', 'tanh', 'relu')), a=axis(r, s[0])), weight=2)
def gate(at, x, y, f, a): return x * (torch.softmax(y, a) if f == 'softmax' else getattr(torch, f)(y))

PAIRS = dict(add=torch.add, mul=torch.mul, maximum=torch.maximum, minimum=torch.minimum, sub=torch.sub, axpy=lambda x, y: torch.add(x, y, alpha=.5), mean=lambda x, y: torch.stack([x, y]).mean(0), most=lambda x, y: torch.stack([x, y], 1).amax(1))
@op('234', 'same', args=lambda r, *s: dict(f=r.choice(('add', 'add', 'add', 'mul', *PAIRS))), weight=12)
def pair(at, x, y, f): return PAIRS[f](x, y)

@op('234', 'same', args=lambda r, *s: dict(a=axis(r, s[0])), weight=4)
def cat(at, x, y, a): return torch.cat([x, y], a)

@op('234', 'same', args=lambda r, *s: dict(a=axis(r, s[0])))
def interleave(at, x, y, a): return torch.stack([x, y], a+1).flatten(a, a+1)

@op('34', '2', args=lambda r, *s: dict(f=r.choice(('add', 'mul', 'film')), direct=s[1][1] == s[0][channel(s[0])] and flag(r, .7)), weight=4)
def inject(at, x, v, f, direct):
    c = channel(x.shape)
    if not direct: v = at('', lambda: nn.Linear(v.shape[1], x.shape[c]))(v)
    v = v.view(len(v), *[-1 if d == c else 1 for d in range(1, x.dim())])
    return x+v if f == 'add' else x*v if f == 'mul' else x*(1+v)+v

@op('34', args=lambda r, s: dict(hidden=width(r), f=r.choice(('sigmoid', 'sigmoid', 'softmax', 'hard')), convs=flag(r)), weight=3)
def squeeze_excite(at, x, hidden, f, convs):
    c = x.shape[channel(x.shape)]
    if x.dim() == 4 and convs: y = at('rise', lambda: nn.Conv2d(hidden, c, 1))(F.relu(at('', lambda: nn.Conv2d(c, hidden, 1))(F.adaptive_avg_pool2d(x, 1))))
    else:
        y = at('rise', lambda: nn.Linear(hidden, c))(F.relu(at('', lambda: nn.Linear(c, hidden))(x.mean((2, 3) if x.dim() == 4 else 1))))
        y = y[:, :, None, None] if x.dim() == 4 else y[:, None]
    return x * (torch.sigmoid(y) if f == 'sigmoid' else torch.softmax(y, channel(x.shape)) if f == 'softmax' else F.hardsigmoid(y))

@op('234', args=lambda r, s: dict(a=axis(r, s), f=r.choice(('mul', 'mul', 'add', 'exp', 'buffer', 'constant'))), weight=3)
def layer_scale(at, x, a, f):
    if f == 'constant': return x * facing(torch.linspace(.5, 1.5, x.shape[a], dtype=x.dtype), x, a)
    v = facing(at('', lambda: Still(torch.ones(x.shape[a])) if f == 'buffer' else Bare(x.shape[a])).value, x, a)
    return x+v if f == 'add' else x*v.exp() if f == 'exp' else x*v

@op('34', args=lambda r, s: dict(axes=sorted(r.sample(range(1, len(s)), r.randint(1, len(s)-1)))), weight=3)
def position(at, x, axes): return x + at('', lambda: Bare(1, *[n if d in axes else 1 for d, n in enumerate(x.shape) if d])).value

@op('3', args=lambda r, s: dict(first=flag(r, .8)), weight=2)
def class_token(at, x, first):
    t = at('', lambda: Bare(1, 1, x.shape[2])).value.expand(len(x), -1, -1)
    return torch.cat([t, x] if first else [x, t], 1)

def _parts(r, s):
    a = axis(r, s); n = divisor(r, s[a], 2, 3, 4)
    return n and dict(a=a, order=r.sample(range(n), n), how=r.choice(('chunk', 'split', 'slices')))

@op('234', args=_parts, weight=3)
def rejoin(at, x, a, order, how):
    n, m = len(order), x.shape[a]//len(order)
    parts = x.chunk(n, a) if how == 'chunk' else x.split(m, a) if how == 'split' else [x.narrow(a, k*m, m) for k in range(n)]
    return torch.cat([parts[k] for k in order], a)

@op('234', args=lambda r, s: (p := _parts(r, s)) and dict(a=p['a'], n=len(p['order']), k=p['order'][0]), weight=4)
def chunk(at, x, a, n, k): return x.chunk(n, a)[k]

@op('234', args=lambda r, s: dict(a=axis(r, s), f=r.choice(('sigmoid', 'tanh', 'relu', 'identity'))), weight=2)
def glu(at, x, a, f):
    y, z = x.chunk(2, a)
    return y * ACTS[f](z)

def _cut(r, s):
    a = axis(r, s)
    if s[a] < 3: return None
    start = r.randrange(2)
    return dict(a=a, start=start, stop=r.randint(start+2, s[a]), step=r.choice((1, 1, 2)))

@op('234', args=_cut, weight=3)
def cut(at, x, a, start, stop, step): return x[(slice(None),)*a + (slice(start, stop, step),)]

@op('234', args=lambda r, s: (a := axis(r, s)) and dict(a=a, index=[r.randrange(s[a]) for _ in range(s[a])] if flag(r) else r.sample(range(s[a]), s[a])))
def gather(at, x, a, index): return x[(slice(None),)*a + (index,)]

@op('34', args=lambda r, s: (g := divisor(r, s[channel(s)], 2, 3, 4)) and dict(groups=g), weight=2)
def shuffle(at, x, groups):
    a = channel(x.shape)
    return x.unflatten(a, (groups, -1)).transpose(a, a+1).flatten(a, a+1)

@op('234', args=lambda r, s: dict(a=axis(r, s), f=r.choice(('flip', 'flip', 'roll'))), weight=2)
def flip(at, x, a, f): return x.flip(a) if f == 'flip' else x.roll(1, a)

def _heads(r, s):
    h = divisor(r, s[2], 2, 2, 3, 4, 1)
    return dict(heads=h, kind=r.choice(('fused', 'last', 'separate', 'multi', 'module')), relative=flag(r, .3), hand=flag(r), project=flag(r, .7), norm=flag(r, .2), bias=flag(r))

@op('3', args=_heads, weight=8)
def attention(at, x, heads, kind, relative, hand, project, norm, bias):
    "Self-attention by its usual spellings: one qkv (three behind or before the heads), three layers, one key head, the module."
    B, N, D = x.shape; d = D//heads
    if kind == 'module': return at('', lambda: nn.MultiheadAttention(D, heads, bias=bias, batch_first=True))(x, x, x, need_weights=False)[0]
    line = lambda name, out: at(name, lambda: nn.Linear(D, out, bias=bias))(x)
    split = lambda y: y.view(B, N, -1, d).transpose(1, 2)
    if kind == 'fused': q, k, v = line('qkv', 3*D).view(B, N, 3, heads, d).permute(2, 0, 3, 1, 4).unbind(0)
    elif kind == 'last': q, k, v = line('qkv', 3*D).view(B, N, heads, 3*d).transpose(1, 2).chunk(3, -1)
    else: q, k, v = [split(line(n, D if n == 'q' or kind == 'separate' else d)).expand(-1, heads, -1, -1) for n in 'qkv']
    if norm: q, k = at('q_norm', lambda: nn.LayerNorm(d))(q), at('k_norm', lambda: nn.LayerNorm(d))(k)
    table = None
    if relative:
        index = at('index', lambda: Still(torch.arange(N)[:, None]-torch.arange(N)+N-1)).value
        table = at('table', lambda: Bare(2*N-1, heads)).value[index.flatten()].view(N, N, heads).permute(2, 0, 1)
    if hand: y = torch.softmax(q @ k.transpose(-2, -1) * d**-.5 + (0 if table is None else table), -1) @ v
    else: y = F.scaled_dot_product_attention(q, k, v, attn_mask=None if table is None else table.unsqueeze(0))
    y = y.transpose(1, 2).reshape(B, N, D)
    return at('out', lambda: nn.Linear(D, D))(y) if project else y

@op('3', 'same', args=lambda r, *s: dict(scale=flag(r)), weight=1.5)
def gram(at, x, y, scale): return x @ y.transpose(1, 2) * (x.shape[2]**-.5 if scale else 1.)

@op('4', args=lambda r, s: dict(f=r.choice(('max', 'avg', 'same', 'adaptive')), k=2) if min(s[2:]) > 1 else None, weight=3)
def pool(at, x, f, k): return F.max_pool2d(x, 2) if f == 'max' else F.avg_pool2d(x, 2) if f == 'avg' else F.max_pool2d(x, 3, 1, 1) if f == 'same' else F.adaptive_avg_pool2d(x, k)

@op('4', args=lambda r, s: dict(f=r.choice(('mean', 'amax', 'sum', 'adaptive'))), weight=3)
def globally(at, x, f): return F.adaptive_avg_pool2d(x, 1).flatten(1) if f == 'adaptive' else getattr(x, f)((2, 3))

@op('34', args=lambda r, s: dict(a=r.randrange(1, len(s)), f=r.choice(('mean', 'amax', 'sum', 'logsumexp')), keep=flag(r, .3)), weight=3)
def reduce(at, x, a, f, keep): return getattr(x, f)(a, keepdim=keep)

@op('34', args=lambda r, s: dict(f=r.choice(('zero', 'reflect', 'channels', 'front', 'one'))), weight=2)
def pad(at, x, f):
    if f == 'channels': return F.pad(x, (*[0, 0]*(1 if x.dim() == 3 else 2), 1, 1))
    return F.pad(x, {'front': (1, 0), 'one': (0, 1)}.get(f, (1, 1)), mode='reflect' if f == 'reflect' else 'constant', value=0. if f != 'one' else 1.) if x.dim() == 3 or f != 'reflect' else F.pad(x, (1, 1, 1, 1), mode=f)

@op('4', args=lambda r, s: dict(up=s[1] % 4 == 0 and flag(r)) if s[1] % 4 == 0 or s[2] % 2 == s[3] % 2 == 0 and s[1] < 4 else None, weight=2)
def pixel_shuffle(at, x, up): return F.pixel_shuffle(x, 2) if up else F.pixel_unshuffle(x, 2)

@op('4', args=lambda r, s: dict(mode=r.choice(('nearest', 'bilinear'))) if max(s[2:]) < 5 else None)
def upsample(at, x, mode): return F.interpolate(x, scale_factor=2, mode=mode)

@op('34', args=lambda r, s: dict(how=r.randrange(3)), weight=2)
def round_trip(at, x, how):
    a, s = channel(x.shape), x.shape
    if how == 0: return x.transpose(1, -1).contiguous().transpose(1, -1)
    if how == 1: return x.flatten(2).transpose(1, 2).reshape(-1, s[1]).view(s[0], -1, s[1]).transpose(1, 2).reshape(s)
    return x.unflatten(a, (2, -1)).flatten(a, a+1)

@op('4', weight=2)
def to_tokens(at, x): return x.flatten(2).transpose(1, 2)

@op('3', args=lambda r, s: dict(h=divisor(r, s[1], 2, 3, 1)), weight=2)
def to_image(at, x, h): return x.transpose(1, 2).unflatten(2, (h, -1))

@op('3', weight=1)
def transpose(at, x): return x.transpose(1, 2)

@op('3', args=lambda r, s: (h := divisor(r, s[2], 2, 3)) and dict(h=h, far=flag(r)))
def regroup(at, x, h, far): return x.unflatten(2, (h, -1)).transpose(1, 2).flatten(1, 2) if far else x.reshape(len(x), x.shape[1]*h, -1)

@op('34', weight=2)
def flatten(at, x): return x.flatten(1)

@op('2', args=lambda r, s: (h := divisor(r, s[1], 2, 3, 4)) and dict(h=h), weight=2)
def unflatten(at, x, h): return x.view(len(x), h, -1)

@op('4', args=lambda r, *s: None)
def reuse(at, x, of):
    "An earlier layer again; see `Network.run`."

@op('2', args=lambda r, *s: None)
def join(at, *vs): return torch.cat(vs, 1)

@op('2', args=lambda r, *s: None)
def head(at, v): return at('', lambda: nn.Linear(v.shape[1], CLASSES))(v)

ONCE = ('input', 'reuse', 'tied', 'join', 'head')       # not drawn by weight

# network

def normal(shape, gen): return torch.randn(shape, generator=gen, dtype=torch.float64)

def random_tensor(v, parameter, gen):
    "New random values for a tensor of the state, float64; integers stay."
    if not v.is_floating_point(): return v
    if not parameter: return .5 + torch.rand(v.shape, generator=gen, dtype=torch.float64)
    long = [s for s in v.shape if s > 1]
    return normal(v.shape, gen) * (2/(v.numel()//long[0]))**.5 if len(long) > 1 else normal(v.shape, gen)

@dataclass(frozen=True)
class Site:
    "Where an operation keeps its layers."
    net: nn.Module
    key: str
    def __call__(self, name, make): return self.net.layer(f'{self.key}_{name}' if name else self.key, make)
    def other(self, k): return self.net.layer(f'{self.net.names[k][0]}{k}', None)

class Network(nn.Module):
    "Interprets a program; layers are made on the first run, as wide as the tensors they meet."
    def __init__(self, program, seed=0):
        super().__init__()
        self.program, self.names = [list(o) for o in program], {o[0]: (o[1], o[3]) for o in program}
        self.layers, self.gen = nn.ModuleDict(), torch.Generator().manual_seed(seed)
        try: self.pool = self.run(self.example(seed))
        except Invalid: raise
        except Exception as e: raise Invalid(f'{type(e).__name__}: {e}') from e
        self.gen = None
        self.pool = {k: v.detach().clone() for k, v in self.pool.items()}
        if not torch.equal(self.pool[program[0][0]], self.example(seed)): raise Invalid('changes its input in place')

    def example(self, seed=0, batch=BATCH): return torch.randn(batch, *self.program[0][3]['shape'], generator=torch.Generator().manual_seed(seed))

    def layer(self, key, make):
        "The layer of that name; made with random values while the network is built."
        if key not in self.layers:
            if self.gen is None or make is None: raise Invalid(f'no layer {key}')
            old, new = {id(p) for p in self.parameters()}, make().eval()
            with torch.no_grad():
                for p in new.parameters():
                    if id(p) not in old: p.copy_(random_tensor(p, True, self.gen))
            self.layers[key] = new
        return self.layers[key]

    def run(self, x):
        "All tensors of the program, by id."
        pool = {self.program[0][0]: x}
        for k, name, ids, args in self.program[1:]:
            at = Site(self, f'{name}{k}')
            if name == 'reuse':
                name, args = self.names[old := args['of']]
                at = Site(self, f'{name}{old}')
            pool[k] = OPS[name].run(at, *[pool[i] for i in ids], **args)
        return pool

    def forward(self, x): return self.run(x)[self.program[-1][0]]

# programs

def fits(y):
    "Is a new tensor of a wanted size, of a sane magnitude, and different for different inputs?"
    s, limits = y.shape[1:], {1: (72,), 2: (16, 16), 3: (12, 8, 8)}
    if len(s) not in limits or any(n > m for n, m in zip(s, limits[len(s)])) or y.numel() < 2*BATCH: return False
    top, apart = y.abs().max(), (y[0]-y[1]).abs().max()
    return bool(y.isfinite().all() and 1e-2 < top < 1e3 and apart > 1e-2*top)

def choose(rng, pool, uses, ok):
    "A live tensor, rather a recent and unused one; None where no one is ok."
    ids = [k for k in pool if uses[k] < 3 and ok(pool[k])]
    return rng.choices(ids, [(4 if not uses[k] else 1)*(1+i) for i, k in enumerate(ids)])[0] if ids else None

def taste(rng):
    "Name -> weight for one program: a part of the grammar, so that some programs are mostly symmetric and some mostly odd."
    plain = flag(rng, .4)
    return {n: w*rng.choice((0, 0, .3, 1) if plain and n not in PLAIN else (0, 1, 1, 3) if n not in LINEAR else (1, 1, 2))
            for n, w in [*((n, o.weight) for n, o in OPS.items() if n not in ONCE), ('reuse', 5), ('tied', 4)]}

def propose(rng, program, pool, weights):
    "One more operation of the grammar on live tensors, or None."
    uses = Counter(i for o in program for i in o[2])
    made = [o for o in program if len(o[2]) == 1 and o[1] not in ('reuse', 'tied')]
    name = rng.choices([*weights], [*weights.values()])[0]
    k = 1+max(pool)
    if name in ('reuse', 'tied'):
        made = [o for o in made if o[1] in (LINEAR if name == 'tied' else LAYERS)]
        if not made: return None
        old = rng.choice(made)
        args = dict(of=old[0]) | (_tie(rng, None) if name == 'tied' else {})
        seen = pool[old[0] if args.get('mode') == 'transpose' else old[2][0]]
        a = channel(seen.shape)
        x = choose(rng, pool, uses, lambda y: y.dim() == seen.dim() and y.shape[a] == seen.shape[a])
        return None if x is None else [k, name, [x], args]
    o, ids = OPS[name], []
    for want in o.ranks:
        if want == 'same' and flag(rng, .1): ids.append(ids[0]); continue
        x = choose(rng, pool, uses, lambda y: y.shape == pool[ids[0]].shape and flag(rng, .9) if want == 'same' else str(y.dim()) in want)
        if x is None: return None
        ids.append(x)
    if len(ids) == 2 and ids[0] == ids[1] and flag(rng, .6): return None
    args = o.args(rng, *[tuple(pool[i].shape) for i in ids])
    return args and [k, name, ids, args] if args != {} else [k, name, ids, {}]

LINEAR = ('conv', 'linear')
PLAIN = (*LINEAR, 'act', 'batch_norm', 'layer_norm', 'group_norm', 'pair', 'cat', 'chunk', 'depthwise', 'grouped_conv', 'attention', 'pool', 'squeeze_excite', 'position', 'reuse', 'tied', 'shuffle', 'in_place', 'globally')
LAYERS = (*LINEAR, 'grouped_conv', 'depthwise', 'mixer', 'matmul', 'batch_norm', 'group_norm', 'layer_norm', 'rms_norm', 'prelu', 'attention', 'squeeze_excite', 'layer_scale', 'position')

def extended(program, *new):
    "The program with more operations and its tensors; None where it does not run or the last tensor does not fit."
    try: pool = Network(program := [*program, *new]).pool
    except Invalid: return None
    return (program, pool) if fits(pool[program[-1][0]]) else None

def start(rng):
    "The input of a program."
    kind, side = rng.random(), rng.choice((2, 4, 4, 6, 8))
    shape = [rng.choice((1, 3, 3, 4)), side, side] if kind < .55 else [rng.choice((2, 3, 4, 6)), width(rng)] if kind < .9 else [width(rng)]
    return [[0, 'input', [], dict(shape=shape)]]

def ending(rng, program, pool):
    "Reduces what nobody uses to vectors, and adds the head."
    used = {i for o in program for i in o[2]}
    ends = [k for k in pool if k not in used]
    ends = [k for k in ends if k == ends[-1] or flag(rng, .9)]
    vectors, k = [], max(pool)
    for e in ends:
        x = pool[e]
        if x.dim() > 2:
            k += 1
            short = x[0].numel() <= 36 and flag(rng, .4)
            f = rng.choice(('mean', 'amax'))
            new = [k, 'flatten', [e], {}] if short else [k, 'globally', [e], dict(f=f)] if x.dim() == 4 else [k, 'reduce', [e], dict(a=1, f=f, keep=False)]
            if not (got := extended(program, new)): continue
            (program, pool), e = got, k
        vectors.append(e)
    if not vectors: return None
    k = max(pool)
    if len(vectors) > 1: program, vectors, k = [*program, [k+1, 'join', vectors, {}]], [k+1], k+1
    got = extended(program, [k+1, 'head', vectors, {}])
    return got and got[0]

def random_program(rng, length=None):
    "A random program of `length` operations (4 to 14) between the input and the head."
    while True:
        n, program, weights = length or rng.randint(4, 14), start(rng), taste(rng)
        pool = Network(program).pool
        for _ in range(12*n):
            if len(program) > n: break
            new = propose(rng, program, pool, weights)
            if new and (got := extended(program, new)): program, pool = got
        if len(program) <= min(n, 4) or not any(o[1] in LAYERS for o in program): continue
        if done := ending(rng, program, pool): return done

# oracle

def change(y, z): return ((y-z).abs().max() / y.abs().max()).item() if z.isfinite().all() else float('inf')

class Oracle:
    "A network in float64 on a random state and inputs of its own."
    def __init__(self, net, seed):
        self.net, self.gen = copy.deepcopy(net).double().eval(), (gen := torch.Generator().manual_seed(seed+1))
        self.x, names = net.example(seed+2, BATCH+1).double(), dict(net.named_parameters())
        for _ in range(5):
            self.state = {k: random_tensor(v, k in names, gen) for k, v in state_of(self.net).items()}
            self.y = self.logits(self.state)
            if self.y.isfinite().all() and self.y.abs().max() > 0: break
        else: raise Invalid('the logits of five random states are not finite, or all zero')
        self.limit = max(1e-9, 1000*self.noise(self.state))

    def logits(self, state):
        with torch.no_grad(): return functional_call(self.net, state, (self.x.clone(),)).clone()

    def noise(self, state):
        "Relative change of the logits under rounding."
        shaken = {k: v*(1+1e-16*normal(v.shape, self.gen)) if v.is_floating_point() else v for k, v in state.items()}
        return change(self.logits(state), self.logits(shaken))

    def moves(self, g):
        "Relative change of the logits under an element; a small one that rounding explains where the element arrives is none."
        moved = g(dict(self.state))
        if {k: v.shape for k, v in moved.items()} != {k: v.shape for k, v in self.state.items()}: return float('inf')
        c = change(self.y, self.logits(moved))
        return 0. if self.limit < c < 1e-6 and c < 1000*self.noise(moved) else c

    def culprit(self, sym, gen):
        "The blocks and families that change the logits on their own."
        none = replace(sym, blocks=(), families=())
        parts = [replace(none, blocks=(b,)) for b in sym.blocks] + [replace(none, families=(f,)) for f in sym.families if f.kind in KINDS]
        bad = [(*p.blocks, *p.families)[0] for p in parts if max(self.moves(p.sample(generator=gen, kinds=KINDS)) for _ in range(2)) > self.limit]
        return '; '.join(f'{getattr(b, "kind", "permute")} of {b.n} on {", ".join(map(str, b.wires))}' for b in bad)

def first_line(e): return f'{type(e).__name__}: {(str(e).strip().splitlines() or [""])[0]}'[:300]

def place(e):
    "The last lines of code of an exception."
    return ' < '.join(f'{os.path.basename(f.filename)}:{f.lineno} {f.name}' for f in traceback.extract_tb(e.__traceback__)[:-4:-1])

def check(program, seed=0):
    "Verdict on one program: 'verified', 'refused', 'wrong' (with `why`), 'crash', or 'invalid' where the program itself does not run."
    row, begun = dict(seed=seed), time.perf_counter()
    def end(verdict, why='', **more): return row | dict(verdict=verdict, why=why, **more, seconds=round(time.perf_counter()-begun, 2))
    try: net = Network(program, seed).eval(); oracle = Oracle(net, seed); before = state_of(net)
    except Invalid as e: return end('invalid', str(e))
    try: sym = find_symmetries(net, net.example(seed))
    except UnsupportedModelError as e: return end('refused', first_line(e))
    except Exception as e: return end('crash', f'{first_line(e)}  at {place(e)}')
    row |= dict(coverage=sym.coverage, blocks=len(sym.blocks), families=len(sym.families), frozen=[str(f.what) for f in sym.frozen])
    if net.training or any(not torch.equal(v, before[k]) for k, v in state_of(net).items()): return end('wrong', 'find_symmetries changed the network')
    if not 0 <= sym.coverage <= 1: return end('wrong', f'coverage {sym.coverage}')
    gen = torch.Generator().manual_seed(seed+3)
    try:
        for kinds in (KINDS, *[(k,) for k in KINDS]):
            if (c := max(oracle.moves(sym.sample(generator=gen, kinds=kinds)) for _ in range(2))) > oracle.limit:
                return end('wrong', f'{"+".join(kinds)} changes the logits by {c:.1e} (allowed {oracle.limit:.1e}): {oracle.culprit(sym, gen) or "only in company"}')
    except Exception as e: return end('crash', f'{first_line(e)}  at {place(e)}')
    return end('verified')

def bad(row): return row['verdict'] in ('wrong', 'crash')

def shrink(program, seed=0, test=check, seconds=120):
    "A shorter program that still fails in the same way: operations are removed, their users get one of their operands."
    kind = lambda row: (row['verdict'], row['why'].split(':')[0] if row['verdict'] == 'crash' else '')
    want, until = kind(test(program, seed)), time.monotonic()+seconds
    def without(k):
        "Programs without operation `k`."
        _, _, ids, _ = program[k]
        gone = program[k][0]
        for i in dict.fromkeys(ids):
            yield [[o[0], o[1], [i if j == gone else j for j in o[2]], o[3]] for o in program if o[0] != gone]
        if any(o[1] == 'join' and gone in o[2] and len(o[2]) > 1 for o in program): yield [[o[0], o[1], [j for j in o[2] if j != gone], o[3]] for o in program if o[0] != gone]
    def once():
        for k in range(len(program)-2, 0, -1):
            for p in without(k):
                if time.monotonic() > until: return None
                p = trimmed(p)
                if kind(test(p, seed)) == want: return p
    while shorter := once(): program = shorter
    return program

def trimmed(program):
    "Without what does not reach the logits by reading; operations in place stay, others may read what they change."
    need = {program[-1][0]}
    for k, name, ids, args in reversed(program):
        if k in need or name.startswith('in_place'): need |= {k, *ids, *([args['of']] if 'of' in args else [])}
    return [o for o in program if o[0] in need or o is program[0]]

def show(program):
    "One operation a line."
    return '\n'.join(f'  {k:3d} = {name}({", ".join([*map(str, ids), *(f"{a}={v}" for a, v in args.items())])})' for k, name, ids, args in program)

# the long run

def limited(f, seconds):
    "`f` as a crash when it takes too long."
    class Late(BaseException): pass     # no handler of the package may take it for its own
    def late(*_): raise Late(f'more than {seconds} s')
    signal.signal(signal.SIGALRM, late); signal.setitimer(signal.ITIMER_REAL, seconds)
    try: return f()
    except Late as e: return dict(verdict='crash', why=first_line(e), seconds=seconds)
    finally: signal.setitimer(signal.ITIMER_REAL, 0)

def case(job):
    "One row of the long run: (seed, program or None, seconds, shrink?)."
    seed, program, seconds, shorter = job
    torch.set_num_threads(1); warnings.simplefilter('ignore')
    program = program or random_program(random.Random(seed))
    test = lambda p, s: limited(lambda: check(p, s), seconds)
    row = dict(seed=seed) | test(program, seed) | dict(program=program)
    return row | (dict(shrunk=shrink(program, seed, test)) if shorter and bad(row) else {})

def totals(rows):
    "One line on all rows so far."
    n, count = max(1, len(rows)), Counter(r['verdict'] for r in rows)
    some = [r for r in rows if 'coverage' in r]
    mean = lambda xs: sum(xs)/max(1, len(some))
    verdicts = '  '.join(f'{v} {count[v]}' for v in ('verified', 'refused', 'wrong', 'crash', *(['invalid'] if count['invalid'] else [])))
    return f'{len(rows):6d} cases  {verdicts}  coverage {mean(r["coverage"] for r in some):.3f}  frozen in {mean(bool(r["frozen"]) for r in some):.0%}  {sum(r["seconds"] for r in rows)/n:.2f} s each'

def summary(rows):
    "Totals, and what was most often frozen or refused, with the seeds of some cases."
    seeds = {}
    for r in rows:
        for what in {('frozen', re.sub(r'\d+(e[+-]?\d+)?', '#', w)) for w in r.get('frozen', ())} | ({(r['verdict'], re.sub(r'\d+(e[+-]?\d+)?', '#', r['why']))} if r['verdict'] in ('refused', 'invalid') else set()):
            seeds.setdefault(what, []).append(r['seed'])
    often = sorted(seeds.items(), key=lambda o: -len(o[1]))
    return '\n'.join(['', totals(rows), *(f'  {kind} in {len(s):5d} cases: {what}  (seeds {", ".join(map(str, s[:3]))})' for (kind, what), s in often[:50])])

def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--cases', type=int, default=200); p.add_argument('--seed', type=int, default=0, help='case i has the seed SEED*1000000+i')
    p.add_argument('--jobs', type=int, default=1); p.add_argument('--limit', type=float, default=120, help='seconds for one case')
    p.add_argument('--out', help='failing programs as JSON lines; default: printed'); p.add_argument('--replay', help='run the programs of such a file (`shrunk` where there is one)')
    p.add_argument('--case', type=int, action='append', help='run the case of this seed, and show its program and row')
    p.add_argument('--shrink', action='store_true', help='also find a shorter failing program')
    o = p.parse_args(argv)
    old = [json.loads(l) for l in open(o.replay) if l.strip()] if o.replay else []
    jobs = [(r['seed'], r.get('shrunk') or r['program'], o.limit, o.shrink) for r in old] or [(s, None, o.limit, o.shrink) for s in o.case or range(o.seed*1_000_000, o.seed*1_000_000+o.cases)]
    rows, shown, printed = [], time.monotonic(), not o.out
    with (open(o.out, 'w') if o.out else nullcontext(sys.stdout)) as out, ProcessPoolExecutor(o.jobs, get_context('spawn')) if o.jobs > 1 else nullcontext() as pool:
        for row in (pool.map if o.jobs > 1 else map)(case, jobs):
            rows.append(row)
            if o.case: print(show(row['program']), {k: v for k, v in row.items() if k not in ('program', 'shrunk')}, sep='\n')
            if bad(row):
                print(f'{row["verdict"]} at seed {row["seed"]}: {row["why"]}\n{show(row.get("shrunk") or row["program"])}', flush=True)
                print(json.dumps(row), file=out, flush=True)
            if time.monotonic()-shown > 20: print(totals(rows), flush=True); shown = time.monotonic()
    print(summary(rows), flush=True)
    return int(any(map(bad, rows)))

if __name__ == '__main__': sys.exit(main())
