#!/usr/bin/env python3
"""Losses and gradients of a random DeepSeek-V3 model, by PyTorch autograd in float64.

Usage: autograd.py DIRECTORY SEED KEY=VALUE...
Writes DIRECTORY/config.json and DIRECTORY/model.safetensors with, for every parameter NAME, NAME
itself and "gradient.NAME" (float32), and tokens, targets, losses. Keys override the configuration
below, and sequence_length, sequences, mtp_weight, balance_weight.
"""
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file

CONFIG = dict(
    architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", hidden_size=24,
    intermediate_size=40, moe_intermediate_size=12, num_hidden_layers=2, first_k_dense_replace=1,
    moe_layer_freq=1, num_attention_heads=2, num_key_value_heads=2, q_lora_rank=12, kv_lora_rank=16,
    qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8, n_routed_experts=8, n_shared_experts=1,
    num_experts_per_tok=2, n_group=4, topk_group=2, scoring_func="sigmoid",
    topk_method="noaux_tc", norm_topk_prob=True, routed_scaling_factor=2.5, vocab_size=40,
    max_position_embeddings=64, rms_norm_eps=1e-6, rope_theta=10000.0, rope_scaling=None,
    num_nextn_predict_layers=1, tie_word_embeddings=False, hidden_act="silu", torch_dtype="float32")
RUN = dict(sequence_length=9, sequences=2, mtp_weight=0.3, balance_weight=0.01)


def norm(x, weight, eps=1e-6):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def rotate(x, theta):
    length, half = x.shape[1], x.shape[-1] // 2
    frequency = theta ** (-2 * torch.arange(half, dtype=torch.float64) / x.shape[-1])
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    shape = (1, length) + (1,) * (x.dim() - 3) + (half,)
    cos, sin = angle.cos().view(shape), angle.sin().view(shape)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


