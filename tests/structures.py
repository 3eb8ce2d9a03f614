"""Small networks, one per structure, with an example input; EXPECTED says what must be found, derived by hand.

STRUCTURES: name -> () -> (network, example of batch 2). PEERS are the first of them. EXPECTED: name -> dict with
- blocks: the numbers of units of all blocks, nested ones too (one inner block per head or group), exactly; or at_least: these among others;
- scale, sign: the number of free positive factors and of free signs, where they are sure; not given where a common factor of many units is free too;
- refused: the network must be refused.
"""
from collections.abc import Callable
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

STRUCTURES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {}
EXPECTED: dict[str, dict] = {}

def structure(*blocks, at_least=None, **more):
    "Register a builder under its name, with what must be found in it."
    def register(f):
        assert f.__name__ not in STRUCTURES
        what = {} if more.get('refused') else dict(blocks=sorted(blocks)) if at_least is None else dict(at_least=sorted(at_least))
        STRUCTURES[f.__name__], EXPECTED[f.__name__] = f, what | more
        return f
    return register

class Net(nn.Module):
    "Parts (modules, parameters; plain tensors become buffers) and a forward pass."
    def __init__(self, forward, **parts):
        super().__init__()
        self.run = forward
        for k, v in parts.items(): self.register_buffer(k, v) if type(v) is Tensor else setattr(self, k, v)

    def forward(self, x): return self.run(self, x)

def vector(n=10): return torch.randn(2, n)
def image(side=8): return torch.randn(2, 3, side, side)
def sequence(tokens=4, n=11): return torch.randn(2, tokens, n)
def weight(*shape): return nn.Parameter(torch.randn(shape)*.3)
def pooled(x): return F.adaptive_avg_pool2d(x, 1).flatten(1)

# the peers

@structure(12, 9, scale=21, sign=0)
def mlp(): return nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 5)), vector()

@structure(6, 8, 20, 14, scale=48, sign=0)                      # the 8 channels have 4 slots each in the first layer of the head
def cnn_flatten():
    convs = [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return Net(lambda s, x: s.head(torch.flatten(s.convs(x), 1)), convs=nn.Sequential(*convs),
               head=nn.Sequential(nn.Linear(32, 20), nn.ReLU(), nn.Linear(20, 14), nn.ReLU(), nn.Linear(14, 5))), image()

@structure(8, 12, scale=40, sign=20)                            # rows before a BatchNorm and its gamma: a scale each; a sign per row
def cnn_bn():
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)), image()

def conv_bn(i, o, k=3, **kw): return nn.Sequential(nn.Conv2d(i, o, k, padding=k//2, bias=False, **kw), nn.BatchNorm2d(o))

@structure(8, 10, 12, 16, scale=116, sign=70)                   # rows 8+10+8+12+16+16 = 70; gammas, those of one stream tied: 8+10+12+16
def resnet_bn():
    def f(s, x):
        x = F.relu(s.stem(x))
        x = F.relu(s.b2(F.relu(s.b1(x))) + x)
        x = F.relu(s.c2(F.relu(s.c1(x))) + s.short(x))
        return s.fc(pooled(x))
    return Net(f, stem=conv_bn(3, 8), b1=conv_bn(8, 10), b2=conv_bn(10, 8), c1=conv_bn(8, 12, stride=2), c2=conv_bn(12, 16),
               short=conv_bn(8, 16, 1, stride=2), fc=nn.Linear(16, 5)), image()

@structure(6, 4, 5, scale=46, sign=15)                          # rows 6+4+5, each followed by every later norm; gammas 6+10+15
def densenet():
    def f(s, x):
        x = s.stem(x)
        for norm, conv in ((s.n1, s.c1), (s.n2, s.c2)): x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return s.fc(pooled(F.relu(s.n3(x))))
    return Net(f, stem=nn.Conv2d(3, 6, 3, bias=False), n1=nn.BatchNorm2d(6), c1=nn.Conv2d(6, 4, 3, padding=1, bias=False),
               n2=nn.BatchNorm2d(10), c2=nn.Conv2d(10, 5, 3, padding=1, bias=False), n3=nn.BatchNorm2d(15), fc=nn.Linear(15, 5)), image()

@structure(6, 4, 5, 7, 3, 9, scale=34, sign=0)                  # a join keeps the units of its parts
def inception():
    def f(s, x):
        x = F.relu(s.stem(x))
        parts = [s.a(x), s.b2(F.relu(s.b1(x))), s.c(F.max_pool2d(x, 3, 1, 1))]
        return s.fc(pooled(F.relu(s.mix(F.relu(torch.cat(parts, 1))))))
    return Net(f, stem=nn.Conv2d(3, 6, 3), a=nn.Conv2d(6, 4, 1), b1=nn.Conv2d(6, 5, 1), b2=nn.Conv2d(5, 7, 3, padding=1), c=nn.Conv2d(6, 3, 1),
               mix=nn.Conv2d(14, 9, 3), fc=nn.Linear(9, 5)), image()

@structure(12, scale=12, sign=0)                                # two slots per unit in the head
def cat_twice():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.head(torch.cat([x, x], 1))
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(24, 5)), vector()

@structure(8, 12, scale=56, sign=28)                            # the depthwise convolution keeps the 8; rows and gammas of 8, 8, 12
def depthwise():
    return nn.Sequential(conv_bn(3, 8), nn.ReLU(), conv_bn(8, 8, groups=8), nn.ReLU(), conv_bn(8, 12, 1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)), image()

@structure(3, 4, 4, 4, 6, 6, 6, 10, scale=40, sign=0)           # 3 groups, in each 4 inputs and 6 outputs
def grouped():
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 18, 3, groups=3), nn.ReLU(), nn.Conv2d(18, 10, 1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 5)), image()

def shuffled(x, g): return x.view(x.shape[0], g, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2)

