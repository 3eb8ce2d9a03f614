"""The permutations that `find_symmetries`, rebasin and torch-pruning see in the same networks, judged by the same oracle. One JSON.

    python bench/peers.py [NET ...] [--tools ours rebasin torch-pruning] [--jobs 1] [--limit-seconds 120] [--resume] [--list] [--out FILE]

Nets are 16 of torchvision, one per family, and the small structures of tests/structures.py (PEERS there) when that file is present. Every net and
tool runs in its own process; rebasin and torch-pruning are installed from PyPI into environments of their own in the cache.

What a tool says is permutable together is permuted at random, all of it at once, in the random float64 state of bench/oracle.py:
- ours: the permutations of a random element;
- rebasin: every permutation object of `PermutationCoordinateDescent(model, copy, example)` set at random, and its own `apply_permutations` on the copy;
- torch-pruning: every group of `DependencyGraph.get_all_groups` as `BasePruner` reads it: root index k is a unit, and its positions are what pruning k
  removes. With channel groups (grouped convolutions, group norms, heads) a unit is one place in all of them, as when it prunes; of attention also
  whole heads. Units with other numbers of positions are not exchanged. It is told what its manual asks for: the layers that write the logits
  (`ignored_layers`) and the numbers of heads (`num_heads`, where a module has that attribute, or `heads`). It promises networks that run, not the same
  function: 'wrong' here says that its groups are no symmetries, not that it prunes wrongly. Of an LSTM the four gates of a unit are taken together.
Verdicts: 'right' (the logits stay); 'right but statistics' (they stay once the running statistics are the same for all channels: rebasin leaves these
behind, and has them computed anew from data); 'wrong' (with the number of groups that are right by themselves); 'nothing'; 'refused'
(UnsupportedModelError); 'crash'; 'timeout'. Seconds are those of the search, after one of a small net. Coverage is that of bench/oracle.py, of what
the tool permutes, right or not. The order of the group (decimal digits) says what coverage does not: units that only move together lower it.
"""
import copy, math, os, signal, sys, time, traceback
from collections import defaultdict
from pathlib import Path
import torch
from torch import nn
from oracle import answer, batch, first_line, options, Oracle, ours, own_python, relative, run_child, structure_names, structure_net, sweep, torchvision_net, version_in

NETS = '''alexnet vgg11_bn resnet18 resnext50_32x4d densenet121 googlenet squeezenet1_1 mobilenet_v2 mobilenet_v3_small mnasnet0_5 shufflenet_v2_x0_5
efficientnet_b0 regnet_y_400mf convnext_tiny vit_b_32 swin_t'''.split()
TOOLS = {'ours': (), 'rebasin': ('rebasin==0.0.47', 'torchview==0.2.7', 'graphviz==0.21'), 'torch-pruning': ('torch-pruning==1.6.1',)}

# Each tool gives act(state, generator, part=None): all that it found, or one part of it, permuted at random; and the sizes of the parts.

def find_ours(model, x, last):
    from landscape_nb.symmetries import find_symmetries
    sym = find_symmetries(model, x)
    return ours(sym), [b.n for b in sym.blocks]

def find_rebasin(model, x, last):
    from rebasin import PermutationCoordinateDescent
    from rebasin.paths import LinearPath
    twin = copy.deepcopy(model)
    graph = PermutationCoordinateDescent(model, twin, x).pinit.model_graph
    flat = lambda path: list(path) if isinstance(path, LinearPath) else [m for p in path for m in flat(p)]
    perms = {id(p): p for m in flat(graph) for p, _ in m.permutation_to_info if p is not None}
    perms = [p for p in perms.values() if len(p) > 1]
    tensors = dict(twin.named_parameters()) | dict(twin.named_buffers())
    def act(state, gen, part=None):
        for k, p in enumerate(perms): p.perm_indices = torch.randperm(len(p), generator=gen) if part in (None, k) else torch.arange(len(p))
        for k, t in tensors.items(): t.data = state[k]
        graph.apply_permutations()
        return {k: t.data for k, t in tensors.items()}
    return act, [len(p) for p in perms]

