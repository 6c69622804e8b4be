"""mlx_lm.lora trains two iterations on the LoRA folder, with a tiny Llama that the test makes."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from localsynth.export import export

pytestmark = pytest.mark.skipif(
    find_spec("mlx_lm") is None or find_spec("mlx") is None, reason="mlx and mlx-lm are not installed"
)

TEMPLATE = "{% for m in messages %}<s>{{ m.role }} {{ m.content }}</s>{% endfor %}"


@pytest.fixture
def tiny_llama(tmp_path):
    """A random two-layer Llama with a byte-level tokenizer, laid out like a model folder of the Hub."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.models.llama import Model, ModelArgs
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path / "model"
    folder.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names | {"chat_template": TEMPLATE}))
    config = {
        "model_type": "llama", "vocab_size": len(vocabulary), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForCausalLM"], "eos_token_id": 1}))
    mx.random.seed(0)
    weights = dict(tree_flatten(Model(ModelArgs.from_dict(config)).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    return folder


def test_two_iterations_train_on_the_exported_folder(tmp_path, card, row, tiny_llama):
    rows = [row(i) for i in range(24)]
    result = export(rows, "mlx-lora", tmp_path / "data", card)
    assert {path.name for path in result.paths} == {"train.jsonl", "valid.jsonl", "test.jsonl"}
    command = [
        sys.executable, "-m", "mlx_lm", "lora", "--train", "--test", "--model", str(tiny_llama),
        "--data", str(tmp_path / "data"), "--iters", "2", "--batch-size", "4", "--num-layers", "2",
        "--max-seq-length", "128", "--steps-per-report", "1", "--adapter-path", str(tmp_path / "adapter"),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-3000:]
    assert "Test loss" in said
    assert (tmp_path / "adapter" / "adapters.safetensors").stat().st_size > 0
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["iters"] == 2