@structure(2, 2, 2, 2, 4, 4, 5, 6, 10, scale=48, sign=11)       # stem 2+2+4: two pass, two and two more are read by the second branch;
def channel_shuffle():                                          # depthwise layers of 6 and 5 without activation: a scale and a sign more each
    def f(s, x):
        x = F.relu(s.stem(x))
        for branch in (s.a, s.b):
            keep, x = x.chunk(2, 1)
            x = shuffled(torch.cat([keep, branch(x)], 1), 2)
        return s.fc(pooled(F.relu(s.last(x))))
    branch = lambda n: nn.Sequential(nn.Conv2d(4, n, 1), nn.ReLU(), nn.Conv2d(n, n, 3, padding=1, groups=n), nn.Conv2d(n, 4, 1), nn.ReLU())
    return Net(f, stem=nn.Conv2d(3, 8, 3), a=branch(6), b=branch(5), last=nn.Conv2d(8, 10, 1), fc=nn.Linear(10, 5)), image()

@structure(12, 4, 9, scale=25, sign=0)                          # the gate is tied to the 12 channels; 4 are squeezed
def squeeze_excite():
    def f(s, x):
        x = F.relu(s.conv(x))
        gate = torch.sigmoid(s.up(F.relu(s.down(F.adaptive_avg_pool2d(x, 1)))))
        return s.fc(pooled(F.relu(s.last(x*gate))))
    return Net(f, conv=nn.Conv2d(3, 12, 3), down=nn.Conv2d(12, 4, 1), up=nn.Conv2d(4, 12, 1), last=nn.Conv2d(12, 9, 3), fc=nn.Linear(9, 5)), image()

@structure(6, 10, 7, 8, scale=31, sign=7)                       # no activation behind the transposed convolution: a sign too
def unet():
    def f(s, x):
        a = F.relu(s.e1(x))
        b = F.relu(s.e2(F.max_pool2d(a, 2)))
        return s.fc(pooled(F.relu(s.d1(torch.cat([a, s.up(b)], 1)))))
    return Net(f, e1=nn.Conv2d(3, 6, 3, padding=1), e2=nn.Conv2d(6, 10, 3, padding=1), up=nn.ConvTranspose2d(10, 7, 2, 2),
               d1=nn.Conv2d(13, 8, 3, padding=1), fc=nn.Linear(8, 5)), image()

@structure(3, 4, 4, 4, 2, 5, 5, scale=22)                       # groups, channels inside; a scale per gamma (a common sign per group is free too)
def groupnorm():
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.GroupNorm(3, 12), nn.ReLU(), nn.Conv2d(12, 10, 3), nn.GroupNorm(2, 10), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 5)), image()

class Attention(nn.Module):
    "Self-attention with one matrix for queries, keys and values."
    def __init__(self, dim, heads, causal=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.proj = nn.Linear(dim, 3*dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d//self.heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(x.transpose(1, 2).reshape(b, t, d))

class Layer(nn.Module):
    "A transformer layer, normalised before attention and MLP."
    def __init__(self, dim, heads, hidden, causal=False):
        super().__init__()
        self.n1, self.attn, self.n2 = nn.LayerNorm(dim), Attention(dim, heads, causal), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x):
        x = x + self.attn(self.n1(x))
        return x + self.mlp(self.n2(x))

@structure(18, 3, *[6]*6, 20, scale=90)                         # stream, heads, their q·k and v dims, MLP; scales: three gammas of 18, q·k 18, v 18
def vit():
    def f(s, x):
        x = s.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([s.token.expand(x.shape[0], -1, -1), x], 1) + s.place
        return s.head(s.norm(s.layer(x))[:, 0])
    return Net(f, patch=nn.Conv2d(3, 18, 4, 4), token=weight(1, 1, 18), place=weight(1, 5, 18), layer=Layer(18, 3, 20), norm=nn.LayerNorm(18), head=nn.Linear(18, 5)), image()

@structure(16, *[2, 8, 8, 8, 8, 24]*2, scale=144)               # two layers: five gammas of 16, and q·k 16 and v 16 in each
def gpt():
    def f(s, x):
        x = s.tokens(x) + s.places(torch.arange(x.shape[1], device=x.device))
        return s.head(s.norm(s.layers(x)))
    return Net(f, tokens=nn.Embedding(13, 16), places=nn.Embedding(6, 16), layers=nn.Sequential(Layer(16, 2, 24, True), Layer(16, 2, 24, True)),
               norm=nn.LayerNorm(16), head=nn.Linear(16, 13, bias=False)), torch.randint(13, (2, 6))

@structure(12, 20, scale=32, sign=44)                           # first gamma 12, value half 20; a sign per channel of the stream too: the last gamma
def rmsnorm_swiglu_tied():                                      # has no scale of its own, because the head is the embedding
    def f(s, x):
        x = s.tokens(x)
        y = s.n1(x)
        x = x + s.down(F.silu(s.gate(y))*s.up(y))
        return F.linear(s.n2(x), s.tokens.weight)
    linear = lambda i, o: nn.Linear(i, o, bias=False)
    return Net(f, tokens=nn.Embedding(13, 12), n1=nn.RMSNorm(12), gate=linear(12, 20), up=linear(12, 20), down=linear(20, 12), n2=nn.RMSNorm(12)), torch.randint(13, (2, 6))

@structure(12, 20, scale=36)                                    # two gammas of 12 read by linear layers; rows of the last MLP layer and layer scale 12
def convnext():
    def f(s, x):
        x = s.n0(s.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = s.mlp(s.n1(s.dw(x).permute(0, 2, 3, 1)))*s.gamma
        return s.head(s.n2((x + y.permute(0, 3, 1, 2)).mean((2, 3))))
    return Net(f, stem=nn.Conv2d(3, 12, 2, 2), n0=nn.LayerNorm(12), dw=nn.Conv2d(12, 12, 3, padding=1, groups=12), n1=nn.LayerNorm(12), gamma=nn.Parameter(torch.full((12,), 1e-6)),
               mlp=nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12)), n2=nn.LayerNorm(12), head=nn.Linear(12, 5)), image()

def recurrent(make, width):
    "A recurrent layer and a head on the mean of its outputs."
    return Net(lambda s, x: s.head(s.rnn(x)[0].mean(1)), rnn=make(), head=nn.Linear(width, 5)), sequence(4, 7)

@structure(14, scale=0, sign=14)                                # four gates per unit; the cell and its tanh are odd in the cell gate
def lstm(): return recurrent(lambda: nn.LSTM(7, 14, batch_first=True), 14)

