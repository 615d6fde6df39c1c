"""Makes small random checkpoints of families with grouped queries, and what Transformers computes on them, in fp32.

Usage: grouped_models.py FOLDER SEED [ROUNDS]

Each case becomes FOLDER/NAME with config.json, model.safetensors under the release's tensor names, and
expected.safetensors: input_ids, logits, and `greedy`, eight tokens continued from 1, 2, 3; with a block of
multi-token prediction also `drafts`, its logits of all tokens but the last. FP8
cases store e4m3 with 128x128 scales, MXFP4 cases the blocks of gpt-oss; Transformers gets the same weights
dequantised to fp32, the blocks by its own code. A prompt, the greedy text and the drafts are kept only if four
disturbances of 1e-6 move no logit by more than 4e-5, and the greedy text if the best two of each step are 1e-3 apart:
where a gate or a choice is almost tied, two right programs may choose differently. Sums in another order were seen to
move a logit up to 1.8 times as far, so 1e-4 leaves room on every CPU.
"""

import copy
import json
import os
import random
import sys

import torch
from safetensors.torch import save_file
from transformers import Glm4MoeConfig, Glm4MoeForCausalLM, MiniMaxM2Config, MiniMaxM2ForCausalLM
from transformers import GptOssConfig, GptOssForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from fp8_blocks import quantise

FOLDER, SEED = sys.argv[1], int(sys.argv[2])
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 2
torch.set_num_threads(1)
SHAPES = 40

YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
KINDS = {
    "qwen": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
    "glm": (Glm4MoeConfig, Glm4MoeForCausalLM),
    "minimax": (MiniMaxM2Config, MiniMaxM2ForCausalLM),
    "oss": (GptOssConfig, GptOssForCausalLM),
}
OSS_YARN = dict(YARN, beta_fast=32.0, beta_slow=1.0, truncate=False)
LONG = dict(max_position_embeddings=1024, num_hidden_layers=2, num_local_experts=4, num_experts_per_tok=4)
# Family, how matrices are stored (None for plain numbers), and what is not drawn.
CASES = {
    "qwen": ("qwen", None, {}),
    "qwen-normalised": ("qwen", None, dict(norm_topk_prob=True)),
    "qwen-dense": ("qwen", None, dict(decoder_sparse_step=2, num_hidden_layers=4, mlp_only_layers=[3])),
    "qwen-bias": ("qwen", None, dict(attention_bias=True)),
    "qwen-tied": ("qwen", None, dict(tie_word_embeddings=True)),
    "qwen-yarn": ("qwen", None, dict(rope_scaling=YARN)),
    "qwen-yarn-scale": ("qwen", None, dict(rope_scaling=dict(YARN, mscale=0.7))),
    "qwen-yarn-scales": ("qwen", None, dict(rope_scaling=dict(YARN, mscale=0.7, mscale_all_dim=1.3))),
    "qwen-fp8": ("qwen", "fp8", {}),
    "qwen-fp8-ragged": ("qwen", "fp8", dict(hidden_size=200, moe_intermediate_size=130, intermediate_size=288)),
    "glm": ("glm", None, {}),
    "glm-groups": ("glm", None, dict(n_routed_experts=16, n_group=4, topk_group=2, num_experts_per_tok=3)),
    "glm-no-norm": ("glm", None, dict(use_qk_norm=False, first_k_dense_replace=2, partial_rotary_factor=0.25)),
    "glm-mtp": ("glm", None, dict(num_nextn_predict_layers=1)),
    "glm-yarn": ("glm", None, dict(rope_scaling=dict(YARN, mscale_all_dim=1.3))),
    "glm-fp8": ("glm", "fp8", dict(use_qk_norm=True)),
    "minimax": ("minimax", None, {}),
    "minimax-whole": ("minimax", None, dict(rotary_dim=24, head_dim=24)),
    "minimax-yarn": ("minimax", None, dict(rope_scaling=dict(YARN, mscale=1.3, mscale_all_dim=0.7))),
    "minimax-fp8": ("minimax", "fp8", {}),
    "oss": ("oss", None, {}),
    "oss-odd": ("oss", None, dict(hidden_size=200, intermediate_size=130, swiglu_limit=0.75)),
    "oss-full": ("oss", None, dict(layer_types=["full_attention"] * 2, num_hidden_layers=2)),
    "oss-plain-rope": ("oss", None, dict(rope_scaling=dict(rope_type="default"))),
    "oss-blocks": ("oss", "mxfp4", {}),
    "oss-blocks-wide": ("oss", "mxfp4", dict(hidden_size=288, intermediate_size=224, num_attention_heads=8,
                                             num_key_value_heads=2, head_dim=64, swiglu_limit=7.0)),
    # Longer than two chunks of 256 positions, over which attention sums; all experts, so that none is almost tied.
    "oss-long": ("oss", None, dict(LONG, sliding_window=128)),
    "oss-blocks-long": ("oss", "mxfp4", dict(LONG, sliding_window=300)),
}


