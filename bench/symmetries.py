"""Does `find_symmetries` hold for every classifier of torchvision, and for 30 assorted ones of timm? One JSON.

    python bench/symmetries.py [NAME ...] [--timm] [--jobs 1] [--limit-seconds 600] [--limit-gib 18] [--resume] [--list] [--out FILE]

Every network runs in its own process: built with random weights, small images (bench/oracle.py: `SIDES`), `find_symmetries` timed after a warm-up
on a small net (so that imports are not counted), then judged by the oracle of bench/oracle.py, which shares no code with the search.
Verdicts: 'verified'; 'refused' (UnsupportedModelError); 'WRONG' (a random element, of all kinds or of one kind, moves the logits); 'blind' (a
moved tensor that is put back does not move the logits by 1000 times the limit, though new values in it would); 'empty' (nothing was found, so
nothing was tried); 'error'; 'timeout'.
Columns: seconds of the search; peak memory above the level before it, as a multiple of the weights; parameters; blocks, those nested in another,
and units; families; continuous dimensions; things frozen; coverage of the channel axes; the largest change under an element against the limit;
the smallest change of a planted error; and whether blocks and units are those counted by hand in EXPECTED.
timm is no dependency: when it is not there, it is installed into an environment of its own in the cache.
"""
import importlib.util, json, os, re, sys, time, traceback
import torch
from torch import nn
from oracle import answer, first_line, options, Oracle, ours, own_python, peak_of, run_child, sweep, timm_net, torchvision_net, version_in

TIMM = 'timm==1.0.31'
TIMM_NETS = '''vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 beit_base_patch16_224 swin_tiny_patch4_window7_224 convnextv2_atto tf_efficientnet_lite0
mobilenetv3_small_050 mobilevit_xxs mixer_s32_224 resmlp_12_224 gmixer_12_224 poolformer_s12 regnety_002 resnest14d res2net50_14w_8s ecaresnet26t
hrnet_w18_small dla34 dpn68 ghostnet_050 repvgg_a0 nfnet_l0 xcit_nano_12_p16_224 cait_xxs24_224 coat_lite_tiny levit_128s tnt_s_patch16_224
volo_d1_224 eva02_tiny_patch14_224 crossvit_tiny_240'''.split()

# Blocks and units by hand. A residual stream is one block: all that write into it are tied. A depthwise convolution ties what it reads to what it
# writes. The squeeze layer of a gate is a block, its excite layer belongs to the channels it gates. Branches of a concatenation are a block each.
# Heads: one outer block of the heads, and nested per head one of the query-key and one of the value dimensions. Grouped convolution, g groups of m:
# one outer block of g, and nested per group one of its m inputs and one of its m outputs. A block of one unit is none.
EXPECTED = {}

def expect(names, *parts):
    "`parts`: (how many blocks, units in each)."
    for n in names.split(): EXPECTED[n] = sum(k for k, _ in parts), sum(k*u for k, u in parts)

def each(*sizes): return [(1, s) for s in sizes]

# all but the last layer: 5 convolutions, of which the last is flattened with 36 positions a unit, and 2 layers of 4096
expect('alexnet', *each(64, 192, 384, 256, 256), (2, 4096))
# every convolution, and 2 layers of 4096
expect('vgg11 vgg11_bn', *each(64, 128), (2, 256), (4, 512), (2, 4096))
expect('vgg13 vgg13_bn', (2, 64), (2, 128), (2, 256), (4, 512), (2, 4096))
expect('vgg16 vgg16_bn', (2, 64), (2, 128), (3, 256), (6, 512), (2, 4096))
expect('vgg19 vgg19_bn', (2, 64), (2, 128), (4, 256), (8, 512), (2, 4096))
# stem, then per fire module its squeeze layer and two expand layers that are concatenated; the last convolution writes the classes
FIRE = [(16, 64), (32, 128), (48, 192), (64, 256)]
expect('squeezenet1_0', (1, 96), *[(2, s) for s, _ in FIRE], *[(4, e) for _, e in FIRE])
expect('squeezenet1_1', (1, 64), *[(2, s) for s, _ in FIRE], *[(4, e) for _, e in FIRE])

def basic(names, depths):
    "4 streams (the stem writes into the first), and inside every residual block its first convolution."
    expect(names, *[(1, 64*2**k) for k in range(4)], *[(d, 64*2**k) for k, d in enumerate(depths)])