@structure(12, 9, scale=21, sign=0)
def functional():
    def f(s, x):
        x = F.relu(x @ s.w1 + s.b1)
        return F.relu(F.linear(x, s.w2, s.b2)) @ s.w3
    return Net(f, w1=weight(10, 12), b1=weight(12), w2=weight(9, 12), b2=weight(9), w3=weight(9, 5)), vector()

PEERS = list(STRUCTURES)

# the same weights twice

@structure(12, scale=12, sign=0)                                # rows are columns: both are the units of the layer before
def module_twice():
    return Net(lambda s, x: s.head(F.relu(s.same(F.relu(s.same(F.relu(s.fc(x))))))), fc=nn.Linear(10, 12), same=nn.Linear(12, 12), head=nn.Linear(12, 5)), vector()

@structure(12)                                                  # as before; the biases differ, so one common factor more is free
def tied_layers():
    m = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 5))
    m[4].weight = m[2].weight
    return m, vector()

@structure(12, scale=0, sign=12)                                # the decoder reads with the rows that wrote: s = 1/s
def tied_transposed():
    return Net(lambda s, x: s.head(F.relu(F.linear(torch.tanh(s.fc(x)), s.fc.weight.t(), s.back))), fc=nn.Linear(10, 12), back=weight(10), head=nn.Linear(10, 5)), vector()

@structure(8, 9, scale=25, sign=8)                              # the shared statistics tie both branches: rows 8, gamma 8, 9
def bn_shared():
    def f(s, x): return s.fc(pooled(F.relu(s.last(F.relu(s.bn(s.a(x))) + F.relu(s.bn(s.b(x)))))))
    return Net(f, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(3, 8, 3, bias=False), bn=nn.BatchNorm2d(8), last=nn.Conv2d(8, 9, 3), fc=nn.Linear(9, 5)), image()

# residuals

@structure(8, 10, 12, scale=30, sign=0)
def residual_shortcut():
    def f(s, x):
        x = F.relu(s.stem(x))
        return s.fc(pooled(F.relu(s.c2(F.relu(s.c1(x))) + s.short(x))))
    return Net(f, stem=nn.Conv2d(3, 8, 3), c1=nn.Conv2d(8, 10, 3, padding=1), c2=nn.Conv2d(10, 12, 3, padding=1), short=nn.Conv2d(8, 12, 1), fc=nn.Linear(12, 5)), image()

@structure(8, 10, 4, scale=22, sign=0)                          # 8 of the 12 are the stream, 4 meet zeros
def residual_padded():
    def f(s, x):
        x = F.relu(s.stem(x))
        return s.fc(pooled(F.relu(s.c2(F.relu(s.c1(x))) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))))
    return Net(f, stem=nn.Conv2d(3, 8, 3, padding=1), c1=nn.Conv2d(8, 10, 3, stride=2, padding=1), c2=nn.Conv2d(10, 12, 3, padding=1), fc=nn.Linear(12, 5)), image()

@structure(12, scale=12, sign=0)                                # rows of the second layer meet the input
def residual_of_input(): return Net(lambda s, x: s.head(x + s.b(F.relu(s.a(x)))), a=nn.Linear(10, 12), b=nn.Linear(12, 10), head=nn.Linear(10, 5)), vector()

@structure(at_least=[6])                                        # k tied to 11-k: 6 pairs (and swaps in a pair, where they are searched)
def flip_added():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.head(x + x.flip(1))
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(12, 12, scale=24, sign=0)                            # two branches of one size
def parallel_branches():
    return Net(lambda s, x: s.ha(F.relu(s.a(x))) + s.hb(F.relu(s.b(x))), a=nn.Linear(10, 12), ha=nn.Linear(12, 5), b=nn.Linear(10, 12), hb=nn.Linear(12, 5)), vector()

# parts of channels

@structure(9, 6, scale=9, sign=6)
def split_activations():
    def f(s, x):
        a, b = s.fc(x).split([9, 6], 1)
        return s.head(torch.cat([F.relu(a), torch.tanh(b)], 1))
    return Net(f, fc=nn.Linear(10, 15), head=nn.Linear(15, 5)), vector()

@structure(4, 6, 5, scale=4, sign=6)
def slice_activations():
    def f(s, x):
        x = s.conv(x)
        return s.fc(pooled(torch.cat([F.relu(x[:, :4]), torch.tanh(x[:, 4:10]), F.gelu(x[:, 10:])], 1)))
    return Net(f, conv=nn.Conv2d(3, 15, 3), fc=nn.Linear(15, 5)), image()

@structure(4, 8)                                                # the mask is a constant of the code; both branches read all of x, so no scale and no sign is found: every third is ReLU, the others tanh
def masked_activations():
    def f(s, x):
        x = s.fc(x)
        return s.head(torch.where(torch.arange(12, device=x.device) % 3 == 0, F.relu(x), torch.tanh(x)))
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(12, scale=12, sign=12)                               # two slots per unit; the half without activation carries scale and sign
def glu(): return Net(lambda s, x: s.head(F.glu(s.fc(x), 1)), fc=nn.Linear(10, 24), head=nn.Linear(12, 5)), vector()

@structure(12, scale=24, sign=12)                               # a scale before alpha and one behind it; the sign before it
def affine():
    return Net(lambda s, x: s.head(F.relu(torch.addcmul(s.beta, s.alpha, s.fc(x)))), fc=nn.Linear(10, 12), alpha=weight(12), beta=weight(12), head=nn.Linear(12, 5)), vector()

@structure(12, scale=0, sign=0)
def response_norm():
    def f(s, x):
        x = F.gelu(s.a(x))
        g = x.norm(2, (2, 3), True)
        return s.head(pooled(torch.addcmul(s.beta, s.gamma, x*g/(g.mean(1, True) + 1e-6)) + x))
    return Net(f, a=nn.Conv2d(3, 12, 3), gamma=weight(1, 12, 1, 1), beta=weight(1, 12, 1, 1), head=nn.Linear(12, 5)), image()

