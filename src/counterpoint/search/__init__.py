"""Search in a gallery of clips by a sentence, by one of them or by a file; what answers imports no torch if it can."""

from counterpoint.search.command import answer

__all__ = ["answer"]
