"""A small Llama with random weights and a tokenizer made here: `python tiny_model.py FOLDER WIDTH`.

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
LAYERS, VOCABULARY, HEAD, GROUP = 2, 1024, 32, 2
"""`GROUP` heads of the attention share one of keys and values."""
SPREAD = 3.0
"""Standard deviation of the logits: the likeliest of 1,024 tokens then has a probability of some
tenths, as in text that a model knows."""
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "model_max_length": 4096,
}


def config(width: int) -> dict[str, object]:
    """The model's shape; `width` of its hidden state."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": width // HEAD,
        "num_key_value_heads": width // HEAD // GROUP,
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


def main(folder: Path, width: int) -> None:
    """Write the model's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [f"the quick brown fox jumps over the lazy dog {number}" for number in range(5000)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER))
    (folder / "config.json").write_text(json.dumps(config(width)))
    save_file(weights(width), str(folder / "model.safetensors"), metadata={"format": "pt"})


def weights(width: int) -> dict[str, torch.Tensor]:
    """All parameters in bf16. Each matrix keeps the size of what goes through it."""
    draws = torch.Generator().manual_seed(SEED)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> torch.Tensor:
        drawn = torch.randn(rows, columns, generator=draws) * scale / columns**0.5
        return drawn.to(torch.bfloat16)

    ones = torch.ones(width, dtype=torch.bfloat16)
    found = {
        "model.embed_tokens.weight": matrix(VOCABULARY, width, width**0.5),
        "model.norm.weight": ones.clone(),
        "lm_head.weight": matrix(VOCABULARY, width, SPREAD),
    }
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}"
        found |= {
            f"{stem}.input_layernorm.weight": ones.clone(),
            f"{stem}.post_attention_layernorm.weight": ones.clone(),
            f"{stem}.self_attn.q_proj.weight": matrix(width, width),
            f"{stem}.self_attn.k_proj.weight": matrix(width // GROUP, width),
            f"{stem}.self_attn.v_proj.weight": matrix(width // GROUP, width),
            f"{stem}.self_attn.o_proj.weight": matrix(width, width),
            f"{stem}.mlp.gate_proj.weight": matrix(2 * width, width),
            f"{stem}.mlp.up_proj.weight": matrix(2 * width, width),
            f"{stem}.mlp.down_proj.weight": matrix(width, 2 * width),
        }
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