@structure(6, 8, scale=8+1, sign=0)                             # gain and bias of the last, and one number between the gains: a filter is normalised as a whole
def standardised_by_batch_norm():
    def conv(s, x, k):
        w = getattr(s, f'w{k}')
        flat = F.batch_norm(w.reshape(1, w.shape[0], -1), None, None, weight=(getattr(s, f'g{k}')*.3).view(-1), training=True, momentum=0., eps=1e-6)
        return F.relu(F.conv2d(x, flat.reshape_as(w), getattr(s, f'b{k}')))
    return Net(lambda s, x: s.head(pooled(conv(s, conv(s, x, 1), 2))), w1=weight(6, 3, 3, 3), g1=weight(6, 1, 1, 1), b1=weight(6), w2=weight(8, 6, 3, 3), g2=weight(8, 1, 1, 1), b2=weight(8), head=nn.Linear(8, 5)), image()

@structure(12, scale=0, sign=12)                                # both ends of the line have the same units and the same sign
def interpolated():
    return Net(lambda s, x: s.head(torch.lerp(s.a(x).tanh(), s.b(x).tanh(), .3)), a=nn.Linear(10, 12), b=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(11, scale=11, sign=0)                                # channel 0 is added to the logits
def slice_one():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.head(x) + x[:, :1]
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(6, 6, scale=12, sign=0)                              # the even have a head of their own
def stride_channels():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.even(x[:, ::2]) + s.all(x)
    return Net(f, fc=nn.Linear(10, 12), even=nn.Linear(6, 5), all=nn.Linear(12, 5)), vector()

@structure(at_least=[7])                                        # the other 5 do nothing
def dead_units(): return Net(lambda s, x: s.head(F.relu(s.fc(x))[:, :7]), fc=nn.Linear(10, 12), head=nn.Linear(7, 5)), vector()

@structure(8, 9, scale=17, sign=0)                              # two slots per unit, side by side
def repeat_interleave():
    return Net(lambda s, x: s.fc(pooled(F.relu(s.b(F.relu(s.a(x)).repeat_interleave(2, 1))))), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(16, 9, 3), fc=nn.Linear(9, 5)), image()

@structure(12, scale=12, sign=0)
def channel_order(): return Net(lambda s, x: s.head(F.relu(s.fc(x))[:, [7, 2, 9, 0, 11, 4, 1, 10, 3, 8, 5, 6]]), fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(4, 7, scale=11, sign=0)                              # four slots per unit, at four places of the larger image
def pixel_shuffle():
    return Net(lambda s, x: s.fc(pooled(F.relu(s.b(F.pixel_shuffle(F.relu(s.a(x)), 2))))), a=nn.Conv2d(3, 16, 3), b=nn.Conv2d(4, 7, 3), fc=nn.Linear(7, 5)), image()

@structure(5, 7, scale=12, sign=0)                              # four slots per unit
def pixel_unshuffle():
    return Net(lambda s, x: s.fc(pooled(F.relu(s.b(F.pixel_unshuffle(F.relu(s.a(x)), 2))))), a=nn.Conv2d(3, 5, 3, padding=1), b=nn.Conv2d(20, 7, 3), fc=nn.Linear(7, 5)), image()

@structure(8, 9, scale=10, sign=0)                              # the maximum treats all channels alike: one common factor, and 9
def max_of_channels():
    def f(s, x):
        x = F.relu(s.a(x))
        return s.fc(pooled(F.relu(s.b(x*x.amax(1, keepdim=True)))))
    return Net(f, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 9, 3), fc=nn.Linear(9, 5)), image()

@structure(12, *[2]*12, scale=12, sign=0)                       # pairs, and in each the two that compete
def maxout(): return Net(lambda s, x: s.head(s.fc(x).view(-1, 12, 2).amax(2)), fc=nn.Linear(10, 24), head=nn.Linear(12, 5)), vector()

@structure(12, 9, scale=21, sign=9)                             # 12 through ReLU; the values of the gate 9
def softmax_gate():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.head(s.gate(x).softmax(1)*s.value(x))
    return Net(f, fc=nn.Linear(10, 12), gate=nn.Linear(12, 9), value=nn.Linear(12, 9), head=nn.Linear(9, 5)), vector()

@structure(3, 4, 4, 4, scale=0, sign=0)                         # groups that compete inside
def softmax_of_groups(): return Net(lambda s, x: s.head(s.fc(x).view(-1, 3, 4).softmax(2).flatten(1)), fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(12, scale=1, sign=0)                                 # a factor must be common
def mean_subtracted():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.head(F.relu(x - x.mean(1, keepdim=True)))
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(at_least=[4, 4, 4, 4])                               # inputs and outputs of the groups; between them every pair of groups shares 2 channels, and both
def shuffled_groups():                                          # groups of 4 cross: what is more than the inner blocks is no nesting
    def f(s, x): return s.fc(pooled(F.relu(s.c(F.relu(shuffled(F.relu(s.b(F.relu(s.a(x)))), 2))))))
    return Net(f, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 8, 1, groups=2), c=nn.Conv2d(8, 8, 3, groups=2), fc=nn.Linear(8, 5)), image()

# activations

def two_layers(act): return nn.Sequential(nn.Linear(10, 12), act(), nn.Linear(12, 9), act(), nn.Linear(9, 5)), vector()

@structure(12, 9, scale=21, sign=0)                             # the slopes move with the units
def prelu_per_channel(): return nn.Sequential(nn.Linear(10, 12), nn.PReLU(12), nn.Linear(12, 9), nn.PReLU(9), nn.Linear(9, 5)), vector()

@structure(12, 9, scale=21, sign=0)
def prelu_shared(): return two_layers(nn.PReLU)

@structure(12, 9, scale=0, sign=21)
def hardtanh_odd(): return two_layers(lambda: nn.Hardtanh(-1, 1))

@structure(12, 9, scale=0, sign=0)
def hardtanh_six(): return two_layers(lambda: nn.Hardtanh(0, 6))

@structure(12, 9, scale=0, sign=21)
def tanh_mlp(): return two_layers(nn.Tanh)

@structure(12, 9, scale=0, sign=0)
def gelu_mlp(): return two_layers(nn.GELU)

@structure(12, 9, scale=21, sign=21)                            # linear layers in a row (no more than the diagonal of all matrices)
def linear_only(): return two_layers(nn.Identity)

@structure(12, 9, scale=0, sign=0)
def swish_by_hand():
    class Swish(nn.Module):
        def forward(self, x): return x*torch.sigmoid(x)
    return two_layers(Swish)

@structure(12, 9, scale=0, sign=21)                             # x·|x| on [-1, 1] is odd
def odd_by_hand():
    class Odd(nn.Module):
        def forward(self, x): return x.clamp(-1, 1)*x.abs().clamp(max=1)
    return two_layers(Odd)

# convolutions

@structure(6, *[2]*6, 9, scale=27, sign=0)                      # 6 groups of one input and two outputs
def depthwise_multiplier():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 12, 3, groups=6), nn.ReLU(), nn.Conv2d(12, 9, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5)), image()

