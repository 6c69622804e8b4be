"""Magpie one request after the other with `llama_cpp.Llama`, as a short script would do it. Run by generate.py.

Arguments: the GGUF file, the number of pairs, new tokens per turn, seed. Prints one JSON document.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

PRE = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n"
)
POST = "<|im_end|>\n<|im_start|>assistant\n"


def without_extra_buffers() -> None:
    """llama.cpp's AMX buffers crash on some files: load as localsynth does, so that both sides can be compared."""
    import llama_cpp.llama_cpp as low

    original = low.llama_model_default_params

    def params() -> Any:
        made = original()
        made.use_extra_bufts = False
        return made

    low.llama_model_default_params = params


def main() -> None:
    from llama_cpp import Llama

    model, pairs, tokens, seed = sys.argv[1:]
    without_extra_buffers()
    llm = Llama(model, n_ctx=1024, seed=int(seed), verbose=False)
    rows: list[dict[str, Any]] = []
    count = 0
    started = time.perf_counter()
    for number in range(int(pairs)):
        asked = llm(PRE, max_tokens=int(tokens), temperature=1.0, stop=["<|im_end|>"], seed=int(seed) + number)
        question = asked["choices"][0]["text"]
        answered = llm(PRE + question + POST, max_tokens=int(tokens), temperature=0.0, stop=["<|im_end|>"])
        count += asked["usage"]["completion_tokens"] + answered["usage"]["completion_tokens"]
        stopped = asked["choices"][0]["finish_reason"] == "stop"
        rows.append({"instruction": question, "response": answered["choices"][0]["text"], "stopped": stopped})
    json.dump({"seconds": time.perf_counter() - started, "tokens": count, "rows": rows}, sys.stdout)


if __name__ == "__main__":
    main()
