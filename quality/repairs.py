"""Repairs of delivered text, each with a name: encodings read wrongly, and whitespace or control characters that came along.

`<column>_encoding`: bytes that are not UTF-8 were decoded as cp1252, or UTF-8 that somebody had read as Latin-1 or cp1252 ("CrÃ¨me") was
read again as what it is. `<column>_trimmed`: whitespace around the text, or control characters anywhere in it, were taken away.
Nothing else is changed, and the names stand in the row's column `repairs`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

#: The characters that cp1252 gives to the bytes 0x80-0x9F; read as UTF-8, these bytes and U+00A0-U+00BF only ever continue a character.
_CP1252 = "".join(bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xA0))
_MISREAD = rf"[\x{{C2}}-\x{{F4}}][\x{{80}}-\x{{BF}}{_CP1252}]"

_SPACE = r"[\s\pZ\p{Cc}\x{FEFF}\x{200B}]"
_CONTROL = r"[\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}\x{7F}]"
_SURPLUS = f"^{_SPACE}+|{_SPACE}+$|{_CONTROL}"

#: Found in every row of texts, joined by `~`, of which one needs a repair, and in few others.
_SUSPICIOUS = f"(^|~){_SPACE}|{_SPACE}(~|$)|{_CONTROL}|{_MISREAD}"

_TEXT_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\r")


def decode_bytes(raw: bytes) -> str | None:
    """Bytes that are not UTF-8, as cp1252; None where they are not text in that either."""
    if _TEXT_CONTROLS & set(raw):
        return None
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return None


def mend_text(text: str) -> str:
    """`text` with UTF-8 that was read as Latin-1 or cp1252, once or several times over, read as UTF-8.

    Only where the whole text turns back into bytes of UTF-8 and gets shorter; anything else is returned as it came: `mend_text("CrÃ¨me")`
    is `"Crème"`, `mend_text("SÃO PAULO")` is itself.
    """
    while (mended := _read_again(text)) is not None and len(mended) < len(text):
        text = mended
    return text


def _read_again(text: str) -> str | None:
    try:
        return b"".join(_byte(character) for character in text).decode("utf-8")
    except UnicodeError:
        return None


def _byte(character: str) -> bytes:
    """One byte of cp1252; the five bytes that it leaves undefined pass through as in Latin-1."""
    return character.encode("latin-1" if ord(character) < 0x100 else "cp1252")


def add_functions(connection: "duckdb.DuckDBPyConnection") -> None:
    """Makes `decode_bytes` and `mend_text` known to SQL; they run for suspicious values only. SPECIAL: None may come back."""
    from duckdb.func import SPECIAL

    connection.create_function("decode_bytes", decode_bytes, ["BLOB"], "VARCHAR", null_handling=SPECIAL)
    connection.create_function("mend_text", mend_text, ["VARCHAR"], "VARCHAR")


def is_suspicious(texts: list[str]) -> str:
    """SQL that is true where any of `texts`, SQL expressions, may need a repair: one look at a row whose texts are all sound."""
    return f"regexp_matches(concat_ws('~', {', '.join(texts)}), '{_SUSPICIOUS}')"


def repaired(text: str) -> str:
    """SQL of `text`, an SQL expression, with encodings mended, and trimmed."""
    return f"regexp_replace(mend_text({text}), '{_SURPLUS}', '', 'g')"