@structure(8, 12, scale=20, sign=0)
def conv1d():
    return nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Conv1d(8, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 5)), torch.randn(2, 3, 8)

@structure(6, 9, scale=15, sign=0)
def conv3d():
    return nn.Sequential(nn.Conv3d(2, 6, 2), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(6, 9, 2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(9, 5)), torch.randn(2, 2, 6, 6, 6)

@structure(3, 4, 4, 4, 6, 6, 6, 10, scale=40, sign=0)           # as grouped, inputs on axis 0
def grouped_transposed():
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.ConvTranspose2d(12, 18, 2, 2, groups=3), nn.ReLU(), nn.Conv2d(18, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 5)), image()

# recurrent layers

@structure(14, scale=0, sign=14)
def rnn_tanh(): return recurrent(lambda: nn.RNN(7, 14, batch_first=True), 14)

@structure(14, scale=0, sign=14)                                # the new state is odd in the candidate; the gates read it back
def gru(): return recurrent(lambda: nn.GRU(7, 14, batch_first=True), 14)

@structure(6, 6, 6, 6, scale=0, sign=24)                        # two layers, two directions
def lstm_bidirectional(): return recurrent(lambda: nn.LSTM(7, 6, num_layers=2, bidirectional=True, batch_first=True), 12)

@structure(8, 5, scale=5, sign=13)                              # cells, and their projection without activation
def lstm_projected(): return recurrent(lambda: nn.LSTM(7, 8, proj_size=5, batch_first=True), 5)

# attention

def heads_of(x, h): return x.unflatten(2, (h, -1)).transpose(1, 2)
def joined(x): return x.transpose(1, 2).flatten(2)

@structure(12, 14, 2, 6, 6, 4, 4, scale=46, sign=46)            # embedding 12, output 14, q·k 12, v 8, all between linear layers
def attention_separate():
    def f(s, x):
        x = s.embed(x)
        y = F.scaled_dot_product_attention(*(heads_of(m(x), 2) for m in (s.q, s.k, s.v)))
        return s.head(s.proj(joined(y)).mean(1))
    return Net(f, embed=nn.Linear(11, 12), q=nn.Linear(12, 12), k=nn.Linear(12, 12, bias=False), v=nn.Linear(12, 8), proj=nn.Linear(8, 14), head=nn.Linear(14, 5)), sequence()

@structure(at_least=[12, 14, 4, 5])                             # one key 4 and one value 5 for all heads; the 3 heads cross them: no nesting
def attention_multi_query():
    def f(s, x):
        x = s.embed(x)
        y = (heads_of(s.q(x), 3) @ s.k(x)[:, None].transpose(2, 3)/2).softmax(-1) @ s.v(x)[:, None]
        return s.head(s.proj(joined(y)).mean(1))
    return Net(f, embed=nn.Linear(11, 12), q=nn.Linear(12, 12), k=nn.Linear(12, 4), v=nn.Linear(12, 5), proj=nn.Linear(15, 14), head=nn.Linear(14, 5)), sequence()

@structure(12, 9, 14, 2, 6, 6, 4, 4, scale=55, sign=55)         # queries and keys come from two embeddings
def attention_cross():
    def f(s, x):
        a, b = s.a(x[:, :2]), s.b(x[:, 2:])
        y = F.scaled_dot_product_attention(heads_of(s.q(a), 2), heads_of(s.k(b), 2), heads_of(s.v(b), 2))
        return s.head(s.proj(joined(y)).mean(1))
    return Net(f, a=nn.Linear(11, 12), b=nn.Linear(11, 9), q=nn.Linear(12, 12), k=nn.Linear(9, 12), v=nn.Linear(9, 8), proj=nn.Linear(8, 14), head=nn.Linear(14, 5)), sequence(5)

@structure(at_least=[12, 14, 2, 6, 6, 4, 4])                    # 3 learned queries, averaged: they may be swapped too
def attention_pool():
    def f(s, x):
        x = s.embed(x)
        y = F.scaled_dot_product_attention(heads_of(s.q(s.asks.expand(x.shape[0], -1, -1)), 2), heads_of(s.k(x), 2), heads_of(s.v(x), 2))
        return s.head(s.proj(joined(y)).mean(1))
    return Net(f, embed=nn.Linear(11, 12), asks=weight(1, 3, 10), q=nn.Linear(10, 12), k=nn.Linear(12, 12), v=nn.Linear(12, 8), proj=nn.Linear(8, 14), head=nn.Linear(14, 5)), sequence()

def grouped_queries(meet, rotate=lambda x: x, heads=4, keys=2):
    "Attention whose queries share keys and values: `meet(q, k, v)` brings [batch, heads, tokens, 6] together."
    def f(s, x):
        x = s.into(x)
        q, k, v = (l(x).unflatten(2, (-1, 6)).transpose(1, 2) for l in (s.q, s.k, s.v))
        y = meet(rotate(q), rotate(k), v)
        return s.head((x + s.o(joined(y))).mean(1))
    widths = dict(q=6*heads, k=6*keys, v=6*keys)
    return Net(f, into=nn.Linear(11, 12), **{name: nn.Linear(12, n, bias=False) for name, n in widths.items()},
               o=nn.Linear(6*heads, 12, bias=False), head=nn.Linear(12, 5)), sequence()