def shape(rng, family, forced):
    key_heads = rng.choice([1, 2, 3])
    head = rng.choice([16, 24, 72])
    c = dict(
        hidden_size=rng.choice([64, 96, 160, 200]), intermediate_size=rng.choice([96, 130, 288]),
        num_hidden_layers=rng.randint(2, 4), num_attention_heads=key_heads * rng.choice([1, 2, 5]),
        num_key_value_heads=key_heads, head_dim=head, vocab_size=rng.choice([200, 333]),
        max_position_embeddings=512, rms_norm_eps=rng.choice([1e-6, 1e-5]), bos_token_id=0, eos_token_id=1,
        tie_word_embeddings=False, rope_theta=rng.choice([10000.0, 1000000.0]))
    if family == "oss":
        c.update(
            hidden_size=rng.choice([64, 96, 160]), intermediate_size=rng.choice([32, 64, 160]), rope_theta=150000.0,
            num_local_experts=rng.choice([4, 8, 12]), num_experts_per_tok=rng.randint(1, 4), attention_bias=True,
            sliding_window=rng.choice([1, 7, 16, 33]), swiglu_limit=rng.choice([0.5, 2.0, 7.0]), rope_scaling=OSS_YARN,
            rms_norm_eps=1e-5)
    elif family == "qwen":
        c.update(
            num_experts=rng.choice([4, 8, 12]), num_experts_per_tok=rng.randint(1, 4), norm_topk_prob=False,
            moe_intermediate_size=rng.choice([24, 48, 130]), decoder_sparse_step=1, mlp_only_layers=[],
            attention_bias=False)
    elif family == "glm":
        c.update(
            n_routed_experts=rng.choice([4, 8]), num_experts_per_tok=rng.randint(1, 4), n_group=1, topk_group=1,
            moe_intermediate_size=rng.choice([24, 48, 130]), n_shared_experts=rng.choice([1, 2]),
            first_k_dense_replace=rng.randint(0, 1), routed_scaling_factor=rng.choice([1.0, 2.5]),
            norm_topk_prob=True, attention_bias=True, use_qk_norm=rng.random() < 0.5, partial_rotary_factor=0.5,
            num_nextn_predict_layers=0)
    else:
        c.update(
            num_local_experts=rng.choice([4, 8, 12]), num_experts_per_tok=rng.randint(1, 4), rotary_dim=head // 2,
            use_qk_norm=True, qk_norm_type="per_layer", scoring_func="sigmoid", use_routing_bias=True,
            shared_intermediate_size=0, attn_type_list=[1] * c["num_hidden_layers"])
    c.update(copy.deepcopy(forced))
    if family == "oss":
        kinds = [("full" if i % 2 else "sliding") + "_attention" for i in range(c["num_hidden_layers"])]
        c.setdefault("layer_types", kinds)
    return c


def blocks(weight):
    """MXFP4 of `[experts, inputs, outputs]` as gpt-oss stores it: blocks and scales `[experts, outputs, ...]`."""
    groups = weight.transpose(1, 2).reshape(weight.shape[0], weight.shape[2], -1, 32)
    exponents = groups.abs().amax(-1).log2().floor() - 2
    units = groups / exponents.exp2()[..., None]
    steps = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    codes = (units.abs()[..., None] - steps).abs().argmin(-1) + 8 * (units < 0)
    return (codes[..., ::2] | codes[..., 1::2] << 4).to(torch.uint8), (exponents + 127).to(torch.uint8)