def find_torch_pruning(model, x, last):
    import torch_pruning as tp
    kind, heads = tp.ops.OPTYPE, {}
    for m in model.modules():
        n = getattr(m, 'num_heads', getattr(m, 'heads', 0))
        if not isinstance(n, int) or not n: continue
        inside = [getattr(m, a, None) for a in 'qkv q k v kv q_proj k_proj v_proj query key value'.split()]
        heads |= {c: n for c in ([m] if isinstance(m, nn.MultiheadAttention) else inside) if isinstance(c, (nn.Linear, nn.MultiheadAttention))}
    modules = dict(model.named_modules())
    pruner = tp.pruner.BasePruner(model, batch(x), importance=None, ignored_layers=[modules[n] for n in last], num_heads=heads, in_channel_groups={}, out_channel_groups={})
    graph, name_of = pruner.DG, {id(t): n for n, t in [*model.named_parameters(), *model.named_buffers()]}

    def places(dep, i):
        "(tensor, axis, position) of everything that pruning index `i` of this target removes."
        m, outputs = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
        t = dep.target.type
        if t == kind.PARAMETER: return [(m, dep.target.pruning_dim % m.dim(), i)]
        if t == kind.CONV:
            axis = int(outputs == m.transposed)
            return [(m.weight, axis, i % m.weight.shape[axis])] + [(m.bias, 0, i)]*outputs     # inputs of a grouped convolution: the place in its group
        if t == kind.LINEAR: return [(m.weight, 0, i), (m.bias, 0, i)] if outputs else [(m.weight, 1, i)]
        if t == kind.EMBED: return [(m.weight, 1, i)]
        if t == kind.MHA:
            three = [(p, 0, i+k*m.embed_dim) for p in (m.in_proj_weight, m.in_proj_bias) for k in range(3)]
            return three + [(m.in_proj_weight, 1, i), (m.out_proj.weight, 0, i), (m.out_proj.weight, 1, i), (m.out_proj.bias, 0, i)]
        if t == kind.LSTM:
            if not outputs: return [(m.weight_ih_l0, 1, i)]
            return [(p, 0, i+k*m.hidden_size) for p in (m.weight_ih_l0, m.weight_hh_l0, m.bias_ih_l0, m.bias_hh_l0) for k in range(4)] + [(m.weight_hh_l0, 1, i)]
        if t in (kind.BN, kind.LN, kind.GN, kind.IN, kind.DEPTHWISE_CONV, kind.PRELU):
            own = [(getattr(m, a, None), 0, i) for a in ('weight', 'bias', 'running_mean', 'running_var')]
            return [o for o in own if o[0] is None or o[0].numel() > 1]
        return []

    blocks = []
    def add(group, unit_of):
        "Permutable units of one group: those that touch the same places equally often."
        units = defaultdict(lambda: defaultdict(dict))      # unit -> (tensor, axis) -> positions, in order
        for item in group:
            for i, root in zip(item.idxs, item.root_idxs):
                if root is None: continue
                for tensor, axis, position in places(item.dep, i):
                    if tensor is not None: units[unit_of[root]][name_of[id(tensor)], axis][position] = None
        alike = defaultdict(list)
        for unit, at in units.items(): alike[tuple(sorted((key, len(v)) for key, v in at.items()))].append(at)
        for shape, members in alike.items():
            if len(members) > 1: blocks.append((len(members), [(*key, torch.tensor([list(at[key]) for at in members])) for key, _ in shape]))
    for group in graph.get_all_groups(ignored_layers=pruner.ignored_layers, root_module_types=pruner.root_module_types):
        if any(dep.target.type == kind.OUTPUT for dep, _ in group): continue
        attends, _ = pruner._is_atten_group(group)
        if attends: group = pruner._downstream_node_as_root_if_attention(group)
        if group is None: continue
        roots, groups = list(group[0].root_idxs), pruner._get_channel_groups(group)
        size = len(roots)//groups
        if groups > 1 and attends: add(group, {r: k//size for k, r in enumerate(roots)})
        add(group, {r: k % size if groups > 1 else k for k, r in enumerate(roots)})
    def act(state, gen, part=None):
        out = dict(state)
        for k, (n, wires) in enumerate(blocks):
            if part not in (None, k): continue
            perm = torch.randperm(n, generator=gen)
            for name, axis, index in wires:
                source = torch.arange(out[name].shape[axis])
                source[index] = index[perm]
                out[name] = out[name].index_select(axis, source)
        return out
    return act, [n for n, _ in blocks]

FIND = {'ours': find_ours, 'rebasin': find_rebasin, 'torch-pruning': find_torch_pruning}

# one network and one tool

def judge(o, act, parts, seconds):
    "Verdict and numbers; single parts are tried for at most `seconds`."
    row = dict(change=max(o.change(act(o.a, o.gen)) for _ in range(2)), limit=o.limit, coverage=o.coverage(lambda s, g: act(s, g)))
    if row['coverage'] == 0: return row | dict(verdict='nothing')
    if row['change'] <= o.limit: return row | dict(verdict='right')
    even = {k: torch.full_like(v, 1.2 if k.endswith('var') else .3) if k.endswith(('running_mean', 'running_var')) else v for k, v in o.a.items()}
    y = o.logits(even)
    change = lambda *part: relative(y, o.logits(act(even, o.gen, *part)))
    if len({k for k in even if even[k] is not o.a[k]}) and max(change() for _ in range(2)) <= o.limit: return row | dict(verdict='right but statistics')
    start, right, tried = time.perf_counter(), 0, 0
    for k in range(parts):
        if time.perf_counter()-start > seconds: break
        tried += 1; right += change(k) <= o.limit
    return row | dict(verdict='wrong', parts=parts, parts_tried=tried, parts_right=right)

def measure(tool, net, limit):
    build = torchvision_net if net in NETS or net not in structure_names() else structure_net
    o = Oracle(*build(net), net)
    axes, last = o.channel_axes()
    o.channel_axes = lambda: (axes, last)
    name_of = {m: n for n, m in o.model.named_modules()}
    model, x = build(net)
    FIND[tool](nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(2, 4), ['2'])     # imports and first calls
    def stop(*_): raise TimeoutError(f'more than {limit:g} s')
    signal.signal(signal.SIGALRM, stop); signal.setitimer(signal.ITIMER_REAL, limit, 5)      # again and again: some tools catch everything
    start = time.perf_counter()
    try: act, sizes = FIND[tool](model, x, [name_of[m] for m in last])
    except TimeoutError as e: return dict(verdict='timeout', why=str(e))
    except Exception as e:
        where = traceback.extract_tb(e.__traceback__)[-1]
        return dict(verdict='refused' if type(e).__name__ == 'UnsupportedModelError' else 'crash', why=f'{first_line(e)} ({Path(where.filename).name}:{where.lineno})', seconds=time.perf_counter()-start)
    finally: signal.setitimer(signal.ITIMER_REAL, 0)
    row = dict(seconds=time.perf_counter()-start, blocks=len(sizes), units=sum(sizes), log10_order=sum(math.lgamma(n+1) for n in sizes)/math.log(10))
    try: return row | judge(o, act, 0 if tool == 'ours' else len(sizes), limit)
    except Exception as e: return row | dict(verdict='crash', why=f'while it permutes: {first_line(e)}')

def show(r):
    covered, seconds, order = (format(r[k], f) if r.get(k) is not None else '-' for k, f in (('coverage', '.1%'), ('seconds', '.1f'), ('log10_order', '.0f')))
    note = f'{r["parts_right"]} of {r["parts_tried"]} parts right' + (f', {r["parts"]} in all' if r['parts'] > r['parts_tried'] else '') if r.get('parts') else ''
    print(f'{r["name"]:42s}{r["verdict"]:22s}{seconds:>8s} s{covered:>8s}{order:>8s} digits  {note}{r.get("why", "")[:140]}', flush=True)

def totals(rows):
    out = {}
    for tool in TOOLS:
        mine = [r for r in rows if r['name'].endswith('/'+tool)]
        verdicts = [r['verdict'] for r in mine]
        right = [r for r in mine if r['verdict'].startswith('right')]
        out[tool] = dict(networks=len(mine), **{v: verdicts.count(v) for v in dict.fromkeys(verdicts)}, covered_where_right=sum(r['coverage'] for r in right)/len(right) if right else None,
                         covered_of_all=sum(r['coverage'] for r in right)/len(mine) if mine else None)
    return out

def pivot(rows):
    "One line per network."
    by = {r['name']: r for r in rows}
    cell = lambda r: '-' if r is None else f'{r["verdict"]}' + (f' {r["coverage"]:.0%} {r["log10_order"]:.0f}d' if r.get('coverage') else '') + (f' {r["seconds"]:.1f}s' if r.get('seconds') is not None else '')
    print('\n'+f'{"network":28s}'+''.join(f'{t:40s}' for t in TOOLS))
    for net in dict.fromkeys(n.rpartition('/')[0] for n in by): print(f'{net:28s}'+''.join(f'{cell(by.get(f"{net}/{t}")):40s}' for t in TOOLS))

if __name__ == '__main__':
    parser = options(__doc__, 120., 12., 'peers.json', 2)
    parser.add_argument('--tools', nargs='+', choices=TOOLS, default=list(TOOLS))
    o = parser.parse_args()
    if o.child: answer(measure, *o.child, o.limit_seconds)
    nets = o.names or [*NETS, *structure_names()]
    if o.list: print(*nets, sep='\n'); sys.exit()
    pythons = {t: own_python(t, *r) if r else sys.executable for t, r in TOOLS.items() if t in o.tools}
    versions = {p: v for t in pythons if TOOLS[t] for p, v in version_in(pythons[t], *[r.split('==')[0] for r in TOOLS[t]]).items()}
    if o.jobs > 1: os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1)//o.jobs)))
    def run(name):
        net, _, tool = name.rpartition('/')
        return run_child([pythons[tool], '-W', 'ignore', __file__, '--child', tool, net, '--limit-seconds', str(o.limit_seconds)], 3*o.limit_seconds+120, o.limit_gib)
    every = [f'{n}/{t}' for n in [*NETS, *structure_names()] for t in TOOLS]
    rows = sweep([f'{n}/{t}' for n in nets for t in o.tools], every, run, o.out, show, o, totals, versions=versions)
    pivot(rows)
