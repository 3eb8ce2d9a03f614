"""Small networks in which one linear map meets another without a nonlinearity between, with the number of their continuous symmetries, derived by hand.

MIXED: name -> () -> (network, example). NULLITY: name -> dimension of all continuous symmetries at generic weights, with running statistics.
The arguments of `mixed` are the parts of the sum, each with its reason. Every size is chosen so that no weight loses rank: inputs at least as wide as the streams,
as many classes as units, two layers of attention where only one token is read.
"""
import math
from collections.abc import Callable
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from structures import Net

MIXED: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {}
NULLITY: dict[str, int] = {}

def mixed(**parts):
    "Register a builder under its name, with the parts of its dimension."
    def register(f):
        assert f.__name__ not in MIXED
        MIXED[f.__name__], NULLITY[f.__name__] = f, sum(parts.values())
        return f
    return register

def linear(n): return n*n
def rotations(n): return n*(n-1)//2
def fixing_ones(n): return (n-1)*(n-2)//2
def vector(n=5): return torch.randn(2, n)
def sequence(n=8, tokens=4): return torch.randn(2, tokens, n)
def image(channels=2, side=5): return torch.randn(2, channels, side, side)
def tokens(vocabulary, n=4): return torch.randint(vocabulary, (2, n))

def split(x, heads): return x.unflatten(-1, (heads, -1)).transpose(-2, -3)
def joined(x): return x.transpose(-2, -3).flatten(-2)

# chains

@mixed(scales=6+4)
def perceptron(): return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), vector()

@mixed(between=linear(4), value=4, scales=6)
def chain(): return nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6)), vector()

@mixed(first=linear(5), second=linear(4), values=5+4, scales=6, kernel=2)     # what the second layer does not read: 8 columns of the first, of which A holds 5 and the value one
def long_chain(): return nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6)), vector(7)

@mixed(between=linear(3), value=3)                              # the first bias may move into the last through a layer without one
def chain_without_bias(): return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 5)), vector(4)
NULLITY['chain_without_bias'] = linear(3) + linear(3) + 3

@mixed(scales=6)
def gated(): return Net(lambda s, x: s.d(F.silu(s.g(x))*s.u(x)), g=nn.Linear(5, 6), u=nn.Linear(5, 6), d=nn.Linear(6, 6)), vector()

@mixed(scales=6+6)
def bilinear(): return Net(lambda s, x: s.d(s.g(x)*s.u(x)), g=nn.Linear(5, 6), u=nn.Linear(5, 6), d=nn.Linear(6, 7)), vector()

@mixed(scales=4)
def maxout(): return Net(lambda s, x: s.c(torch.maximum(s.a(x), s.b(x))), a=nn.Linear(5, 4), b=nn.Linear(5, 4), c=nn.Linear(4, 6)), vector()
NULLITY['maxout'] = 4 + 4                                        # what is added to both passes the maximum

@mixed(none=0)
def odd(): return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), vector()

@mixed(scales=6)
def slopes(): return nn.Sequential(nn.Linear(5, 6), nn.PReLU(6), nn.Linear(6, 3)), vector()

@mixed(pair=linear(2), free=0, scales=6)
def low_rank_frozen():
    net = low_rank()[0]
    net.w.requires_grad_(False)
    return net, vector(6)

@mixed(first=2*6, second=6*2, scales=6)                         # A and B are free: W takes B A back
def low_rank():
    return Net(lambda s, x: s.h(F.relu(s.w(x) + s.b(s.a(x)))), w=nn.Linear(6, 6), a=nn.Linear(6, 2, bias=False), b=nn.Linear(2, 6, bias=False), h=nn.Linear(6, 3)), vector(6)
NULLITY['low_rank_frozen'] = linear(2)

# convolutions

@mixed(between=linear(2), scales=5)                             # the bias does not pass zero padding
def convolutions(): return Net(lambda s, x: s.h(F.relu(s.b(s.a(x))).mean((2, 3))), a=nn.Conv2d(3, 2, 3, padding=1), b=nn.Conv2d(2, 5, 3, padding=1), h=nn.Linear(5, 5)), image(3)