def by_repeating(q, k, v):
    "Keys and values repeated before they meet the queries."
    k, v = (t.repeat_interleave(q.shape[1]//k.shape[1], 1) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v)

def by_expanding(q, k, v):
    "The same as most language models write it, with a mask."
    n = q.shape[1]//k.shape[1]
    k, v = (t[:, :, None].expand(-1, -1, n, -1, -1).reshape(t.shape[0], -1, *t.shape[2:]) for t in (k, v))
    scores = q @ k.transpose(2, 3)/6**.5
    mask = torch.full(scores.shape[-2:], float('-inf')).triu(1)
    return (scores + mask).softmax(-1) @ v

def by_folding(q, k, v):
    "Queries laid out by group; keys and values broadcast."
    q = q.unflatten(1, (k.shape[1], -1))
    y = (q @ k[:, :, None].transpose(3, 4)).softmax(-1) @ v[:, :, None]
    return y.flatten(1, 2)

def by_tiling(q, k, v):
    "Keys laid end to end: queries 0 and 2 share key 0."
    k, v = (t.repeat(1, q.shape[1]//k.shape[1], 1, 1) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v)

# the stream 12; 2 groups, in each 2 queries and the 6 dimensions of key and value; factors of stream, keys and values, which queries and output take back
@structure(12, 2, 2, 2, 6, 6, 6, 6, scale=36, sign=36)
def grouped_queries_flag(): return grouped_queries(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))

@structure(12, 2, 2, 2, 6, 6, 6, 6, scale=36, sign=36)
def grouped_queries_repeated(): return grouped_queries(by_repeating)

@structure(12, 2, 2, 2, 6, 6, 6, 6, scale=36, sign=36)
def grouped_queries_expanded(): return grouped_queries(by_expanding)

@structure(12, 2, 2, 2, 6, 6, 6, 6, scale=36, sign=36)
def grouped_queries_folded(): return grouped_queries(by_folding)

@structure(12, 2, 2, 2, 6, 6, 6, 6, scale=36, sign=36)
def grouped_queries_tiled(): return grouped_queries(by_tiling)

@structure(12, 4, 6, 6, scale=24, sign=24)                      # one key for four queries: no groups
def multi_query_repeated(): return grouped_queries(by_repeating, keys=1)

@structure(12, 4, 6, 6, scale=24, sign=24)
def multi_query_expanded(): return grouped_queries(by_expanding, keys=1)

@structure(12, 3, 2, 2, 2, *[6]*6, scale=48, sign=48)           # three groups
def grouped_queries_three(): return grouped_queries(by_repeating, heads=6, keys=3)

class Columns(nn.Module):
    "A linear map whose weight is [inputs, outputs], as GPT-2 has them."
    def __init__(self, n, m):
        super().__init__()
        self.weight, self.bias = weight(n, m), weight(m)
    def forward(self, x): return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], -1)

@structure(12, 14, scale=24, sign=38)                           # the stream and the hidden layer; two gains of 12, and signs of the hidden units
def norm_then_columns():
    def f(s, x):
        x = s.embed(x)
        x = x + s.back(torch.tanh(s.into(s.norm(x))))
        return s.head(s.last(x).mean(1))
    return Net(f, embed=nn.Linear(11, 12), norm=nn.LayerNorm(12), into=Columns(12, 14), back=Columns(14, 12), last=nn.LayerNorm(12), head=nn.Linear(12, 5)), sequence()

class Window(nn.Module):
    "Attention in windows of 2x2, maybe shifted, with a table of position biases gathered by an index."
    def __init__(self, dim, heads, shift=0):
        super().__init__()
        self.heads, self.shift = heads, shift
        self.qkv, self.proj = nn.Linear(dim, 3*dim), nn.Linear(dim, dim)
        self.table = nn.Parameter(torch.randn(9, heads))
        p = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing='ij')).flatten(1)
        d = p[:, :, None] - p[:, None] + 1
        self.register_buffer('index', (d[0]*3 + d[1]).flatten())

    def forward(self, x):
        b, _, _, d = x.shape
        if self.shift: x = torch.roll(x, (-1, -1), (1, 2))
        x = x.view(b, 2, 2, 2, 2, d).transpose(2, 3).reshape(b*4, 4, d)
        q, k, v = self.qkv(x).reshape(b*4, 4, 3, self.heads, d//self.heads).permute(2, 0, 3, 1, 4)
        a = (q*(d//self.heads)**-.5) @ k.transpose(2, 3) + self.table[self.index].view(4, 4, -1).permute(2, 0, 1)[None]
        if self.shift:
            m = x.new_zeros(4, 4)
            m[:3, :3], m[:3, 3:], m[3:, :3], m[3:, 3:] = 0, 1, 2, 3
            m = m.view(2, 2, 2, 2).transpose(1, 2).reshape(4, 4)
            m = (m[:, None] - m[:, :, None]).masked_fill(m[:, None] != m[:, :, None], -100.)
            a = (a.view(b, 4, self.heads, 4, 4) + m[None, :, None]).view(b*4, self.heads, 4, 4)
        x = (a.softmax(-1) @ v).transpose(1, 2).reshape(b, 2, 2, 2, 2, d).transpose(2, 3).reshape(b, 4, 4, d)
        x = self.proj(x)
        return torch.roll(x, (1, 1), (1, 2)) if self.shift else x

@structure(12, 2, 6, 6, 6, 6, scale=48)                         # the table moves with the heads; two gammas 24, q·k 12, v 12
def relative_bias():
    def f(s, x):
        x = s.patch(x).permute(0, 2, 3, 1)
        return s.head(s.n2(x + s.attn(s.n1(x))).mean((1, 2)))
    return Net(f, patch=nn.Conv2d(3, 12, 2, 2), n1=nn.LayerNorm(12), attn=Window(12, 2), n2=nn.LayerNorm(12), head=nn.Linear(12, 5)), image()

@structure(12, 2, 6, 6, 6, 6, scale=48)
def shifted_windows():
    def f(s, x):
        x = s.patch(x).permute(0, 2, 3, 1)
        return s.head(s.n2(x + s.attn(s.n1(x))).mean((1, 2)))
    return Net(f, patch=nn.Conv2d(3, 12, 2, 2), n1=nn.LayerNorm(12), attn=Window(12, 2, 1), n2=nn.LayerNorm(12), head=nn.Linear(12, 5)), image()

@structure(12, 12, 2, 6, 6, 6, 6, scale=48, sign=48)            # embedding, output, q·k, v: 12 each
def multihead_need_weights():
    def f(s, x):
        x = s.embed(x)
        return s.head(s.attn(x, x, x, need_weights=True)[0].mean(1))
    return Net(f, embed=nn.Linear(11, 12), attn=nn.MultiheadAttention(12, 2, batch_first=True), head=nn.Linear(12, 5)), sequence()

@structure(18, 3, *[6]*6, 20)                                   # normalised after attention and MLP; gammas go into the stream
def encoder_layer():
    def f(s, x): return s.head(s.layer(s.embed(x)).mean(1))
    return Net(f, embed=nn.Linear(11, 18), layer=nn.TransformerEncoderLayer(18, 3, 20, batch_first=True), head=nn.Linear(18, 5)), sequence()

@structure(12, 14, 2, 6, 6, 4, 4, scale=34, sign=34)            # elu + 1 holds the q·k dims: embedding 12, v 8, output 14
def linear_attention():
    def f(s, x):
        x = s.embed(x)
        q, k, v = F.elu(heads_of(s.q(x), 2)) + 1, F.elu(heads_of(s.k(x), 2)) + 1, heads_of(s.v(x), 2)
        y = q @ (k.transpose(2, 3) @ v)/(q*k.sum(2, keepdim=True)).sum(3, keepdim=True)
        return s.head(s.proj(joined(y)).mean(1))
    return Net(f, embed=nn.Linear(11, 12), q=nn.Linear(12, 12), k=nn.Linear(12, 12), v=nn.Linear(12, 8), proj=nn.Linear(8, 14), head=nn.Linear(14, 5)), sequence()

@structure(12, 14, 2, 6, 6, 4, 4, scale=48, sign=48)            # nothing between q, k and v: as attention, and a factor per head more
def bare_attention():
    def f(s, x):
        x = s.embed(x)
        return s.head(s.proj(joined(heads_of(s.q(x), 2) @ (heads_of(s.k(x), 2).transpose(2, 3) @ heads_of(s.v(x), 2)))).mean(1))
    return Net(f, embed=nn.Linear(11, 12), q=nn.Linear(12, 12), k=nn.Linear(12, 12), v=nn.Linear(12, 8), proj=nn.Linear(8, 14), head=nn.Linear(14, 5)), sequence()

@structure(12, 14, 2, 6, 6, 6, 6)                               # channels attend: queries are the outputs, keys are the values; a temperature per head
def channel_attention():
    def f(s, x):
        x = s.embed(x)
        q, k, v = (heads_of(m(x), 2).transpose(2, 3) for m in (s.q, s.k, s.v))
        y = (F.normalize(q, dim=3) @ F.normalize(k, dim=3).transpose(2, 3)*s.heat).softmax(-1) @ v
        return s.head(s.proj(y.permute(0, 3, 1, 2).flatten(2)).mean(1))
    return Net(f, embed=nn.Linear(11, 12), q=nn.Linear(12, 12), k=nn.Linear(12, 12), v=nn.Linear(12, 12), heat=weight(2, 1, 1), proj=nn.Linear(12, 14), head=nn.Linear(14, 5)), sequence()

@structure(12, 6, 20, scale=24)                                 # tokens are pinned; 6 hidden over tokens, 20 over channels; gammas of the last two norms
def mlp_mixer():
    def f(s, x):
        x = s.embed(x)
        x = x + s.tokens(s.n1(x).transpose(1, 2)).transpose(1, 2)
        x = x + s.channels(s.n2(x))
        return s.head(s.n3(x).mean(1))
    hidden = lambda i, h: nn.Sequential(nn.Linear(i, h), nn.GELU(), nn.Linear(h, i))
    return Net(f, embed=nn.Linear(11, 12), n1=nn.LayerNorm(12), tokens=hidden(4, 6), n2=nn.LayerNorm(12), channels=hidden(12, 20), n3=nn.LayerNorm(12), head=nn.Linear(12, 5)), sequence()

# products

@structure(12, scale=12, sign=0)
def einsum(): return Net(lambda s, x: torch.einsum('bh,ho->bo', F.relu(torch.einsum('bi,ih->bh', x, s.w1)), s.w2), w1=weight(10, 12), w2=weight(12, 5)), vector()

@structure(at_least=[])                                         # 12 units on two axes at once; heads and dims of one size are a part of that
def einsum_heads():
    return Net(lambda s, x: torch.einsum('bthd,hdo->bo', F.relu(torch.einsum('bti,ihd->bthd', x, s.w1)), s.w2), w1=weight(11, 3, 4), w2=weight(3, 4, 5)), sequence()

@structure(at_least=[7])                                        # hidden units of all experts at once; those of each expert alone sit on a product of axes
def bmm():
    def f(s, x):
        x = F.relu(torch.bmm(x.expand(3, -1, -1), s.w1.transpose(1, 2)) + s.b1[:, None])
        return torch.bmm(x, s.w2).sum(0)
    return Net(f, w1=weight(3, 7, 10), b1=weight(3, 7), w2=weight(3, 7, 5)), vector()

@structure(at_least=[3])                                        # hidden units of an expert sit on axes that are not neighbours
def experts():
    def f(s, x):
        gate = s.gate(x).softmax(1)
        y = torch.einsum('beh,eho->beo', F.gelu(torch.einsum('bi,eih->beh', x, s.w1)), s.w2)
        return (y*gate[:, :, None]).sum(1)
    return Net(f, gate=nn.Linear(10, 3), w1=weight(3, 10, 7), w2=weight(3, 7, 5)), vector()

@structure(12, 9, 7, scale=28, sign=0)
def bilinear(): return Net(lambda s, x: s.head(F.relu(s.mix(F.relu(s.a(x)), F.relu(s.b(x))))), a=nn.Linear(10, 12), b=nn.Linear(10, 9), mix=nn.Bilinear(12, 9, 7), head=nn.Linear(7, 5)), vector()

@structure(12, scale=24, sign=0)                                # both factors have a scale, the head takes their product
def product(): return Net(lambda s, x: s.head(F.relu(s.a(x))*F.relu(s.b(x))), a=nn.Linear(10, 12), b=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(12)
def cosine_head(): return Net(lambda s, x: F.linear(F.normalize(F.relu(s.fc(x))), F.normalize(s.head)), fc=nn.Linear(10, 12), head=weight(5, 12)), vector()

@structure(12, scale=0, sign=12)                                # the norm sees no sign
def norm_divided():
    def f(s, x):
        x = torch.tanh(s.fc(x))
        return s.head(x/(x.norm(dim=1, keepdim=True) + 1))
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

# normalisation

@structure(8, 9, sign=0)                                        # no gamma to carry a factor behind the norm (its variance could)
def bn_without_affine():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5)), image()

@structure(4, 9, scale=29, sign=0)                              # four slots per unit in the norm; 4 + gammas 16 + 9
def bn_after_flatten():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 5)), image()

