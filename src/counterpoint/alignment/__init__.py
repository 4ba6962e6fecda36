"""What a model makes of sentences and views of the same rows: retrieval over whole galleries, classes by prompts."""

from counterpoint.alignment.prompting import check, judge_zero_shot
from counterpoint.alignment.retrieving import judge_retrieval

__all__ = ["check", "judge_retrieval", "judge_zero_shot"]