@mixed(between=linear(2), value=2, scales=5)
def convolution_of_one(): return Net(lambda s, x: s.h(F.relu(s.b(s.a(x))).mean((2, 3))), a=nn.Conv2d(3, 2, 3, padding=1), b=nn.Conv2d(2, 5, 1), h=nn.Linear(5, 5)), image(3)

@mixed(expand=4, depthwise=0, bottleneck=linear(3), scales=5)   # ReLU6 behind the depthwise convolution
def inverted():
    return Net(lambda s, x: s.h(F.relu(s.r(s.p(F.relu6(s.d(F.relu(s.e(x))))))).mean((2, 3))), e=nn.Conv2d(2, 4, 1, bias=False), d=nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
               p=nn.Conv2d(4, 3, 1, bias=False), r=nn.Conv2d(3, 5, 1), h=nn.Linear(5, 5)), image(2)

@mixed(rows=4+5, gains=4+5, bias=4, means=4+5, variances=4+5)
def batch_norm():
    return Net(lambda s, x: s.h(F.relu(s.m(s.b(F.relu(s.n(s.a(x)))))).mean((2, 3))), a=nn.Conv2d(2, 4, 3, padding=1), n=nn.BatchNorm2d(4),
               b=nn.Conv2d(4, 5, 3, padding=1, bias=False), m=nn.BatchNorm2d(5), h=nn.Linear(5, 5)), image(2)

@mixed(groups=2, gains=6, scales=4)                             # a constant in every group; ReLU behind gain and shift
def group_norm():
    return Net(lambda s, x: s.h(F.relu(s.b(F.relu(s.n(s.a(x))))).mean((2, 3))), a=nn.Conv2d(2, 6, 3, padding=1), n=nn.GroupNorm(2, 6), b=nn.Conv2d(6, 4, 3, padding=1), h=nn.Linear(4, 4)), image(2)

@mixed(squeeze=3, scales=5)
def squeeze():
    return Net(lambda s, x: (lambda y: s.h((y*torch.sigmoid(s.b(F.relu(s.a(y.mean((2, 3))))))[..., None, None]).mean((2, 3))))(F.relu(s.c(x))),
               c=nn.Conv2d(2, 5, 3, padding=1), a=nn.Linear(5, 3), b=nn.Linear(3, 5), h=nn.Linear(5, 5)), image(2)

# residual streams

@mixed(stream=linear(6), value=6+6, scales=7)                   # the biases of the stem and of the branch
def residual(): return Net(lambda s, x: (lambda y: s.h(y + s.d(F.relu(s.u(y)))))(s.st(x)), st=nn.Linear(8, 6), u=nn.Linear(6, 7), d=nn.Linear(7, 6), h=nn.Linear(6, 7)), vector(8)

@mixed(along=5+1, gain=0)
def layer_norm(): return nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 6)), vector()

@mixed(none=0)
def rms_norm(): return nn.Sequential(nn.Linear(5, 6), nn.RMSNorm(6), nn.GELU(), nn.Linear(6, 6)), vector()

@mixed(stream=rotations(6), gain=6, last=0)
def rms_chain(): return nn.Sequential(nn.Linear(7, 6, bias=False), nn.RMSNorm(6), nn.Linear(6, 7, bias=False)), vector(7)

@mixed(stream=fixing_ones(6), gain=6, shift=6, writer=7+1, reader=7)
def layer_chain(): return nn.Sequential(nn.Linear(7, 6), nn.LayerNorm(6), nn.Linear(6, 7)), vector(7)

# transformers

NORMS = dict(layer=nn.LayerNorm, rms=nn.RMSNorm, none=lambda n: nn.Identity())

