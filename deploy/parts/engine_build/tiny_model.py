"""A two-layer Llama with random weights and a tokenizer made here: `python tiny_model.py FOLDER`.

Run by the engine's own Python. The weights are drawn so wide that the log-probabilities spread as
those of a trained model do: with the near-zero weights of `--load-format dummy` all tokens are
equally likely, and which of them wins is an accident of rounding.
"""

import json
import sys
from pathlib import Path

import torch  # type: ignore[import-not-found]  # of the engine's environment
from safetensors.torch import save_file  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
SEED = 7
LAYERS, HIDDEN, MIDDLE, VOCABULARY, HEADS, KV_HEADS, HEAD = 2, 128, 256, 1024, 4, 2, 32
SPREAD = 3.0
"""Standard deviation of the logits: the likeliest of 1,024 tokens then has a probability of some
tenths, as in text that a model knows."""
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": MIDDLE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HEAD,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "model_max_length": 4096,
}


def main(folder: Path) -> None:
    """Write the model's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [f"the quick brown fox jumps over the lazy dog {number}" for number in range(200)]
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        show_progress=False,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(weights(), str(folder / "model.safetensors"), metadata={"format": "pt"})


def weights() -> dict[str, torch.Tensor]:
    """All parameters in bf16. Each matrix keeps the size of what goes through it."""
    draws = torch.Generator().manual_seed(SEED)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> torch.Tensor:
        drawn = torch.randn(rows, columns, generator=draws) * scale / columns**0.5
        return drawn.to(torch.bfloat16)

    ones = torch.ones(HIDDEN, dtype=torch.bfloat16)
    found = {
        "model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN, HIDDEN**0.5),
        "model.norm.weight": ones.clone(),
        "lm_head.weight": matrix(VOCABULARY, HIDDEN, SPREAD),
    }
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        found |= {
            f"{stem}.input_layernorm.weight": ones.clone(),
            f"{stem}.post_attention_layernorm.weight": ones.clone(),
            f"{stem}.self_attn.q_proj.weight": matrix(HEADS * HEAD, HIDDEN),
            f"{stem}.self_attn.k_proj.weight": matrix(KV_HEADS * HEAD, HIDDEN),
            f"{stem}.self_attn.v_proj.weight": matrix(KV_HEADS * HEAD, HIDDEN),
            f"{stem}.self_attn.o_proj.weight": matrix(HIDDEN, HEADS * HEAD),
            f"{stem}.mlp.gate_proj.weight": matrix(MIDDLE, HIDDEN),
            f"{stem}.mlp.up_proj.weight": matrix(MIDDLE, HIDDEN),
            f"{stem}.mlp.down_proj.weight": matrix(HIDDEN, MIDDLE),
        }
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
