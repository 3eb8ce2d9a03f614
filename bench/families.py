"""Does `find_symmetries` hold for the networks that people take from timm and transformers? One JSON.

    python bench/families.py [NAME ...] [--jobs 1] [--limit-seconds 600] [--limit-gib 8] [--resume] [--retry VERDICT ...] [--list] [--out FILE]

One network of every family of timm that builds in seconds, the smallest or nearly so, with random weights; and networks of transformers from small
configurations, with the parts of the large ones: as many layers as it takes for every kind of layer to occur, fewer units in each.
Every network runs in its own process, as in bench/symmetries.py, and is judged by the same oracle; verdicts and columns are those of that bench.
A row that is refused says why; so does every operation at which something was left alone ('frozen_first').
Neither package is a dependency: where they are not there, they are installed into an environment of their own in the cache.
"""
import importlib.util, os, sys
import torch
from torch import nn
from landscape_nb.store import stream
from oracle import accepts, answer, options, own_python, run_child, sweep, version_in
from symmetries import HEAD, measure, show, totals

NEEDED = 'timm==1.0.31', 'transformers==5.24.0'

# the smallest of its module, or the smallest whose blocks are those of the others; a number is the side of the images
TIMM = '''beit_base_patch16_224 botnet26t_256 halonet26t lambda_resnet26t eca_resnet33ts gernet_s mobileone_s0 cait_xxs24_224 coat_lite_tiny
convit_tiny convmixer_768_32 convnext_atto convnextv2_atto crossvit_9_240 cs3darknet_s davit_tiny deit3_small_patch16_224 densenet121 dla46_c dpn48b
edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_b0 tf_efficientnetv2_b0 efficientvim_m1 efficientvit_b0 efficientvit_m0
eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 ghostnetv2_100 ghostnetv3_050 hardcorenas_a hgnetv2_b0
hiera_tiny_224 hrnet_w18_small inception_next_atto inception_v4 lcnet_050 levit_128s levit_conv_128s mambaout_femto maxvit_rmlp_pico_rw_256
coatnet_pico_rw_224 poolformer_s12 poolformerv2_s12 caformer_s18 mixer_s32_224 gmlp_ti16_224 resmlp_12_224 mobilenetv3_small_050 mobilenetv4_conv_small
mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nextvit_small nfnet_l0 eca_nfnet_l0 pit_ti_224 pvt_v2_b0 rdnet_tiny regnetx_002 regnety_002
regnetz_005 repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_14w_8s resnest14d ecaresnet26t resnet10t resnetv2_18 resnetv2_50x1_bit rexnet_100 selecsls42
legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s1 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224
tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_svt_small vgg11_bn visformer_tiny vit_tiny_patch16_224 vit_relpos_small_patch16_224 samvit_base_patch16
volo_d1_224 ese_vovnet19b_slim xception41 xcit_nano_12_p16_224'''.split()

# transformers

class Logits(nn.Module):
    "A network of transformers as a function of tensors that returns its logits."
    def __init__(self, net, names, **fixed):
        super().__init__()
        self.net, self.names, self.fixed = net, names, fixed
    def forward(self, *xs): return self.net(**dict(zip(self.names, xs)), **self.fixed, return_dict=True).logits

def words(vocabulary=50, length=6): return torch.randint(3, vocabulary, (2, length), generator=stream('bench', 'words'))
def pictures(side=32): return torch.randn(2, 3, side, side, generator=stream('bench', 'images'))

WIDE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
TEXT = dict(vocab_size=50, max_position_embeddings=16)

def text_net(kind, config, head, **more):
    "A network that reads words."
    import transformers as hf
    c = getattr(hf, f'{config}Config')(**TEXT, **more)
    net = getattr(hf, f'{kind}{head}')(c)
    fixed = {} if head.endswith('SequenceClassification') else dict(use_cache=False)
    return Logits(net, ['input_ids'], **fixed), (words(),)

def image_net(kind, **more):
    "A network that reads images, for 10 classes."
    import transformers as hf
    c = getattr(hf, f'{kind}Config')(num_labels=10, **more)
    return Logits(getattr(hf, f'{kind}ForImageClassification')(c), ['pixel_values']), (pictures(c.image_size if hasattr(c, 'image_size') else 32),)

def bert(): return text_net('Bert', 'Bert', 'ForSequenceClassification', num_labels=10, **WIDE)
def roberta(): return text_net('Roberta', 'Roberta', 'ForSequenceClassification', num_labels=10, pad_token_id=1, **WIDE)
def distilbert():
    return text_net('DistilBert', 'DistilBert', 'ForSequenceClassification', num_labels=10, dim=32, n_layers=2, n_heads=4, hidden_dim=48)
