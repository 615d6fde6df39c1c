"""Makes small random DeepSeek checkpoints and what Transformers computes on them, in fp32.

Usage: transformers_models.py FOLDER SEED [ROUNDS]

Each case becomes FOLDER/NAME with config.json, model.safetensors under DeepSeek's own tensor names, and
expected.safetensors (input_ids, logits). FP8 cases store e4m3 with 128x128 scales; Transformers gets the
same weights dequantised to fp32, because its own FP8 path splits ragged matrices wrongly. A prompt is kept
only if a disturbance of 1e-6 does not change the logits by more than 5e-5: where a gate or a group is
almost tied, two right implementations may choose differently.
"""

import copy
import json
import os
import random
import sys

import torch
from safetensors.torch import save_file
from transformers import (
    DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM, DeepseekV32Config,
    DeepseekV32ForCausalLM, GlmMoeDsaConfig, GlmMoeDsaForCausalLM)

from fp8_blocks import quantise

FOLDER, SEED = sys.argv[1], int(sys.argv[2])
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
torch.set_num_threads(1)


def lower_first(self, k, dim=-1, **_):
    """topk whose order of equal values is open no more: an indexer scores many tokens exactly 0."""
    values, indices = self.sort(dim=dim, descending=True, stable=True)
    return torch.return_types.topk((values.narrow(dim, 0, k), indices.narrow(dim, 0, k)))


torch.Tensor.topk = lower_first


YARN = dict(
    type="yarn", factor=40.0, original_max_position_embeddings=32, beta_fast=32, beta_slow=1, mscale=1.0,
    mscale_all_dim=1.0)
NETWORKS = {
    2: (DeepseekV2Config, DeepseekV2ForCausalLM), 3: (DeepseekV3Config, DeepseekV3ForCausalLM),
    3.2: (DeepseekV32Config, DeepseekV32ForCausalLM), 5: (GlmMoeDsaConfig, GlmMoeDsaForCausalLM)}
# Prompts are longer than what these choose.
INDEXER = dict(q_lora_rank=136, index_topk=8, index_n_heads=6, index_head_dim=40)
# What every round covers for certain; the rest of a shape is drawn. Version, FP8, and what is not drawn.
CASES = {
    "v3": (3, False, {}),
    "v3-groups": (3, False, dict(n_group=4, n_routed_experts=16, topk_group=2, num_experts_per_tok=4)),
    "v3-yarn": (3, False, dict(rope_scaling=YARN)),
    "v3-full-queries": (3, False, dict(q_lora_rank=None)),
    "v3-no-dense": (3, False, dict(first_k_dense_replace=0)),
    "kimi": (3, False, dict(n_group=1, topk_group=1, n_routed_experts=48, num_experts_per_tok=8,
                            first_k_dense_replace=1, n_shared_experts=1, routed_scaling_factor=2.827)),
    "v3-fp8": (3, True, {}),
    "v3-fp8-ragged": (3, True, dict(hidden_size=200, kv_lora_rank=144, q_lora_rank=136, moe_intermediate_size=130,
                                    intermediate_size=288)),
    "v3.2": (3.2, False, dict(INDEXER, index_topk=16)),
    "v3.2-yarn-fp8": (3.2, True, dict(INDEXER, rope_scaling=YARN)),
    "glm-5": (5, False, dict(INDEXER, n_group=1, topk_group=1, index_n_heads=3)),
    "glm-5.2": (5, False, dict(
        INDEXER, num_hidden_layers=4, indexer_types=["full", "shared", "full", "shared"])),
    "glm-5.2-counted": (5, False, dict(
        INDEXER, num_hidden_layers=4, index_topk_freq=2, index_skip_topk_offset=2)),
    "v2-greedy": (2, False, dict(n_group=1, topk_group=1, q_lora_rank=None)),
    "v2-groups": (2, False, dict(n_group=4, topk_group=2, n_routed_experts=16, num_experts_per_tok=4)),
}


