"""Numbers of alignment, paths and flatness that a change of structure must not change.

    python tests/kept/record.py [alignment large landscape] > tests/kept/numbers.json     (without names: all three)

The networks are trained in float64, so that another processor ends at the same weights; what is measured on them is measured in float32, as always.
"""
import json, sys
import torch
from torch import nn

LANDSCAPE = dict(     # width, epochs, rate
    mlp=(.2, 40, .05),
    lenet=(.5, 30, .05),
    resnet18=(.0625, 25, .05),
    vgg16_bn=(.125, 20, .02))
SIGMAS = (.1, .2, .3, .4, .5)

def digits():
    "[n, 1, 8, 8] float32 and int64 [n]: half of the digits of scikit-learn."
    from sklearn.datasets import load_digits
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:900, None]/8 - 1
    return x, torch.tensor(data.target)[:900]

def trained(arch, seed, x, y):
    "A network and its state: plain SGD with momentum in float64, rounded to float32 at the end."
    from landscape_nb.models import make_model
    from landscape_nb.symmetries import state_of
    width, epochs, lr = LANDSCAPE[arch]
    torch.manual_seed(seed)
    net = make_model(arch, classes=10, channels=1, size=8, width=width).double()
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=.9)
    gen = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for idx in torch.randperm(len(x), generator=gen).split(50):
            opt.zero_grad()
            nn.functional.cross_entropy(net(x[idx].double()), y[idx]).backward()
            opt.step()
    return net.float().eval(), state_of(net.float())

def landscape(archs=tuple(LANDSCAPE)):
    "20 barriers, 20 local energies, 4 distances."
    from landscape_nb.alignment import align
    from landscape_nb.evaluate import Evaluator
    from landscape_nb.flatness import local_energy
    from landscape_nb.paths import Path, barrier, removed
    from landscape_nb.symmetries import find_symmetries
    from landscape_nb.torus import Torus
    x, y = digits()
    out = {}
    for arch in archs:
        (net, a), (_, b) = trained(arch, 0, x, y), trained(arch, 1, x, y)
        sym = find_symmetries(net, x[:2])
        T, ev = Torus(sym), Evaluator(net, (x, y), batch_size=300)
        r = align(sym, T.project(a), T.project(b), 'best')
        ways = removed(T, a, b, r.element)
        found = {k: barrier(ev, way, 11, refine=0) for k, way in ways.items()}
        middle = T.geodesic(T.project(a), r.state, .5)
        chain = Path((T.project(a), middle, T.project(b)), T)
        found['chain'] = barrier(ev, chain, 11, refine=0, statistics='none')
        for k, o in found.items():
            out[f'barrier, {arch}, {k}'] = dict(value=o.value, errors=o.errors.tolist())
        table = local_energy(ev, T, a, SIGMAS, 5, torch.Generator().manual_seed(0))
        for row in table.itertuples(): out[f'energy, {arch}, {row.sigma:g}'] = dict(value=row.energy)
        out[f'distance, {arch}'] = dict(value=T.dist(T.project(a), r.state), objective=r.objective)
    return out

def aligned(names, methods):
    "The objectives of pairs of torchvision with their default initialisation, seeds 0 and 1, permutations alone."
    import torchvision
    from landscape_nb.alignment import align
    from landscape_nb.symmetries import find_symmetries, state_of
    out = {}
    for name in names:
        models = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            models.append(torchvision.models.get_model(name, weights=None).eval())
        size = 224 if name.startswith('vit') else 64
        sym = find_symmetries(models[0], torch.randn(2, 3, size, size))
        a, b = map(state_of, models)
        for method in methods:
            r = align(sym, a, b, method, kinds=('permute',))
            parts = [(a[k].double()*r.state[k].double()).sum().item() for k, _ in models[0].named_parameters()]
            out[f'{name}, {method}'] = dict(value=sum(parts), objective=r.objective)
    return out

PARTS = dict(
    alignment=lambda: aligned(['resnet18'], ('greedy', 'cd', 'bary', 'best')),
    large=lambda: aligned(['vgg11_bn', 'densenet121', 'vit_b_16'], ('bary',)),
    landscape=landscape)


if __name__ == '__main__': print(json.dumps({k: PARTS[k]() for k in sys.argv[1:] or PARTS}, indent=1))