class Attention(nn.Module):
    "Heads of attention; `kv` heads for keys and values; `rotary`, `table` of logits by distance, `how` groups are shared."
    def __init__(self, d=6, heads=2, kv=None, k=None, bias=True, rotary=False, table=None, how='plain'):
        super().__init__()
        self.heads, self.kv, self.how, self.rotary = heads, kv or heads, how, rotary
        k = k or d//heads
        self.q, self.o = nn.Linear(d, heads*k, bias=bias), nn.Linear(heads*k, d, bias=bias)
        self.k, self.v = (nn.Linear(d, self.kv*k, bias=bias) for _ in range(2))
        self.table = nn.Parameter(torch.randn(heads, 2*table-1)) if table else None
        if table: self.register_buffer('at', torch.arange(table)[:, None] - torch.arange(table) + table - 1)

    def shared(self, x):
        n = self.heads//self.kv
        if n == 1 or self.how == 'flag': return x
        if self.how == 'expand': return x[:, :, None].expand(-1, -1, n, -1, -1).flatten(1, 2)
        return x.repeat_interleave(n, 1)

    def forward(self, x):
        q, k, v = split(self.q(x), self.heads), split(self.k(x), self.kv), split(self.v(x), self.kv)
        if self.rotary: q, k = turned(q), turned(k)
        k, v = self.shared(k), self.shared(v)
        if self.how == 'flag': return self.o(joined(F.scaled_dot_product_attention(q, k, v, enable_gqa=True)))
        if self.how == 'fused': return self.o(joined(F.scaled_dot_product_attention(q, k, v)))
        if self.how == 'einsum': scores = torch.einsum('bhik,bhjk->bhij', q, k)/q.shape[-1]**.5
        else: scores = q@k.transpose(-1, -2)/q.shape[-1]**.5
        if self.table is not None: scores = scores + self.table[:, self.at]
        return self.o(joined(scores.softmax(-1)@v))