@structure(8, 9)
def bn_without_statistics():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5)), image()

@structure(8, scale=8)                                          # channels on axis 0 of gamma; one factor for all places of a channel
def layernorm_chw(): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.LayerNorm([8, 6, 6]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), image()

@structure(8, 9, scale=17, sign=8)                              # gamma 8 and 9; a sign per row, taken back by gamma
def instancenorm():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5)), image()

@structure(at_least=[9])                                        # neighbours on a line: at most its reflection
def local_response_norm():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.LocalResponseNorm(3), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5)), image()

@structure(12, 9)                                               # direction and length move together (factors of a direction change nothing)
def weight_norm(): return nn.Sequential(parametrizations.weight_norm(nn.Linear(10, 12)), nn.ReLU(), parametrizations.weight_norm(nn.Linear(12, 9)), nn.ReLU(), nn.Linear(9, 5)), vector()

@structure(12, 9)                                               # so do the two singular vectors
def spectral_norm(): return nn.Sequential(nn.Linear(10, 12), nn.ReLU(), parametrizations.spectral_norm(nn.Linear(12, 9)), nn.ReLU(), nn.Linear(9, 5)), vector()

@structure(8, 9)
def weight_standardised():
    class Conv(nn.Conv2d):
        def forward(self, x):
            mean, var = self.weight.mean((1, 2, 3), keepdim=True), self.weight.var((1, 2, 3), keepdim=True)
            return F.conv2d(x, (self.weight - mean)/(var + 1e-5).sqrt(), self.bias)
    return nn.Sequential(Conv(3, 8, 3), nn.ReLU(), Conv(8, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5)), image()