class Reference:
    def __init__(self, config, run, generator):
        self.c, self.run, self.generator = config, run, generator
        self.p, self.margin, self.balance = {}, math.inf, 0.0

    def weight(self, name, *shape):
        if name not in self.p:
            value = torch.randn(*shape, generator=self.generator, dtype=torch.float64)
            value = 1 + 0.2 * value if len(shape) == 1 else value * shape[-1] ** -0.5
            self.p[name] = value.float().double().requires_grad_()
        return self.p[name]

    def attention(self, x, prefix):
        c = self.c
        heads, nope, rope = c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"]
        value, latent, hidden = c["v_head_dim"], c["kv_lora_rank"], c["hidden_size"]
        w = lambda name, *shape: self.weight(prefix + "self_attn." + name + ".weight", *shape)
        if c["q_lora_rank"]:
            rank = c["q_lora_rank"]
            q = norm(x @ w("q_a_proj", rank, hidden).T, w("q_a_layernorm", rank))
            q = q @ w("q_b_proj", heads * (nope + rope), rank).T
        else:
            q = x @ w("q_proj", heads * (nope + rope), hidden).T
        q = q.view(*x.shape[:2], heads, nope + rope)
        q = torch.cat([q[..., :nope], rotate(q[..., nope:], c["rope_theta"])], -1)
        down = x @ w("kv_a_proj_with_mqa", latent + rope, hidden).T
        shared = rotate(down[..., latent:], c["rope_theta"])
        kv = norm(down[..., :latent], w("kv_a_layernorm", latent))
        kv = (kv @ w("kv_b_proj", heads * (nope + value), latent).T)
        kv = kv.view(*x.shape[:2], heads, nope + value)
        k = torch.cat([kv[..., :nope], shared[:, :, None].expand(-1, -1, heads, -1)], -1)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * (nope + rope) ** -0.5
        mask = torch.full(scores.shape[-2:], -math.inf, dtype=torch.float64).triu(1)
        out = torch.einsum("bhqk,bkhd->bqhd", (scores + mask).softmax(-1), kv[..., nope:])
        return out.flatten(2) @ w("o_proj", hidden, heads * value).T

    def mlp(self, x, prefix, inner):
        hidden = self.c["hidden_size"]
        w = lambda name, *shape: self.weight(prefix + name + "_proj.weight", *shape)
        gate = torch.nn.functional.silu(x @ w("gate", inner, hidden).T)
        return (gate * (x @ w("up", inner, hidden).T)) @ w("down", hidden, inner).T

    def experts(self, x, prefix):
        c = self.c
        count, top, groups = c["n_routed_experts"], c["num_experts_per_tok"], c["n_group"]
        inner, hidden = c["moe_intermediate_size"], c["hidden_size"]
        logits = x @ self.weight(prefix + "gate.weight", count, hidden).T
        scores = logits.sigmoid() if c["scoring_func"] == "sigmoid" else logits.softmax(-1)
        choice = scores.detach()
        if c["topk_method"] == "noaux_tc":
            bias = self.weight(prefix + "gate.e_score_correction_bias", 1, count).detach()
            choice = choice + bias
        self.margin = min(self.margin, self.gap(choice, groups, top))
        per = choice.view(*choice.shape[:-1], groups, -1)
        best = per.topk(2, -1)[0].sum(-1) if c["topk_method"] == "noaux_tc" else per.amax(-1)
        kept = torch.zeros_like(best).scatter(-1, best.topk(c["topk_group"], -1)[1], 1)
        allowed = kept.repeat_interleave(count // groups, -1).bool()
        chosen = choice.masked_fill(~allowed, -math.inf).topk(top, -1)[1]
        weights = scores.gather(-1, chosen)
        if c["norm_topk_prob"]:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        # As V2's own code: normalised weights are scaled by the method of V3 alone.
        if c["topk_method"] == "noaux_tc" or not c["norm_topk_prob"]:
            weights = weights * c["routed_scaling_factor"]
        y = self.mlp(x, prefix + "shared_experts.", c["n_shared_experts"] * inner) \
            if c["n_shared_experts"] else torch.zeros_like(x)
        for expert in range(count):
            name = f"{prefix}experts.{expert}."
            share = (weights * (chosen == expert)).sum(-1, keepdim=True)
            y = y + share * self.mlp(x, name, inner)
        hits = torch.nn.functional.one_hot(chosen, count).sum(-2).double()
        f = hits.sum(1) * count / (top * x.shape[1])
        share = (scores / scores.sum(-1, keepdim=True)).mean(1)
        self.balance = self.balance + (f * share).sum(-1).mean()
        return y

    def gap(self, choice, groups, top):
        """How far the nearest choice is from going the other way."""
        per = choice.view(*choice.shape[:-1], groups, -1)
        noaux = self.c["topk_method"] == "noaux_tc"
        best = per.topk(2, -1)[0].sum(-1) if noaux else per.amax(-1)
        order = best.sort(-1, descending=True)[0]
        keep = self.c["topk_group"]
        gap = math.inf
        if keep < groups:
            gap = (order[..., keep - 1] - order[..., keep]).min().item()
        order = choice.flatten(0, 1).sort(-1, descending=True)[0]
        return min(gap, (order[:, :-1] - order[:, 1:]).min().item())

    def block(self, x, layer):
        prefix = f"model.layers.{layer}."
        hidden = self.c["hidden_size"]
        w = lambda name: self.weight(prefix + name + ".weight", hidden)
        x = x + self.attention(norm(x, w("input_layernorm")), prefix)
        h = norm(x, w("post_attention_layernorm"))
        if layer < self.c["first_k_dense_replace"]:
            return x + self.mlp(h, prefix + "mlp.", self.c["intermediate_size"])
        return x + self.experts(h, prefix + "mlp.")

    def losses(self, tokens, targets):
        c = self.c
        hidden, vocabulary, layers = c["hidden_size"], c["vocab_size"], c["num_hidden_layers"]
        embedding = self.weight("model.embed_tokens.weight", vocabulary, hidden)
        x = embedding[tokens]
        for layer in range(layers):
            x = self.block(x, layer)
        h = norm(x, self.weight("model.norm.weight", hidden))
        head = self.weight("lm_head.weight", vocabulary, hidden)
        entropy = torch.nn.functional.cross_entropy
        main = entropy((h @ head.T).flatten(0, 1), targets.flatten())
        if not c["num_nextn_predict_layers"]:
            return main, torch.zeros((), dtype=torch.float64)
        prefix = f"model.layers.{layers}."
        w = lambda name: self.weight(prefix + name + ".weight", hidden)
        joined = torch.cat([norm(embedding[targets], w("enorm")), norm(h, w("hnorm"))], -1)
        x = joined @ self.weight(prefix + "eh_proj.weight", hidden, 2 * hidden).T
        x = norm(self.block(x, layers), w("shared_head.norm"))
        logits = (x @ head.T)[:, :-1]
        return main, entropy(logits.flatten(0, 1), targets[:, 1:].flatten())


def main():
    directory, seed = sys.argv[1], int(sys.argv[2])
    config, run = dict(CONFIG), dict(RUN)
    for pair in sys.argv[3:]:
        key, value = pair.split("=")
        (run if key in run else config)[key] = json.loads(value)
    while True:
        generator = torch.Generator().manual_seed(seed)
        shape = (run["sequences"], run["sequence_length"])
        tokens = torch.randint(config["vocab_size"], shape, generator=generator)
        targets = torch.randint(config["vocab_size"], shape, generator=generator)
        reference = Reference(config, run, generator)
        main_loss, mtp = reference.losses(tokens, targets)
        if reference.margin > 1e-5:
            break
        seed += 1000
    balance = torch.as_tensor(run["balance_weight"] * reference.balance, dtype=torch.float64)
    (main_loss + run["mtp_weight"] * mtp + balance).backward()
    tensors = {"tokens": tokens.flatten().int(), "targets": targets.flatten().int()}
    tensors["losses"] = torch.stack([main_loss, mtp, balance]).detach().float()
    for name, value in reference.p.items():
        tensors[name] = value.detach().float()
        if value.grad is not None:
            tensors["gradient." + name] = value.grad.float()
        elif "bias" not in name:
            tensors["gradient." + name] = torch.zeros_like(value).float()
    os.makedirs(directory, exist_ok=True)
    save_file(tensors, os.path.join(directory, "model.safetensors"))
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump(config | {"_run": run | {"seed": seed}}, file, indent=1)


main()
