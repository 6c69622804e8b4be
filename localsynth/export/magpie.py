"""The row schema of the published Magpie data sets (arXiv 2406.08464), with the seed that theirs leave out."""

from __future__ import annotations

import uuid

from localsynth.export.base import ExportRow, dialogue
from localsynth.export.files import jsonl
from localsynth.export.sharegpt import conversation

# What a judge, a guard or a reward model would fill; null until one has spoken.
_UNJUDGED = (
    "task_category", "other_task_category", "task_category_generator", "difficulty", "intent", "knowledge",
    "difficulty_generator", "input_quality", "quality_explanation", "quality_generator", "llama_guard_2",
    "reward_model", "instruct_reward",
)  # fmt: skip


def record(row: ExportRow) -> dict[str, object]:
    """Later turns are instruction_2, response_2 and so on; lengths are characters of the first turn.

    min_neighbor_distance is squared L2 between unit vectors, 2 - 2 cos, as the reference's index measures it;
    repeat_count counts the neighbours given that lie within its 0.05.
    """
    talk = dialogue(row, "magpie", answered=False)
    instruction, response = talk.pairs[0]
    value: dict[str, object] = {
        "uuid": _uuid(row.id),
        "model": row.answer_model or row.model,
        "gen_input_configs": _config(row, "ask", "user", row.model),
        "gen_response_configs": _config(row, "answer", "assistant", row.answer_model),
        "instruction": instruction,
        "response": response,
        "conversations": conversation(row),
    }
    for number, (question, answer) in enumerate(talk.pairs[1:], start=2):
        value[f"instruction_{number}"] = question
        value[f"response_{number}"] = answer
    nearest = max(row.near, key=lambda link: link[1], default=None)
    distances = [2 - 2 * similarity for _, similarity in row.near]
    return (
        value
        | dict.fromkeys(_UNJUDGED)
        | {
            "min_neighbor_distance": round(max(0.0, min(distances)), 6) if distances else None,
            "repeat_count": sum(distance <= 0.05 for distance in distances) if distances else None,
            "min_similar_uuid": _uuid(nearest[0]) if nearest else None,
            "instruction_length": len(instruction),
            "response_length": len(response) if response is not None else None,
            "language": row.language.upper() if row.language else None,
        }
    )


def _config(row: ExportRow, key: str, role: str, model: str | None) -> dict[str, object]:
    sampling = row.sampling.get(key)
    seeds = [seed for (name, _), seed in zip(row.messages, row.seeds, strict=False) if name == role]
    return {
        "temperature": sampling.temperature if sampling else None,
        "top_p": sampling.top_p if sampling else None,
        "input_generator" if key == "ask" else "response_generator": model,
        "seed": seeds[0] if seeds else None,
    }


def _uuid(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"localsynth:{number}"))


FORMAT = jsonl(
    "magpie", "JSONL in the row schema of the published Magpie data", lambda rows: map(record, rows), scored=True
)