def turned(x):
    "Rotary positions."
    k, n = x.shape[-1], x.shape[-2]
    angle = torch.arange(n, dtype=x.dtype)[:, None]*10.**(-torch.arange(k//2, dtype=x.dtype)*2/k)
    a, b = x.chunk(2, -1)
    return torch.cat([a*angle.cos() - b*angle.sin(), a*angle.sin() + b*angle.cos()], -1)

class Transformer(nn.Module):
    def __init__(self, norm='layer', d=6, width=7, given=8, classes=7, bias=True, post=False, activation=F.gelu, scale=False, last=True, **attention):
        super().__init__()
        N = NORMS[norm]
        self.stem, self.a, self.head = nn.Linear(given, d), Attention(d, bias=bias, **attention), nn.Linear(d, classes)
        self.n1, self.n2, self.n = N(d), N(d), (nn.Identity() if post or not last else N(d))
        self.u, self.d = nn.Linear(d, width, bias=bias), nn.Linear(width, d, bias=bias)
        self.post, self.activation = post, activation
        self.g1, self.g2 = (nn.Parameter(torch.ones(d)) if scale else None for _ in range(2))

    def forward(self, x):
        g1, g2 = (1. if g is None else g for g in (self.g1, self.g2))
        x = self.stem(x)
        if self.post:
            x = self.n1(x + g1*self.a(x))
            x = self.n2(x + g2*self.d(self.activation(self.u(x))))
        else:
            x = x + g1*self.a(self.n1(x))
            x = x + g2*self.d(self.activation(self.u(self.n2(x))))
        return self.head(self.n(x).mean(1))

HEADS = dict(heads=2*2*linear(3), key=6, value=6)               # q/k and v/o of two heads of three; biases of keys and values
LAYER = dict(gains=3*6, shifts=3*6, readers=3*6 + 7 + 7, writers=8 + 1 + 6 + 1 + 7 + 1)     # along ones: q, k, v, u, head; stem, o, d with their biases

@mixed(stream=fixing_ones(6), **HEADS, **LAYER)
def pre_norm(): return Transformer(), sequence()

@mixed(stream=rotations(6), **HEADS, gains=3*6)
def rms_transformer(): return Transformer('rms'), sequence()

@mixed(stream=rotations(6), heads=2*2*linear(3), gains=3*6, bias=0)
def rms_without_bias(): return Transformer('rms', bias=False), sequence()

@mixed(stream=linear(6), **HEADS, scales=7, biases=3*6)
def without_norm(): return Transformer('none', activation=F.relu), sequence()

# shears in front of the first norm; its shift, or the biases in front of it, against the sum behind; and one turn on both sides of the first gain at once:
# two antisymmetric matrices fixing ones, a shear and a diagonal have 2 numbers more than the equations, one of them trivial
@mixed(**HEADS, gain=6, shift=6, readers=7+7, writers=6+1 + 7+1, shears=6, biases=2*6, both_sides=1)
def post_norm(): return Transformer(post=True), sequence()

@mixed(stream=rotations(6), **HEADS, gains=3*6, layer_scale=2*6)
def layer_scale(): return Transformer('rms', scale=True), sequence()

@mixed(stream=fixing_ones(6), **HEADS, **LAYER, table=2)
def relative(): return Transformer(table=4), sequence()

@mixed(stream=rotations(6), queries_keys=1*linear(3), values=1*linear(3), key=3, value=3, gains=3*6)
def multi_query(): return Transformer('rms', kv=1), sequence()

def grouped(how):
    return Transformer('rms', d=8, given=9, classes=8, heads=4, kv=2, bias=False, how=how), sequence(9)
GROUPED = dict(stream=rotations(8), heads=2*2*linear(2), gains=3*8)

@mixed(**GROUPED)
def grouped_by_flag(): return grouped('flag')

@mixed(**GROUPED)
def grouped_by_repeat(): return grouped('repeat')

@mixed(**GROUPED)
def grouped_by_expand(): return grouped('expand')

@mixed(stream=rotations(6), **HEADS, gains=3*6)
def fused(): return Transformer('rms', how='fused'), sequence()

@mixed(stream=rotations(6), **HEADS, gains=3*6)
def einsum(): return Transformer('rms', how='einsum'), sequence()

class Llama(nn.Module):
    def __init__(self, d=8, heads=4, kv=2, k=4, width=5, vocabulary=11, tied=False, gain=True):
        super().__init__()
        self.e, self.head = nn.Embedding(vocabulary, d), nn.Linear(d, vocabulary, bias=False)
        self.a = Attention(d, heads, kv, k, bias=False, rotary=True)
        self.n1, self.n2, self.n = nn.RMSNorm(d), nn.RMSNorm(d), nn.RMSNorm(d, elementwise_affine=gain)
        self.g, self.u, self.d = nn.Linear(d, width, bias=False), nn.Linear(d, width, bias=False), nn.Linear(width, d, bias=False)
        if tied: self.head.weight = self.e.weight

    def forward(self, t):
        x = self.e(t)
        x = x + self.a(self.n1(x))
        y = self.n2(x)
        x = x + self.d(F.silu(self.g(y))*self.u(y))
        return self.head(self.n(x))

@mixed(stream=rotations(8), gains=3*8, rotary=2*4, values=2*linear(4), scales=5)
def llama(): return Llama(), tokens(11)

@mixed(gains=2*8, rotary=2*4, values=2*linear(4), scales=5)     # a gain before a tied table: nothing may turn
def llama_tied(): return Llama(tied=True), tokens(11)

@mixed(stream=rotations(8), gains=2*8, rotary=2*4, values=2*linear(4), scales=5)
def llama_tied_without_gain(): return Llama(tied=True, gain=False), tokens(11)

class Gpt(nn.Module):
    def __init__(self, tied, d=6, heads=2, width=7, vocabulary=9, n=4):
        super().__init__()
        self.e, self.p, self.head = nn.Embedding(vocabulary, d), nn.Embedding(n, d), nn.Linear(d, vocabulary, bias=False)
        self.n1, self.n2, self.n = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.a, self.u, self.d = Attention(d, heads), nn.Linear(d, width), nn.Linear(width, d)
        if tied: self.head.weight = self.e.weight

    def forward(self, t):
        x = self.e(t) + self.p.weight
        x = x + self.a(self.n1(x))
        x = x + self.d(F.gelu(self.u(self.n2(x))))
        return self.head(self.n(x))

@mixed(**HEADS, gains=2*6, shifts=2*6, readers=3*6+7, writers=6+1 + 7+1, positions=4)          # nothing turns, and nothing along ones
def gpt_tied(): return Gpt(True), tokens(9)

@mixed(stream=fixing_ones(6), **HEADS, gains=3*6, shifts=3*6, readers=3*6+7, writers=6+1 + 7+1 + 9 + 4, tokens_positions=5)    # along ones the head has what its missing bias would add
def gpt(): return Gpt(False), tokens(9)

class Vit(nn.Module):
    def __init__(self, d=6, heads=2, width=7, classes=7):
        super().__init__()
        self.patch, self.cls, self.pos = nn.Conv2d(2, d, 2, 2), nn.Parameter(torch.zeros(1, 1, d)), nn.Parameter(torch.zeros(1, 5, d))
        self.n1, self.n2, self.n3, self.n = (nn.LayerNorm(d) for _ in range(4))
        self.a, self.b = (nn.MultiheadAttention(d, heads, batch_first=True) for _ in range(2))
        self.u, self.d, self.head = nn.Linear(d, width), nn.Linear(width, d), nn.Linear(d, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        y = self.n1(x)
        x = x + self.a(y, y, y, need_weights=False)[0]
        x = x + self.d(F.gelu(self.u(self.n2(x))))
        y = self.n3(x)
        x = x + self.b(y, y, y, need_weights=False)[0]
        return self.head(self.n(x)[:, 0])

@mixed(stream=fixing_ones(6), heads=2*HEADS['heads'], keys_values=2*(6+6), gains=4*6, shifts=4*6, readers=2*3*6+7+7, writers=8+1 + 2*(6+1) + 7+1, tokens=5+1, positions=2*5)
def vit(): return Vit(), image(2, 4)

@mixed(gains=6+6, shifts=6+6, layer_scale=6, readers=7+3, writers=7+1, depthwise=1)
def convnext():
    d = 6
    def forward(s, x):
        x = s.stem(x)
        y = s.n1(s.dw(x).permute(0, 2, 3, 1))
        x = x + (s.g*s.d(F.gelu(s.u(y)))).permute(0, 3, 1, 2)
        return s.head(s.n(x.mean((2, 3))))
    return Net(forward, stem=nn.Conv2d(8, d, 1), dw=nn.Conv2d(d, d, 3, padding=1, groups=d), n1=nn.LayerNorm(d), u=nn.Linear(d, 7), d=nn.Linear(7, d),
               g=nn.Parameter(torch.ones(d)), n=nn.LayerNorm(d), head=nn.Linear(d, 3)), image(8, 4)

@mixed(first=1+1, second=6+6+7, last=6+6+3, writers=8+1 + 7+1, tokens=4)      # the first norm is read along tokens: one scale and one shift for all channels
def mixer():
    d, n = 6, 4
    def forward(s, x):
        x = s.stem(x)
        x = x + s.t2(F.gelu(s.t1(s.n1(x).transpose(1, 2)))).transpose(1, 2)
        x = x + s.d(F.gelu(s.u(s.n2(x))))
        return s.head(s.n(x).mean(1))
    return Net(forward, stem=nn.Linear(8, d), n1=nn.LayerNorm(d), t1=nn.Linear(n, 5), t2=nn.Linear(5, n), n2=nn.LayerNorm(d), u=nn.Linear(d, 7), d=nn.Linear(7, d),
               n=nn.LayerNorm(d), head=nn.Linear(d, 3)), sequence()

# further ways to build them

def attended(s, q, k, v): return s.o(joined(F.scaled_dot_product_attention(split(q, 2), split(k, 2), split(v, 2))))

@mixed(heads=2*2*linear(2), latent=linear(3), stream=linear(6), value=6)                # keys and values through three numbers
def latent_attention():
    def forward(s, x):
        c = s.c(x)
        return s.h((x@s.p + attended(s, s.q(x), s.k(c), s.v(c))).mean(1))
    return Net(forward, c=nn.Linear(8, 3, bias=False), q=nn.Linear(8, 4, bias=False), k=nn.Linear(3, 4, bias=False), v=nn.Linear(3, 4, bias=False), o=nn.Linear(4, 6),
               p=nn.Parameter(torch.randn(8, 6)), h=nn.Linear(6, 7)), sequence()

@mixed(heads=2*2*linear(2), streams=2*linear(6), keys_values=4+4, biases=6+6+6)         # of both stems, and of the output
def cross_attention():
    def forward(s, x):
        y, z = s.e(x), s.f(x)
        return s.h((y + attended(s, s.q(y), s.k(z), s.v(z))).mean(1))
    return Net(forward, e=nn.Linear(8, 6), f=nn.Linear(8, 6), q=nn.Linear(6, 4), k=nn.Linear(6, 4), v=nn.Linear(6, 4), o=nn.Linear(4, 6), h=nn.Linear(6, 7)), sequence()

@mixed(stream=fixing_ones(6), **HEADS, gains=2*6, shifts=2*6, readers=6+12+7, writers=8+1 + 6+1)       # the stem is used twice
def packed_keys_and_values():
    def forward(s, x):
        y = s.n(s.i(x))
        return s.h(s.m(s.i(x) + attended(s, s.q(y), *s.kv(y).chunk(2, -1))).mean(1))
    return Net(forward, i=nn.Linear(8, 6), n=nn.LayerNorm(6), q=nn.Linear(6, 6), kv=nn.Linear(6, 12), o=nn.Linear(6, 6), m=nn.LayerNorm(6), h=nn.Linear(6, 7)), sequence()

@mixed(stream=fixing_ones(6), **HEADS, gains=2*6, shifts=2*6, readers=3*6+7+7, writers=8+1 + 6+1 + 7+1, biases=6-1)     # two biases in one sum
def parallel_branches():
    def forward(s, x):
        x = s.i(x)
        y = s.n(x)
        return s.h(s.m(x + s.a(y) + s.d(F.gelu(s.u(y)))).mean(1))
    return Net(forward, i=nn.Linear(8, 6), n=nn.LayerNorm(6), a=Attention(), u=nn.Linear(6, 7), d=nn.Linear(7, 6), m=nn.LayerNorm(6), h=nn.Linear(6, 7)), sequence()

@mixed(stream=rotations(6), gains=2*6, inner=4, values=2*linear(4))                     # queries and keys normalised: their gains alone
def normalised_queries():
    def forward(s, x):
        x = s.i(x)
        y = s.n(x)
        q, k, v = (split(l(y), 2) for l in (s.q, s.k, s.v))
        return s.h(s.m(x + s.o(joined(F.scaled_dot_product_attention(s.qn(q), s.kn(k), v)))).mean(1))
    q, k, v = (nn.Linear(6, 8, bias=False) for _ in range(3))
    return Net(forward, i=nn.Linear(8, 6), n=nn.RMSNorm(6), q=q, k=k, v=v, qn=nn.RMSNorm(4), kn=nn.RMSNorm(4), o=nn.Linear(8, 6, bias=False), m=nn.RMSNorm(6), h=nn.Linear(6, 7)), sequence()

@mixed(rows=3+5+3+5, means=3+5+3+5, variances=3+5+3+5, stream=linear(3), shifts=3+3)    # means of the readers take back what is added to the stream
def linear_bottleneck():
    def forward(s, x):
        x = s.n0(s.a(x))
        x = x + s.n2(s.c(F.relu6(s.n1(s.b(x)))))
        return s.h(F.relu6(s.n3(s.d(x))).mean((2, 3)))
    conv = lambda i, o: nn.Conv2d(i, o, 1, bias=False)
    return Net(forward, a=conv(4, 3), n0=nn.BatchNorm2d(3), b=conv(3, 5), n1=nn.BatchNorm2d(5), c=conv(5, 3), n2=nn.BatchNorm2d(3), d=conv(3, 5), n3=nn.BatchNorm2d(5), h=nn.Linear(5, 6)), image(4)

def by_length(x, g): return x*torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + .05)*g

@mixed(stream=rotations(6), gains=2*6)                                                  # a norm written out
def written_out():
    def forward(s, x):
        x = s.i(x)
        return s.h(by_length(x + s.d(F.gelu(s.u(by_length(x, s.g)))), s.k))
    return Net(forward, i=nn.Linear(8, 6, bias=False), u=nn.Linear(6, 7), d=nn.Linear(7, 6), h=nn.Linear(6, 7), g=nn.Parameter(torch.ones(6)), k=nn.Parameter(torch.ones(6))), vector(8)

# recurrent layers

@mixed(biases=4*4)
def lstm(): return Net(lambda s, x: s.h(s.r(x)[0][:, -1]), r=nn.LSTM(3, 4, batch_first=True), h=nn.Linear(4, 5)), sequence(3)

@mixed(biases=2*4)
def gru(): return Net(lambda s, x: s.h(s.r(x)[0][:, -1]), r=nn.GRU(3, 4, batch_first=True), h=nn.Linear(4, 5)), sequence(3)