def released(model, family, form, tied):
    """The release's tensors; with a form, quantises what releases quantise and widens it in the model."""
    tensors = {}
    fp8 = form == "fp8"
    minimax = family == "minimax"
    gate, up, down = ("w1", "w3", "w2") if minimax else ("gate_proj", "up_proj", "down_proj")

    def put(name, parameter, quantised):
        name = name.replace(".mlp.", ".block_sparse_moe.") if minimax else name
        if fp8 and quantised:
            stored, scales, wide = quantise(parameter.data)
            tensors[name], tensors[name + "_scale_inv"] = stored, scales
            parameter.data.copy_(wide)
        else:
            tensors[name] = parameter.data.clone().contiguous()

    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if "rotary_emb" in name or tied and name == "lm_head.weight":
            continue
        if family == "oss":
            if form == "mxfp4" and name.endswith("_proj"):
                numbers, scales = blocks(tensor.data)
                tensors[name + "_blocks"], tensors[name + "_scales"] = numbers.contiguous(), scales.contiguous()
                tensor.data.copy_(convert_moe_packed_tensors(numbers, scales, dtype=torch.float32))
            else:
                tensors[name] = tensor.data.clone().contiguous()
        elif name.endswith("experts.gate_up_proj"):
            base, half = name[: -len("gate_up_proj")], tensor.shape[1] // 2
            for expert in range(tensor.shape[0]):
                put(f"{base}{expert}.{gate}.weight", tensor[expert, :half], True)
                put(f"{base}{expert}.{up}.weight", tensor[expert, half:], True)
        elif name.endswith("experts.down_proj"):
            base = name[: -len("down_proj")]
            for expert in range(tensor.shape[0]):
                put(f"{base}{expert}.{down}.weight", tensor[expert], True)
        else:
            plain = ("embed_tokens", "lm_head", "norm", "mlp.gate.")
            put(name, tensor, tensor.dim() == 2 and not any(word in name for word in plain))
    return tensors


def fill(model, generator, tied):
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if "rotary_emb" in name:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if "e_score_correction_bias" in name:
            tensor.copy_(0.1 * noise)
        elif name.endswith("bias"):
            tensor.copy_(0.3 * noise)
        elif name.endswith("sinks"):
            tensor.copy_(noise)
        elif tensor.dim() == 1:
            tensor.copy_(1 + 0.2 * noise)
        elif "embed_tokens" in name and not tied:
            tensor.copy_(noise)
        else:
            is_transposed = isinstance(model, GptOssForCausalLM) and tensor.dim() == 3
            tensor.copy_(noise * 1.5 / tensor.shape[1 if is_transposed else -1] ** 0.5)


def settled(logits, ids, hidden, generator):
    """The logits of embeddings times 1; None if they change with embeddings that are disturbed."""
    plain = logits(ids, torch.ones(1))
    for _ in range(4):
        disturbed = logits(ids, 1 + 1e-6 * torch.randn((1, ids.shape[1], hidden), generator=generator))
        if (disturbed - plain).abs().max() > 4e-5:
            return None
    return plain


def logits_of(model):
    embed = model.get_input_embeddings()
    return lambda ids, factor: model(inputs_embeds=embed(ids) * factor).logits[0]


def prompt(model, vocabulary, rng, generator, lengths):
    """A prompt and its logits; None if each is too close to a tie."""
    for _ in range(20):
        ids = torch.randint(0, vocabulary, (1, rng.randint(*lengths)), generator=generator)
        found = settled(logits_of(model), ids, model.config.hidden_size, generator)
        if found is not None:
            return ids, found
    return None