def shape(rng, version, forced):
    groups = rng.choice([1, 2, 4])
    size = rng.choice([2, 3, 4])
    kept = rng.randint(1, groups)
    config = dict(
        hidden_size=rng.choice([64, 96, 160, 200]),
        intermediate_size=rng.choice([96, 130, 288]),
        moe_intermediate_size=rng.choice([24, 48, 130]),
        num_hidden_layers=rng.randint(2, 4),
        first_k_dense_replace=rng.randint(0, 2),
        num_attention_heads=rng.choice([2, 4, 5]),
        n_routed_experts=groups * size,
        num_experts_per_tok=rng.randint(1, kept * size),
        n_group=groups,
        topk_group=kept,
        n_shared_experts=rng.choice([1, 2]),
        q_lora_rank=rng.choice([None, 40, 136]),
        kv_lora_rank=rng.choice([32, 48, 144]),
        qk_rope_head_dim=rng.choice([8, 16]),
        qk_nope_head_dim=rng.choice([16, 24, 72]),
        v_head_dim=rng.choice([16, 40]),
        vocab_size=rng.choice([200, 333]),
        routed_scaling_factor=rng.choice([1.0, 2.5]),
        norm_topk_prob=True,
        max_position_embeddings=512,
        rms_norm_eps=1e-6,
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    config.update(copy.deepcopy(forced))
    config["num_key_value_heads"] = config["num_attention_heads"]
    theta = rng.choice([10000.0, 50000.0])
    if version in (3, 3.2) and "rope_scaling" not in config and rng.random() < 0.5:
        config["rope_scaling"] = dict(
            type="yarn", factor=rng.choice([4.0, 40.0]), original_max_position_embeddings=32,
            beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=rng.choice([1.0, 0.8]))
    config["rope_theta"] = theta
    if version == 2:
        config["num_attention_heads"] = config["num_key_value_heads"] = 4
        config.update(
            topk_method="group_limited_greedy" if config["n_group"] > 1 else "greedy", norm_topk_prob=False,
            scoring_func="softmax", moe_layer_freq=1)
    else:
        config.update(topk_method="noaux_tc", scoring_func="sigmoid")
    return config


def released_names(model, fp8):
    """DeepSeek's tensor names; with fp8, quantises what releases quantise and widens it in the model."""
    tensors = {}

    def put(name, parameter, quantised):
        if fp8 and quantised:
            stored, scales, wide = quantise(parameter.data)
            tensors[name], tensors[name + "_scale_inv"] = stored, scales
            parameter.data.copy_(wide)
        else:
            tensors[name] = parameter.data.clone().contiguous()

    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if "rotary_emb" in name:
            continue
        if name.endswith("experts.gate_up_proj"):
            base, half = name[: -len("gate_up_proj")], tensor.shape[1] // 2
            for expert in range(tensor.shape[0]):
                put(f"{base}{expert}.gate_proj.weight", tensor[expert, :half], True)
                put(f"{base}{expert}.up_proj.weight", tensor[expert, half:], True)
        elif name.endswith("experts.down_proj"):
            base = name[: -len("down_proj")]
            for expert in range(tensor.shape[0]):
                put(f"{base}{expert}.down_proj.weight", tensor[expert], True)
        else:
            plain = ("embed_tokens", "lm_head", "norm", "mlp.gate.", "weights_proj")
            put(name, tensor, tensor.dim() == 2 and not any(word in name for word in plain))
    return tensors


@torch.no_grad()
def make(name, index, version, fp8, forced):
    """Writes one case; False if this shape amplifies every prompt's rounding too much to compare."""
    rng = random.Random(SEED * 100_000 + index)
    generator = torch.Generator().manual_seed(SEED * 100_000 + index)
    values = shape(rng, version, forced)
    kind, network = NETWORKS[version]
    config = kind(**values, attn_implementation="eager", experts_implementation="eager")
    model = network(config).float().eval()
    for parameter_name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if "rotary_emb" in parameter_name:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if "e_score_correction_bias" in parameter_name:
            tensor.copy_(0.1 * noise)
        elif tensor.dim() == 1:
            tensor.copy_(1 + 0.2 * noise)
        elif "embed_tokens" in parameter_name:
            tensor.copy_(noise)
        else:
            tensor.copy_(noise * 1.5 / tensor.shape[-1] ** 0.5)
    tensors = released_names(model, fp8)
    for _ in range(20):
        ids = torch.randint(0, values["vocab_size"], (1, rng.randint(20, 80)), generator=generator)
        logits = model(input_ids=ids).logits[0]
        embedded = model.get_input_embeddings()(ids)
        disturbed = embedded * (1 + 1e-6 * torch.randn(embedded.shape, generator=generator))
        if (model(inputs_embeds=disturbed).logits[0] - logits).abs().max() < 5e-5:
            break
    else:
        return False
    folder = os.path.join(FOLDER, name)
    os.makedirs(folder, exist_ok=True)
    save_file(tensors, os.path.join(folder, "model.safetensors"))
    save_file(
        {"input_ids": ids[0].int(), "logits": logits.contiguous()}, os.path.join(folder, "expected.safetensors"))
    values.update(architectures=[network.__name__], model_type=config.model_type, hidden_act="silu")
    if fp8:
        values["quantization_config"] = dict(
            quant_method="fp8", fmt="e4m3", weight_block_size=[128, 128], activation_scheme="dynamic")
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(values, file)
    return True


for turn in range(ROUNDS):
    for number, (label, case) in enumerate(CASES.items()):
        name, index = f"{turn}-{label}", 1000 * turn + number
        # Other shapes of the same seed, until one can be compared.
        if not any(make(name, index + 20 * draw, *case) for draw in range(20)):
            raise SystemExit(f"{name}: no shape of 20 without near ties")