def gpt2(): return text_net('GPT2', 'GPT2', 'LMHeadModel', n_embd=32, n_layer=2, n_head=4, n_inner=48)
def gpt_neox(): return text_net('GPTNeoX', 'GPTNeoX', 'ForCausalLM', **WIDE)
def llama(): return text_net('Llama', 'Llama', 'ForCausalLM', **WIDE)
def llama_grouped(): return text_net('Llama', 'Llama', 'ForCausalLM', num_key_value_heads=2, **WIDE)
def mistral(): return text_net('Mistral', 'Mistral', 'ForCausalLM', num_key_value_heads=2, **WIDE)
def qwen2(): return text_net('Qwen2', 'Qwen2', 'ForCausalLM', num_key_value_heads=2, **WIDE)
def qwen3(): return text_net('Qwen3', 'Qwen3', 'ForCausalLM', num_key_value_heads=2, head_dim=8, **WIDE)
def gemma(): return text_net('Gemma', 'Gemma', 'ForCausalLM', num_key_value_heads=1, head_dim=8, **WIDE)
def phi(): return text_net('Phi', 'Phi', 'ForCausalLM', **WIDE)
def opt(): return text_net('OPT', 'OPT', 'ForCausalLM', hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=32)
def mixtral(): return text_net('Mixtral', 'Mixtral', 'ForCausalLM', num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, **WIDE)
def mamba():
    import transformers as hf
    c = hf.MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=2)
    return Logits(hf.MambaForCausalLM(c), ['input_ids'], use_cache=False), (words(),)
def t5():
    import transformers as hf
    c = hf.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    return Logits(hf.T5ForConditionalGeneration(c), ['input_ids', 'decoder_input_ids'], use_cache=False), (words(), words(length=4))
def vit(): return image_net('ViT', image_size=32, patch_size=8, **WIDE)
def deit(): return image_net('DeiT', image_size=32, patch_size=8, **WIDE)
def dinov2(): return image_net('Dinov2', image_size=28, patch_size=14, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
def swin(): return image_net('Swin', image_size=32, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4)
def convnext(): return image_net('ConvNext', image_size=32, depths=[1, 1, 2, 1], hidden_sizes=[8, 12, 16, 20])
def resnet(): return image_net('ResNet', embedding_size=8, hidden_sizes=[16, 24], depths=[2, 2])
def segformer():
    return image_net('Segformer', depths=[1, 1], num_encoder_blocks=2, hidden_sizes=[16, 24], num_attention_heads=[2, 2], sr_ratios=[2, 1],
                     patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[2, 2], decoder_hidden_size=16)

HF = dict(BERT=bert, RoBERTa=roberta, DistilBERT=distilbert, **{'GPT-2': gpt2, 'GPT-NeoX': gpt_neox, 'LLaMA': llama, 'LLaMA-grouped': llama_grouped},
          Mistral=mistral, Qwen2=qwen2, Qwen3=qwen3, Gemma=gemma, Phi=phi, OPT=opt, Mixtral=mixtral, Mamba=mamba, T5=t5, ViT=vit, DeiT=deit, DINOv2=dinov2,
          Swin=swin, ConvNeXt=convnext, ResNet=resnet, SegFormer=segformer)

def timm_family(name):
    "A network of timm on the smallest images that it takes."
    import timm
    own = timm.get_pretrained_cfg(name, allow_unregistered=True).input_size[-1]
    torch.manual_seed(0)
    try: model = timm.create_model(name, pretrained=False, num_classes=10, img_size=64).eval()     # transformers that can be built for small images
    except Exception: model = timm.create_model(name, pretrained=False, num_classes=10).eval()
    for side in (64, 128, own):
        x = torch.randn(2, 3, side, side, generator=stream('bench', 'images'))
        if accepts(model, x): return model, x
    raise ValueError(f'{name} takes neither 64 pixels nor its own size')

def family(name):
    "The network of a row, and a batch for it."
    if name not in HF: return timm_family(name)
    torch.manual_seed(0)
    net, inputs = HF[name]()
    return net.eval(), inputs if len(inputs) > 1 else inputs[0]

if __name__ == '__main__':
    parser = options(__doc__, 600., 8., 'families.json', None)
    parser.add_argument('--planted', type=int, default=5, help='tensors that are put back, one at a time')
    o = parser.parse_args()
    if o.child: answer(measure, o.child, family, o.planted)
    every = [*HF, *TIMM]
    names = o.names or every
    if o.list: print(*names, sep='\n'); sys.exit()
    there = all(importlib.util.find_spec(p) for p in ('timm', 'transformers'))
    python = sys.executable if there else own_python('families', *NEEDED, whole=True)
    os.environ |= dict(HF_HUB_OFFLINE='1', TRANSFORMERS_VERBOSITY='error')
    if o.jobs > 1: os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1)//o.jobs)))
    run = lambda name: run_child([python, '-W', 'ignore', __file__, '--child', name, '--planted', str(o.planted)], o.limit_seconds, o.limit_gib)
    print(HEAD, flush=True)
    versions = version_in(python, 'timm', 'transformers')
    rows = []
    for wanted, of in ((HF, 'transformers'), (TIMM, 'timm')):
        mine = [n for n in names if (n in HF) == (wanted is HF)]
        if mine: rows += sweep(mine, [*wanted], run, o.out, show, o, totals, tags=dict(list=of), versions=versions)
    sys.exit(any(r['verdict'] in ('WRONG', 'blind') for r in rows))