def greedy_text(model, generator):
    """Eight tokens that continue 1, 2, 3; None if a step is too close to a tie."""
    text = [1, 2, 3]
    for _ in range(8):
        text.append(int(model(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
    found = settled(logits_of(model), torch.tensor([text[:-1]]), model.config.hidden_size, generator)
    if found is None:
        return None
    best = found[2:].topk(2).values
    return text[3:] if (best[:, 0] - best[:, 1]).min() > 1e-3 else None


def block_of_mtp(model, tensors, generator):
    """Takes the last block out of a model and gives it what a block of multi-token prediction has beside a block.

    Returns the drafts of a prompt: the block runs as the only one of the model, over joined rows (DeepSeek-V3
    report, section 2.2: norm of the embedding first, then of the hidden state, which is the normed one)."""
    layers, final = model.model.layers, model.model.norm
    last, hidden = len(layers) - 1, model.config.hidden_size
    model.model.layers = layers[:last]
    eps, head = model.config.rms_norm_eps, torch.nn.Parameter(1 + 0.2 * torch.randn(hidden, generator=generator))
    norms = [1 + 0.2 * torch.randn(hidden, generator=generator) for _ in range(2)]
    projection = torch.randn(hidden, 2 * hidden, generator=generator) * 1.5 / (2 * hidden) ** 0.5
    prefix = f"model.layers.{last}."
    tensors.update({
        prefix + "enorm.weight": norms[0], prefix + "hnorm.weight": norms[1], prefix + "eh_proj.weight": projection,
        prefix + "shared_head.norm.weight": head.data.clone(),
        prefix + "embed_tokens.weight": model.model.embed_tokens.weight.data.clone(),
        prefix + "shared_head.head.weight": model.lm_head.weight.data.clone()})

    def drafts(ids, factor):
        embedded = model.model.embed_tokens(ids) * factor
        state = model.model(inputs_embeds=embedded).last_hidden_state[:, :-1]
        joined = torch.cat([x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w
                            for x, w in zip((embedded[:, 1:], state), norms)], -1)
        kept, weight = model.model.layers, final.weight
        model.model.layers, final.weight = layers[last:], head
        logits = model(inputs_embeds=joined @ projection.T).logits[0]
        model.model.layers, final.weight = kept, weight
        return logits

    return drafts


@torch.no_grad()
def make(name, index, family, form, forced):
    """Writes one case; False if this shape has no prompt, greedy text or drafts that are not almost tied."""
    rng = random.Random(SEED * 100_000 + index)
    generator = torch.Generator().manual_seed(SEED * 100_000 + index)
    values = shape(rng, family, forced)
    kind, network = KINDS[family]
    # The block of multi-token prediction is made as one more block.
    more = values.get("num_nextn_predict_layers", 0)
    made = dict(values, num_hidden_layers=values["num_hidden_layers"] + more)
    config = kind(**made, attn_implementation="eager", experts_implementation="eager")
    model = network(config).float().eval()
    fill(model, generator, values["tie_word_embeddings"])
    tensors = released(model, family, form, values["tie_word_embeddings"])
    drafts = block_of_mtp(model, tensors, generator) if more else None
    lengths = (520, 700) if name.endswith("-long") else (20, 80)
    found, greedy = prompt(model, values["vocab_size"], rng, generator, lengths), greedy_text(model, generator)
    if found is None or greedy is None:
        return False
    ids, logits = found
    expected = dict(input_ids=ids[0].int(), logits=logits.contiguous(), greedy=torch.tensor(greedy).int())
    if drafts:
        drafted = settled(drafts, ids, values["hidden_size"], generator)
        if drafted is None:
            return False
        expected["drafts"] = drafted.contiguous()
    folder = os.path.join(FOLDER, name)
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, os.path.join(folder, "model.safetensors"))
    save_file(expected, os.path.join(folder, "expected.safetensors"))
    values.update(architectures=[network.__name__], model_type=config.model_type, hidden_act="silu")
    if form == "mxfp4":
        values["quantization_config"] = dict(quant_method="mxfp4", modules_to_not_convert=[
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"])
    if form == "fp8":
        values["quantization_config"] = dict(
            quant_method="fp8", fmt="e4m3", weight_block_size=[128, 128], activation_scheme="dynamic")
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(values, file)
    return True


for turn in range(ROUNDS):
    for number, (label, case) in enumerate(CASES.items()):
        name, index = f"{turn}-{label}", 1000 * turn + number
        # Other shapes of the same seed, until one can be compared.
        if not any(make(name, index + len(CASES) * draw, *case) for draw in range(SHAPES)):
            raise SystemExit(f"{name}: no shape of {SHAPES} without near ties")
