"""distilabel's MagpieGenerator on LlamaCppLLM, as its documentation shows it. Run by generate.py with its own Python.

Arguments: the GGUF file, a folder with its tokenizer, the number of pairs, new tokens per turn, seed.
Prints one JSON document: seconds, generated tokens, and the instructions and responses.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

warnings.simplefilter("ignore")


def main() -> None:
    from peer_llama import without_extra_buffers

    without_extra_buffers()
    from distilabel.models.llms import LlamaCppLLM
    from distilabel.steps.tasks import MagpieGenerator

    model, tokenizer, pairs, tokens, seed = sys.argv[1:]
    llm = LlamaCppLLM(
        model_path=model,
        tokenizer_id=tokenizer,
        use_magpie_template=True,
        magpie_pre_query_template="qwen2",  # the nearest of its two presets: both are ChatML
        n_ctx=1024,
        seed=int(seed),
        generation_kwargs={"max_new_tokens": int(tokens), "temperature": 1.0},
    )
    task = MagpieGenerator(llm=llm, num_rows=int(pairs), batch_size=int(pairs))
    task.load()
    started = time.perf_counter()
    rows, _ = next(task.process())  # its own loop writes a second batch when the first one was all
    seconds = time.perf_counter() - started

    def count(text: str) -> int:
        return len(llm._model.tokenize(text.encode(), add_bos=False))

    found = [
        {
            "instruction": row.get("instruction") or "",
            "response": row.get("response") or "",
            # It keeps no finish reason: a question as long as the limit was cut off by it.
            "stopped": count(row.get("instruction") or "") < int(tokens) - 2,
        }
        for row in rows
    ]
    total = sum(count(row["instruction"]) + count(row["response"]) for row in found)
    json.dump({"seconds": seconds, "tokens": total, "rows": found}, sys.stdout)


if __name__ == "__main__":
    main()
