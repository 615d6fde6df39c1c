"""Makes small random checkpoints in published layouts, and what they compute.

Usage: layouts.py FOLDER

Each case becomes FOLDER/NAME with config.json, safetensors under the published names, types and scale layouts,
and expected.safetensors: input_ids, logits [tokens, vocab] of a plain float64 forward over the dequantised
weights, and `greedy`, four tokens that continue input_ids. The forward was compared with Transformers 5.23.
"""

import json
import math
import os
import sys

import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
BF16, F16, F32, E8M0 = torch.bfloat16, torch.float16, torch.float32, torch.float8_e8m0fnu


class Reference:
    """Latent attention, dense or over chosen tokens, and experts as DeepSeek publishes them, without a cache."""

    def __init__(self, c, weights):
        self.c, self.w = c, {k: v.double() for k, v in weights.items()}
        rope = c.get("rope_parameters") or {}
        scaling = c.get("rope_scaling")
        theta = rope.get("rope_theta", c.get("rope_theta", 10000.0))
        d = c["qk_rope_head_dim"]
        self.frequencies = theta ** (-torch.arange(0, d, 2).double() / d)
        self.scale = (c["qk_nope_head_dim"] + d) ** -0.5
        self.magnitude = 1.0
        if scaling:
            self.stretch(scaling, theta, d)

    def stretch(self, scaling, theta, d):
        factor, original = scaling["factor"], scaling["original_max_position_embeddings"]

        def dimension(turns):
            return d * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

        def mscale(m):
            return 0.1 * m * math.log(factor) + 1.0

        low, high = dimension(scaling["beta_fast"]), dimension(scaling["beta_slow"])
        if scaling.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, d - 1)
        ramp = ((torch.arange(d // 2).double() - low) / (high - low)).clamp(0, 1)
        self.frequencies = self.frequencies / factor * ramp + self.frequencies * (1 - ramp)
        all_dim = scaling["mscale_all_dim"]
        self.magnitude = scaling.get("attention_factor", mscale(scaling["mscale"]) / mscale(all_dim))
        self.scale *= mscale(all_dim) ** 2

    def norm(self, x, name, eps):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * self.w[name]

    def rotate(self, x, interleave=None):
        angles = torch.arange(x.shape[0]).double()[:, None] * self.frequencies
        cos, sin = angles.cos() * self.magnitude, angles.sin() * self.magnitude
        while cos.dim() < x.dim():
            cos, sin = cos[:, None], sin[:, None]
        if self.c.get("rope_interleave", True) if interleave is None else interleave:
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def choose(self, x, q, p):
        """Which tokens each token sees: the first of equal scores, all of no more than index_topk."""
        c, w, n = self.c, self.w, x.shape[0]
        heads, size, rope = c["index_n_heads"], c["index_head_dim"], c["qk_rope_head_dim"]
        interleave = c.get("indexer_rope_interleave", c["model_type"] == "glm_moe_dsa")
        k = x @ w[p + "wk.weight"].T
        k = torch.nn.functional.layer_norm(k, (size,), w[p + "k_norm.weight"], w[p + "k_norm.bias"], 1e-6)
        q = (q @ w[p + "wq_b.weight"].T).view(n, heads, size)
        q = torch.cat((self.rotate(q[..., :rope], interleave), q[..., rope:]), -1)
        k = torch.cat((self.rotate(k[..., :rope], interleave), k[..., rope:]), -1)
        weights = x @ w[p + "weights_proj.weight"].T * heads ** -0.5 * size ** -0.5
        scores = torch.einsum("qh,qhk->qk", weights, torch.einsum("qhd,kd->qhk", q, k).relu())
        scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        best = scores.sort(dim=-1, descending=True, stable=True).indices[:, : c["index_topk"]]
        return torch.zeros(n, n).bool().scatter(1, best, True)

    def attention(self, x, p):
        c, w, n = self.c, self.w, x.shape[0]
        heads, nope, rope, value = (
            c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"])
        q = self.norm(x @ w[p + "q_a_proj.weight"].T, p + "q_a_layernorm.weight", 1e-6)
        if "index_topk" in c and p + "indexer.wq_b.weight" in w:
            self.seen = self.choose(x, q, p + "indexer.")
        q = (q @ w[p + "q_b_proj.weight"].T).view(n, heads, nope + rope)
        latent, key = (x @ w[p + "kv_a_proj_with_mqa.weight"].T).split([c["kv_lora_rank"], rope], -1)
        latent = self.norm(latent, p + "kv_a_layernorm.weight", 1e-6)
        up = (latent @ w[p + "kv_b_proj.weight"].T).view(n, heads, nope + value)
        q = torch.cat((q[..., :nope], self.rotate(q[..., nope:])), -1)
        k = torch.cat((up[..., :nope], self.rotate(key)[:, None].expand(-1, heads, -1)), -1)
        scores = torch.einsum("qhd,khd->hqk", q, k) * self.scale
        unseen = torch.ones(n, n).triu(1).bool()
        if self.seen is not None:
            unseen |= ~self.seen
        scores = scores.masked_fill(unseen, -torch.inf).softmax(-1)
        return torch.einsum("hqk,khd->qhd", scores, up[..., nope:]).reshape(n, -1) @ w[p + "o_proj.weight"].T

    def network(self, x, p):
        w = self.w
        gate, up = x @ w[p + "gate_proj.weight"].T, x @ w[p + "up_proj.weight"].T
        return (torch.nn.functional.silu(gate) * up) @ w[p + "down_proj.weight"].T

    def experts(self, x, p):
        c, w = self.c, self.w
        count, groups = c["n_routed_experts"], c["n_group"]
        scores = (x @ w[p + "gate.weight"].T).sigmoid()
        choice = scores + w[p + "gate.e_score_correction_bias"]
        if groups > 1:
            best = choice.view(-1, groups, count // groups).topk(2, -1)[0].sum(-1)
            mask = torch.zeros_like(best).scatter_(1, best.topk(c["topk_group"], -1)[1], 1).bool()
            choice = choice.masked_fill(~mask.repeat_interleave(count // groups, 1), -torch.inf)
        chosen = choice.topk(c["num_experts_per_tok"], -1)[1]
        weights = scores.gather(1, chosen)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * c["routed_scaling_factor"]
        out = self.network(x, p + "shared_experts.")
        for e in range(count):
            rows, slots = (chosen == e).nonzero(as_tuple=True)
            if len(rows):
                out[rows] += weights[rows, slots, None] * self.network(x[rows], f"{p}experts.{e}.")
        return out

    def logits(self, ids, noise=None):
        c, w, eps = self.c, self.w, self.c["rms_norm_eps"]
        x = w["model.embed_tokens.weight"][ids]
        x = x if noise is None else x * noise
        self.seen = None
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            x = x + self.attention(self.norm(x, p + "input_layernorm.weight", eps), p + "self_attn.")
            h = self.norm(x, p + "post_attention_layernorm.weight", eps)
            x = x + (self.experts(h, p + "mlp.") if p + "mlp.gate.weight" in w else self.network(h, p + "mlp."))
        return self.norm(x, "model.norm.weight", eps) @ w["lm_head.weight"].T


SIZES = dict(
    hidden_size=160, intermediate_size=200, moe_intermediate_size=72, num_hidden_layers=3, num_attention_heads=2,
    num_key_value_heads=2, n_routed_experts=8, num_experts_per_tok=2, n_shared_experts=1, n_group=4, topk_group=2,
    q_lora_rank=136, kv_lora_rank=144, qk_rope_head_dim=16, qk_nope_head_dim=24, v_head_dim=40, vocab_size=256)
YARN = dict(beta_fast=32, beta_slow=1, factor=40, mscale=1.0, mscale_all_dim=1.0,
            original_max_position_embeddings=4096, type="yarn")
V3 = dict(
    architectures=["DeepseekV3ForCausalLM"], attention_bias=False, attention_dropout=0.0, bos_token_id=0,
    eos_token_id=1, ep_size=1, first_k_dense_replace=1, hidden_act="silu", initializer_range=0.02,
    max_position_embeddings=163840, model_type="deepseek_v3", moe_layer_freq=1, norm_topk_prob=True,
    num_nextn_predict_layers=0, rms_norm_eps=1e-6, rope_scaling=YARN, rope_theta=10000, routed_scaling_factor=2.5,
    scoring_func="sigmoid", tie_word_embeddings=False, topk_method="noaux_tc", torch_dtype="bfloat16",
    transformers_version="4.46.3", use_cache=True, **SIZES)
# Prompts have 40 tokens.
INDEXER = dict(index_head_dim=32, index_n_heads=4, index_topk=8)
FP8 = dict(activation_scheme="dynamic", fmt="e4m3", quant_method="fp8", weight_block_size=[128, 128])
COMPRESSED = dict(
    config_groups=dict(group_0=dict(
        input_activations=dict(dynamic=True, num_bits=8, strategy="token", symmetric=True, type="float"),
        output_activations=None, targets=["Linear"],
        weights=dict(dynamic=False, num_bits=8, strategy="block", block_structure=[128, 128], symmetric=True,
                     type="float"))),
    format="float-quantized", ignore=["lm_head"], quant_method="compressed-tensors", quantization_status="compressed")
KIMI = dict(V3, **dict(
    model_type="kimi_k2", n_group=1, topk_group=1, pretraining_tp=1, aux_loss_alpha=0.001, seq_aux=True,
    id2label={"0": "LABEL_0"}, top_k=50))
OUTER = dict(bos_token_id=0, eos_token_id=2, ignore_index=-100, media_placeholder_token_id=5, dtype="bfloat16",
             vision_config=dict(hidden_size=64), tie_word_embeddings=False)
GLM = {k: v for k, v in V3.items() if k not in (
    "rope_scaling", "rope_theta", "first_k_dense_replace", "moe_layer_freq", "torch_dtype", "scoring_func")}
GLM.update(n_group=1, topk_group=1, rms_norm_eps=1e-5, dtype="bfloat16", pad_token_id=2, eos_token_id=[1, 2],
           rope_parameters=dict(rope_theta=1000000.0, rope_type="default"), rope_interleave=True, qk_head_dim=40)

# What Kimi-K2-Thinking's release leaves as it is.
IGNORED = ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"]


def packed(ignored, form="pack-quantized", kind="int"):
    """The description of compressed-tensors of weights in 4 bits."""
    weights = dict(actorder=None, block_structure=None, dynamic=False, group_size=32, num_bits=4,
                   observer="minmax", observer_kwargs={}, strategy="group", symmetric=True, type=kind)
    return dict(config_groups=dict(group_0=dict(input_activations=None, output_activations=None,
                                                targets=["Linear"], weights=weights)),
                format=form, ignore=ignored, kv_cache_scheme=None, quant_method="compressed-tensors",
                quantization_status="compressed")


# Sizes that 32 divides.
GROUPED = dict(intermediate_size=192, moe_intermediate_size=96, q_lora_rank=128, kv_lora_rank=160, v_head_dim=48)


def four_bits(config, *description):
    return dict(config, quantization_config=packed(*description), **GROUPED)


# Name -> configuration, and how it is stored.
CASES = {
    "e8m0-scales": (dict(V3, quantization_config=dict(FP8, scale_fmt="ue8m0")), dict(scale=E8M0)),
    "bf16-scales": (dict(V3, quantization_config=FP8), dict(scale=BF16)),
    "f16-weights": (dict(V3, torch_dtype="float16"), dict(plain=F16)),
    "compressed-tensors": (dict(V3, quantization_config=COMPRESSED), dict(scale=F32, suffix=".weight_scale")),
    "announced-mtp": (dict(V3, num_nextn_predict_layers=1), {}),
    "newer-mtp-key": (dict(V3, num_nextn_predict_layers=None, num_mtp_layers=1), {}),
    "v3.2": (dict(V3, architectures=["DeepseekV32ForCausalLM"], model_type="deepseek_v32",
                  quantization_config=FP8, **INDEXER), dict(scale=F32)),
    "v3.2-long-choice": (dict(V3, architectures=["DeepseekV32ForCausalLM"], model_type="deepseek_v32",
                              **dict(INDEXER, index_topk=64)), {}),
    "relabelled-v3.2": (dict(V3, index_head_dim=32, index_n_heads=4), dict(indexer=INDEXER)),
    "glm-4.7-flash": (dict(GLM, architectures=["Glm4MoeLiteForCausalLM"], model_type="glm4_moe_lite",
                           partial_rotary_factor=1.0, mlp_layer_types=["dense", "sparse", "sparse"]), {}),
    "glm-5": (dict(GLM, architectures=["GlmMoeDsaForCausalLM"], model_type="glm_moe_dsa", first_k_dense_replace=1,
                   quantization_config=dict(FP8, modules_to_not_convert=["lm_head"]), head_dim=16,
                   indexer_types=["full", "shared", "shared"], indexer_rope_interleave=True,
                   mlp_layer_types=["dense", "sparse", "sparse"], **INDEXER), dict(scale=F32)),
    "glm-5.2": (dict(GLM, architectures=["GlmMoeDsaForCausalLM"], model_type="glm_moe_dsa", first_k_dense_replace=1,
                     index_topk_pattern="FSF", **dict(INDEXER, index_topk=16)), {}),
    "kimi-k2.5": (KIMI, dict(prefix="language_model.", outer=dict(
        OUTER, architectures=["KimiK25ForConditionalGeneration"], model_type="kimi_k25"))),
    "kimi-vl": (KIMI, dict(prefix="language_model.", outer=dict(
        OUTER, architectures=["KimiVLForConditionalGeneration"], model_type="kimi_vl"))),
    "no-interleave": (dict(V3, rope_interleave=False), {}),
    "attention-factor": (dict(V3, rope_scaling=dict(YARN, attention_factor=0.9)), {}),
    "no-truncate": (dict(V3, rope_scaling=dict(YARN, truncate=False)), {}),
    "listed-layers": (dict({k: v for k, v in V3.items() if k != "first_k_dense_replace"},
                           moe_layer_freq=[1, 0, 1]), {}),
    "int4-experts": (four_bits(V3, IGNORED), dict(encode="int4")),
    "int4-half-scales": (four_bits(V3, IGNORED), dict(encode="int4", scale=F16)),
    "int4-wide-scales": (four_bits(V3, IGNORED), dict(encode="int4", scale=F32)),
    "int4-everything": (four_bits(V3, []), dict(encode="int4", chosen=("_proj", "lm_head"))),
    "kimi-k2.5-int4": (four_bits(KIMI, IGNORED), dict(encode="int4", prefix="language_model.", outer=dict(
        OUTER, architectures=["KimiK25ForConditionalGeneration"], model_type="kimi_k25"))),
    "kimi-k2.6-int4": (dict(KIMI, **GROUPED), dict(encode="int4", prefix="language_model.", outer=dict(
        OUTER, architectures=["KimiK25ForConditionalGeneration"], model_type="kimi_k25",
        quantization_config=packed(IGNORED)))),
    "mxfp4-experts": (four_bits(V3, IGNORED, "mxfp4-pack-quantized", "float"), dict(encode="mxfp4")),
}


def is_full(c, layer):
    """Whether a block has an indexer of its own."""
    kinds = c.get("indexer_types") or c.get("index_topk_pattern")
    return not kinds or kinds[layer] in ("full", "F")


def shapes(c, indexer):
    """Name -> shape of every tensor."""
    H, V, heads = c["hidden_size"], c["vocab_size"], c["num_attention_heads"]
    nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    listed = c.get("mlp_layer_types") or c.get("moe_layer_freq")
    out = {"model.embed_tokens.weight": (V, H), "model.norm.weight": (H,), "lm_head.weight": (V, H)}

    def mlp(p, width):
        out.update({p + "gate_proj.weight": (width, H), p + "up_proj.weight": (width, H),
                    p + "down_proj.weight": (H, width)})

    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        a = p + "self_attn."
        out.update({
            p + "input_layernorm.weight": (H,), p + "post_attention_layernorm.weight": (H,),
            a + "q_a_proj.weight": (c["q_lora_rank"], H), a + "q_a_layernorm.weight": (c["q_lora_rank"],),
            a + "q_b_proj.weight": (heads * (nope + rope), c["q_lora_rank"]),
            a + "kv_a_proj_with_mqa.weight": (c["kv_lora_rank"] + rope, H),
            a + "kv_a_layernorm.weight": (c["kv_lora_rank"],),
            a + "kv_b_proj.weight": (heads * (nope + value), c["kv_lora_rank"]),
            a + "o_proj.weight": (H, heads * value)})
        if indexer and is_full(c, i):
            n, d = indexer["index_n_heads"], indexer["index_head_dim"]
            out.update({a + "indexer.wq_b.weight": (n * d, c["q_lora_rank"]), a + "indexer.wk.weight": (d, H),
                        a + "indexer.k_norm.weight": (d,), a + "indexer.k_norm.bias": (d,),
                        a + "indexer.weights_proj.weight": (n, H)})
        dense = listed[i] in ("dense", 0) if isinstance(listed, list) else i < c["first_k_dense_replace"]
        if dense:
            mlp(p + "mlp.", c["intermediate_size"])
            continue
        out.update({p + "mlp.gate.weight": (c["n_routed_experts"], H),
                    p + "mlp.gate.e_score_correction_bias": (c["n_routed_experts"],)})
        for e in range(c["n_routed_experts"]):
            mlp(f"{p}mlp.experts.{e}.", c["moe_intermediate_size"])
        mlp(p + "mlp.shared_experts.", c["moe_intermediate_size"])
    return out


def draw(name, shape, generator):
    noise = torch.randn(shape, generator=generator)
    if name.endswith("e_score_correction_bias"):
        return 0.1 * noise
    if len(shape) == 1:
        return (1 + 0.2 * noise).to(BF16).float()
    return (noise * (1.0 if "embed_tokens" in name else 1.5 / shape[-1] ** 0.5)).to(BF16).float()


def fp8(w, scale_type, suffix):
    """e4m3 with a scale per block, and the values that it stands for."""
    a, b = -(-w.shape[0] // 128), -(-w.shape[1] // 128)
    padded = torch.zeros(a * 128, b * 128)
    padded[: w.shape[0], : w.shape[1]] = w
    blocks = padded.reshape(a, 128, b, 128)
    scale = blocks.abs().amax((1, 3)).clamp_min(1e-12) / 448
    if scale_type == E8M0:
        scale = torch.exp2(torch.ceil(torch.log2(scale)))
    stored = scale.to(scale_type)
    scale = stored.float()[:, None, :, None]
    codes = (blocks / scale).clamp(-448, 448).to(torch.float8_e4m3fn)

    def whole(t):
        return t.reshape(a * 128, b * 128)[: w.shape[0], : w.shape[1]].contiguous()

    return {".weight": whole(codes), suffix: stored}, whole(codes.float() * scale)


def int4(w, scale_type):
    """compressed-tensors' pack-quantized, and the values that it stands for."""
    groups = w.reshape(w.shape[0], -1, 32)
    scale = (groups.abs().amax(-1) / 7.5).clamp_min(1e-8).to(scale_type)
    codes = (groups / scale.float()[..., None]).round().clamp(-8, 7)
    # Eight numbers in a word of 32 bits, each plus 8, the first in the lowest bits.
    nibbles = (codes + 8).long().reshape(w.shape[0], -1, 8)
    words = (nibbles << torch.arange(0, 32, 4)).sum(-1)
    words = torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)
    parts = {".weight_packed": words, ".weight_scale": scale, ".weight_shape": torch.tensor(w.shape)}
    return parts, (codes * scale.float()[..., None]).reshape(w.shape)


# OCP Microscaling Formats 1.0, table 5: the values of e2m1's codes.
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def mxfp4(w, _):
    """compressed-tensors' mxfp4-pack-quantized, and the values that it stands for."""
    groups = w.reshape(w.shape[0], -1, 32)
    exponent = groups.abs().amax(-1).clamp_min(1e-30).log2().floor() - 2
    units = groups / exponent.exp2()[..., None]
    codes = (units[..., None] - E2M1).abs().argmin(-1)
    nibbles = codes.reshape(w.shape[0], -1, 2).to(torch.uint8)
    parts = {".weight_packed": nibbles[..., 0] | nibbles[..., 1] << 4,
             ".weight_scale": (exponent + 127).to(torch.uint8)}
    return parts, (E2M1[codes] * exponent.exp2()[..., None]).reshape(w.shape)


def is_wide(name):
    """What DeepSeek's FP8 releases do not quantise."""
    return any(word in name for word in ("embed_tokens", "lm_head", "norm", "mlp.gate.", "weights_proj"))


def make(folder, name, config, plain=BF16, scale=None, suffix=".weight_scale_inv", prefix="", outer=None,
         indexer=None, encode=None, chosen=(".mlp.experts.",)):
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    files, wide = {}, {}
    for tensor, shape in shapes(config, indexer or ("index_topk" in config and config)).items():
        w = draw(tensor, shape, generator)
        if encode and w.dim() == 2 and any(word in tensor for word in chosen):
            parts, wide[tensor] = dict(int4=int4, mxfp4=mxfp4)[encode](w, scale or BF16)
            files.update({tensor[: -len(".weight")] + end: t for end, t in parts.items()})
        elif not encode and scale and w.dim() == 2 and not is_wide(tensor):
            parts, wide[tensor] = fp8(w, scale, suffix)
            files.update({tensor[: -len(".weight")] + end: t for end, t in parts.items()})
        else:
            files[tensor] = w.to(F32 if tensor.endswith("bias") else plain)
            wide[tensor] = files[tensor].float()
    files = {prefix + n: t.contiguous() for n, t in files.items()}
    if outer:
        files["vision_tower.patch_embed.proj.weight"] = torch.zeros(8, 8, dtype=BF16)
    os.makedirs(folder)
    save_file(files, f"{folder}/model.safetensors", metadata={"format": "pt"})
    json.dump(dict(outer, text_config=config) if outer else config, open(f"{folder}/config.json", "w"), indent=1)

    reference = Reference(config, wide)
    with torch.no_grad():
        for _ in range(40):
            # Where a gate is almost tied, two right programs may choose differently.
            ids = torch.randint(3, 250, (40,), generator=generator)
            logits = reference.logits(ids)
            noise = 1 + 1e-6 * torch.randn(40, config["hidden_size"], generator=generator).double()
            if (reference.logits(ids, noise) - logits).abs().max() < 5e-5:
                break
        greedy = ids.tolist()
        for _ in range(4):
            greedy.append(int(reference.logits(torch.tensor(greedy))[-1].argmax()))
    save_file({"input_ids": ids.int(), "logits": logits.float(), "greedy": torch.tensor(greedy[40:]).int()},
              f"{folder}/expected.safetensors")


for case, (configuration, storage) in CASES.items():
    make(os.path.join(sys.argv[1], case), case, configuration, **storage)