@structure(8, 9)                                                # the statistics of the input are no hidden units
def input_normaliser():
    return Net(lambda s, x: s.net((x - s.mean)/s.std), mean=torch.rand(1, 3, 1, 1), std=1 + torch.rand(1, 3, 1, 1),
               net=nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 5))), image()

@structure()                                                    # a buffer that is no statistic of hidden units stays, and so do the units it multiplies
def nonpersistent_buffer():
    m = Net(lambda s, x: s.head(F.relu(s.fc(x))*s.keep), fc=nn.Linear(10, 12), head=nn.Linear(12, 5))
    m.register_buffer('keep', torch.rand(12), persistent=False)
    return m, vector()

# writes in place

@structure(8, scale=8, sign=0)
def inplace():
    def f(s, x):
        x = s.a(x).relu_()
        y = s.b(x)
        y += x
        return s.fc(pooled(y.relu_()))
    return Net(f, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 8, 3, padding=1), fc=nn.Linear(8, 5)), image()

@structure(3, 5, scale=8, sign=5)                               # 3 pass ReLU, written through a view; 5 do not
def inplace_view():
    def f(s, x):
        x = s.a(x)
        x[:, :3].relu_()
        return s.fc(pooled(x))
    return Net(f, a=nn.Conv2d(3, 8, 3), fc=nn.Linear(8, 5)), image()

# operations that mix channels: what lies before them must still be found

def through(op, width=12): return Net(lambda s, x: s.head(op(F.relu(s.b(F.relu(s.a(x)))))), a=nn.Linear(10, 9), b=nn.Linear(9, 12), head=nn.Linear(width, 5)), vector()

@structure(at_least=[9])
def sorted_channels(): return through(lambda x: x.sort(1)[0])

@structure(at_least=[9])
def cumulated_channels(): return through(lambda x: x.cumsum(1))

@structure(at_least=[9])
def top_channels(): return through(lambda x: x.topk(4, 1)[0], 4)

@structure(at_least=[9])
def fourier_channels(): return through(lambda x: torch.fft.rfft(x, dim=1).abs(), 7)

@structure(at_least=[9])
def rolled_channels(): return through(lambda x: x*x.roll(1, 1) + x)

# states, modes and outputs

@structure(refused=True)
def control_flow():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.head(x) if x.sum() > 3 else s.head(-x)
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(12, 5)), vector()

@structure(12, 9, scale=21, sign=0)                             # found on generic weights, not on these
def zero_head():
    m, x = two_layers(nn.ReLU)
    for p in m[-1].parameters(): nn.init.zeros_(p)
    return m, x

@structure(12, 9, scale=21, sign=0)
def dropout_in_training(): return nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 9), nn.Dropout(), nn.ReLU(), nn.Linear(9, 5)).train(), vector()

@structure(12, 9, scale=21, sign=0)
def half_precision():
    m, x = two_layers(nn.ReLU)
    return m.half(), x.half()

@structure(12, 9, scale=9, sign=12)                             # the hook is the only activation of the first layer: tanh
def forward_hook():
    m = nn.Sequential(nn.Linear(10, 12), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 5))
    m[0].register_forward_hook(lambda module, args, out: torch.tanh(out))
    return m, vector()

@structure(12, scale=12, sign=0)
def two_outputs():
    def f(s, x):
        x = F.relu(s.fc(x))
        return s.head(x), s.other(x)
    return Net(f, fc=nn.Linear(10, 12), head=nn.Linear(12, 5), other=nn.Linear(12, 3)), vector()

# not one of the list: the planted problem of the tests and benches of alignment

class ResidualStream(nn.Module):
    "The stream hears of the outside through two inputs and two outputs only."
    def __init__(self, depth=4, width=30, hidden=50):
        super().__init__()
        self.first, self.last = nn.Linear(2, width, bias=False), nn.Linear(width, 2, bias=False)
        self.up = nn.ModuleList(nn.Linear(width, hidden, bias=False) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(hidden, width, bias=False) for _ in range(depth))
    def forward(self, x):
        x = self.first(x)
        for u, d in zip(self.up, self.down): x = x + d(u(x).relu())
        return self.last(x)

def names_of_tests():
    "Every structure, as parameters of a test: a cross-section for `make test`, the others marked long."
    import pytest
    short = {*PEERS, *[*STRUCTURES][::3]}
    return [name if name in short else pytest.param(name, marks=pytest.mark.long) for name in STRUCTURES]