def bottleneck(names, depths, per_group=64, groups=1):
    "The stem, 4 streams of 256 to 2048, and inside every residual block two layers of width w, the second of them grouped when groups > 1."
    w = [per_group*groups*2**k for k in range(4)]
    inner = [(2*d, v) for d, v in zip(depths, w)] if groups == 1 else [o for d, v in zip(depths, w) for o in [(d, groups), (2*d*groups, v//groups)]]
    expect(names, (1, 64), *[(1, 256*2**k) for k in range(4)], *inner)

basic('resnet18', (2, 2, 2, 2)); basic('resnet34', (3, 4, 6, 3))
bottleneck('resnet50', (3, 4, 6, 3)); bottleneck('resnet101', (3, 4, 23, 3)); bottleneck('resnet152', (3, 8, 36, 3))
bottleneck('wide_resnet50_2', (3, 4, 6, 3), 128); bottleneck('wide_resnet101_2', (3, 4, 23, 3), 128)
bottleneck('resnext50_32x4d', (3, 4, 6, 3), 4, 32); bottleneck('resnext101_32x8d', (3, 4, 23, 3), 8, 32); bottleneck('resnext101_64x4d', (3, 4, 23, 3), 4, 64)

def dense(name, stem, growth, depths):
    "The stem, two layers per dense layer (4*growth, growth), and a transition after all but the last dense block, half as wide as what it reads."
    width, transitions = stem, []
    for d in depths[:-1]: transitions.append((width+d*growth)//2); width = transitions[-1]
    expect(name, (1, stem), (sum(depths), 4*growth), (sum(depths), growth), *each(*transitions))

dense('densenet121', 64, 32, (6, 12, 24, 16)); dense('densenet161', 96, 48, (6, 12, 36, 24))
dense('densenet169', 64, 32, (6, 12, 32, 32)); dense('densenet201', 64, 32, (6, 12, 48, 32))

# 3 stem convolutions, then 9 modules of 6 layers: 1x1, reduce, 3x3, reduce, 5x5, pool projection; the auxiliary heads do not run
expect('googlenet', *each(64, 64, 192), *each(64, 96, 128, 16, 32, 32), *each(128, 128, 192, 32, 96, 64), *each(192, 96, 208, 16, 48, 64),
       *each(160, 112, 224, 24, 64, 64), *each(128, 128, 256, 24, 64, 64), *each(112, 144, 288, 32, 64, 64), (2, 256), (2, 160), (2, 320), (2, 32), (4, 128),
       *each(384, 192, 384, 48, 128, 128))

def inverted(name, stem, stages, *head, squeeze=None):
    """Inverted residual blocks, `stages`: (expansion, channels, repeats); one stream per stage, since only repeats within it have a shortcut; a hidden
    layer per block, tied through its depthwise convolution, but none where the expansion is 1 (the stem is it). `squeeze(inputs)`: of the gate."""
    parts, c = each(stem, *head), stem
    for t, out, n in stages:
        parts.append((1, out))
        for _ in range(n):
            if t > 1: parts.append((1, t*c))
            if squeeze: parts.append((1, squeeze(c)))
            c = out
    expect(name, *parts)

inverted('mobilenet_v2', 32, [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)], 1280)
inverted('mnasnet1_0', 32, [(1, 16, 1), (3, 24, 3), (3, 40, 3), (6, 80, 3), (6, 96, 2), (6, 192, 4), (6, 320, 1)], 1280)
inverted('efficientnet_b0', 32, [(1, 16, 1), (6, 24, 2), (6, 40, 2), (6, 80, 3), (6, 112, 3), (6, 192, 4), (6, 320, 1)], 1280, squeeze=lambda c: c//4)
# stem (it is the first hidden layer), 5 streams, 10 more hidden layers, the gates of 9 of the 11 blocks (hidden/4, rounded to eights), 2 layers at the end
expect('mobilenet_v3_small', *each(16, 16, 24, 40, 48, 96), *each(72, 88, 96, 240, 240, 120, 144, 288, 576, 576),
       *each(8, 24, 64, 64, 32, 40, 72, 144, 144), *each(576, 1024))

# the stem and 4 streams; per block with G groups of 8 and w = 8G: the groups, inputs and outputs of each, and a gate of round(inputs/4)
expect('regnet_y_400mf', *each(32, 48, 104, 208, 440), *[o for d, g in [(1, 6), (3, 13), (6, 26), (6, 55)] for o in [(d, g), (2*d*g, 8)]],
       *each(8, 12), (2, 26), (1, 26), (5, 52), (1, 52), (5, 110))

def convnext(name, depths, width):
    "4 streams, to which the depthwise convolutions belong, and one hidden layer of four times the width per block."
    expect(name, *[(1, width*2**k) for k in range(4)], *[(d, 4*width*2**k) for k, d in enumerate(depths)])

convnext('convnext_tiny', (3, 3, 9, 3), 96); convnext('convnext_small', (3, 3, 27, 3), 96)
convnext('convnext_base', (3, 3, 27, 3), 128); convnext('convnext_large', (3, 3, 27, 3), 192)

def transformer(names, stages, *more):
    "`stages`: (blocks, width, heads). A stream per stage; per block a hidden layer of four times the width, the heads, and 2 nested blocks per head."
    expect(names, *[o for d, w, h in stages for o in [(1, w), (d, 4*w), (d, h), (2*d*h, w//h)]], *more)

transformer('vit_b_16 vit_b_32', [(12, 768, 12)]); transformer('vit_l_16 vit_l_32', [(24, 1024, 16)]); transformer('vit_h_14', [(32, 1280, 16)])
swin = lambda depths, width, heads: [(d, width*2**k, heads*2**k) for k, d in enumerate(depths)]
# version 2 has in every block a small net of 512 hidden units for the position biases
for size, *shape in (('t', (2, 2, 6, 2), 96, 3), ('s', (2, 2, 18, 2), 96, 3), ('b', (2, 2, 18, 2), 128, 4)):
    transformer(f'swin_{size}', swin(*shape)); transformer(f'swin_v2_{size}', swin(*shape), (sum(shape[0]), 512))

# what was counted before this table was written
for name, counted in dict(resnet18=(12, 2880), vgg11_bn=(10, 10944), densenet121=(120, 10240), vit_b_16=(313, 56208), swin_t=(304, 28074)).items():
    assert EXPECTED[name] == counted, (name, EXPECTED[name])

# one network

def measure(name, build, planted):
    "The row of one network; what is known so far is printed before the oracle starts."
    from landscape_nb.symmetries import UnsupportedModelError, find_symmetries
    find_symmetries(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(2, 4))      # imports and first calls
    start = time.perf_counter(); model, x = build(name)
    row = dict(input=list(x.shape) if isinstance(x, torch.Tensor) else [list(e.shape) for e in x], parameters=sum(p.numel() for p in model.parameters()), build_seconds=time.perf_counter()-start)
    size = sum(t.numel()*t.element_size() for t in [*model.parameters(), *model.buffers()])
    try: sym, row['seconds'], peak = peak_of(lambda: find_symmetries(model, x))
    except UnsupportedModelError as e: return row | dict(verdict='refused', why=first_line(e))
    except Exception as e: return row | dict(verdict='error', why=f'find_symmetries: {first_line(e)}', traceback=traceback.format_exc(limit=-4).splitlines())
    row |= dict(memory=None if peak is None else peak/size, blocks=len(sym.blocks), nested=sum(b.parent is not None for b in sym.blocks), units=sum(b.n for b in sym.blocks),
                families=len(sym.families), dimension=sym.dimension, log10_order=sym.log10_order, parameter_coverage=sym.coverage,
                frozen=len(sym.frozen), frozen_first=[at_home(f'{f.what} at {f.where}: {f.why}') for f in sym.frozen[:5]])
    if name in EXPECTED: row |= dict(expected=EXPECTED[name], as_expected=EXPECTED[name] == (row['blocks'], row['units']))
    print(json.dumps(row), flush=True)
    start = time.perf_counter(); o = Oracle(model, x, name)
    kinds = tuple(k for k in ('permute', *sorted({f.kind for f in sym.families} - {'output', 'shift'})) if k != 'permute' or sym.blocks)
    row |= dict(floor=o.floor, limit=o.limit, kinds=kinds, change={k: o.change(sym.sample(generator=o.gen, kinds=(k,))(o.a)) for k in kinds})
    if kinds:
        moved = sym.sample(generator=o.gen, kinds=kinds)(o.a)
        row['change']['all'] = o.change(moved)
        row['planted'], row['planted_in'] = o.planted(moved, planted)
        del moved
    row |= dict(coverage=o.coverage(ours(sym)), verify_seconds=time.perf_counter()-start)
    worst = max(row['change'].values(), default=0.)
    row['verdict'] = 'empty' if not kinds else 'WRONG' if not worst <= o.limit else 'blind' if row.get('planted') is not None and row['planted'] <= o.visible else 'verified'
    if row['verdict'] == 'WRONG': row['why'] = ', '.join(f'{k} {v:.1e}' for k, v in row['change'].items() if not v <= o.limit) + f' > {o.limit:.0e}'
    if row['verdict'] == 'blind': row['why'] = f'{row["planted_in"]} put back: {row["planted"]:.1e}, wanted more than {o.visible:.0e}'
    return row

def at_home(text):
    "A place in a file without the folder that this machine keeps its packages in."
    return re.sub(r'"[^"]*/site-packages/', '"', text)

HEAD = f'{"network":32s}{"verdict":10s}{"sec":>8s}{"memory":>8s}{"params":>9s}{"blocks":>8s}{"nested":>8s}{"units":>9s}{"fam":>6s}{"dim":>9s}{"frozen":>7s}{"covered":>9s}{"change":>9s}{"planted":>9s}  by hand'

def show(r):
    cell = lambda k, f: format(r[k], f) if r.get(k) is not None else '-'
    change = format(max(r['change'].values()), '.0e') if r.get('change') else '-'
    hand = '' if 'expected' not in r else 'the same' if r['as_expected'] else f'NOT {r["expected"][0]:,} blocks, {r["expected"][1]:,} units'
    print(f'{r["name"]:32s}{r["verdict"]:10s}{cell("seconds", ".1f"):>8s}{cell("memory", ".2f"):>8s}{cell("parameters", ",") if r.get("parameters", 0) < 1e6 else format(r["parameters"]/1e6, ".1f")+"M":>9s}'
          f'{cell("blocks", ","):>8s}{cell("nested", ","):>8s}{cell("units", ","):>9s}{cell("families", ","):>6s}{cell("dimension", ","):>9s}{cell("frozen", "d"):>7s}{cell("coverage", ".2%"):>9s}'
          f'{change:>9s}{cell("planted", ".0e"):>9s}  {hand}{"  "+r["why"] if r.get("why") else ""}', flush=True)

def totals(rows):
    verdicts = [r['verdict'] for r in rows]
    covered, timed, held = ([r for r in rows if r.get(k) is not None] for k in ('coverage', 'seconds', 'memory'))
    slowest, biggest = max(timed, key=lambda r: r['seconds'], default=None), max(held, key=lambda r: r['memory'], default=None)
    return dict(networks=len(rows), **{v: verdicts.count(v) for v in ('verified', 'refused', 'WRONG', 'blind', 'empty', 'error', 'timeout')},
                mean_coverage=sum(r['coverage'] for r in covered)/len(covered) if covered else None, fully_covered=sum(r['coverage'] == 1 for r in covered),
                least_covered=sorted(((r['coverage'], r['name']) for r in covered))[:5],
                seconds=sum(r['seconds'] for r in timed), slowest=[slowest['name'], slowest['seconds']] if slowest else None,
                most_memory=[biggest['name'], biggest['memory']] if biggest else None, units=sum(r.get('units') or 0 for r in rows),
                by_hand=sum('expected' in r for r in rows), by_hand_same=sum(r.get('as_expected', False) for r in rows))

if __name__ == '__main__':
    parser = options(__doc__, 600., 18., 'symmetries.json', None)
    parser.add_argument('--timm', action='store_true', help='the list of timm instead of torchvision')
    parser.add_argument('--planted', type=int, default=5, help='tensors that are put back, one at a time')
    o = parser.parse_args()
    if o.child: answer(measure, o.child, timm_net if o.timm else torchvision_net, o.planted)
    from torchvision import models
    every = TIMM_NETS if o.timm else models.list_models(module=models)
    names = o.names or every
    if o.list: print(*names, sep='\n'); sys.exit()
    if not o.timm and (bad := set(names) - set(every)): parser.error(f'no such network: {sorted(bad)}')
    python = own_python('timm', TIMM) if o.timm and not importlib.util.find_spec('timm') else sys.executable
    if o.jobs > 1: os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1)//o.jobs)))
    run = lambda name: run_child([python, '-W', 'ignore', __file__, '--child', name, '--planted', str(o.planted), *['--timm']*o.timm], o.limit_seconds, o.limit_gib)
    print(HEAD, flush=True)
    rows = sweep(names, every, run, o.out, show, o, totals, tags=dict(list='timm' if o.timm else 'torchvision'), **(dict(versions=version_in(python, 'timm')) if o.timm else {}))
    sys.exit(any(r['verdict'] in ('WRONG', 'blind') or r.get('as_expected') is False for r in rows))
