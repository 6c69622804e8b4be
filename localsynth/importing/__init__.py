"""Reading other people's data sets: every shape in wide use, as a stream, with the bad lines named."""

from localsynth.importing.base import BadLine, ImportedRow, Message
from localsynth.importing.reader import Located, instructions, locate, read

__all__ = ["BadLine", "ImportedRow", "Located", "Message", "instructions", "locate", "read"]
