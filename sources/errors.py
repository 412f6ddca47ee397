"""What can be wrong with what a source was asked or given.

SourceError
├── UnknownSource    no source of that name
├── UnknownOption    an option that the source does not know, or a value outside its range
├── DataNotFound     the folder or file is missing or empty, or holds nothing the source can read
└── FileRefused      a file that is there cannot be read, or lacks a required column; nothing of the delivery is written
"""


class SourceError(Exception):
    """The root of this tree; its text says the rule, what came, and the way out."""


class UnknownSource(SourceError):
    """No source of that name."""


class UnknownOption(SourceError):
    """An option the source does not know, or a value outside its range."""


class DataNotFound(SourceError):
    """Nothing to read where the source was pointed."""


class FileRefused(SourceError):
    """A file that cannot be read, or that lacks a required column."""
