"""What may be shown: secrets become ``***``, and text cannot become markup or a terminal command."""

import html
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

# A name is secret when a word in it ends in one of these: api_key, hf_token, AccessKeyId, db.password.
_SECRET = r"(?i:keys?|tokens?|secrets?|signatures?|sig|pass(?:word|wd|phrase)s?|credentials?)(?![a-z])"
# num_tokens counts and token_width measures; they hide nothing
_COUNT = re.compile(r"(?:^|[._])(?:num|max)_\w*$|_(?:width|dim|size|length|count|mask|dropout)$")

_WORD = r"[+~\w.@/-]"
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|[^\s&\"']+)"
_SECRET_NAME = rf"(?P<name>(?<!{_WORD})(?={_WORD}*?{_SECRET}){_WORD}++)"
_USERINFO = re.compile(r"(?P<scheme>(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://)[^/\s?#]*@")
_ASSIGNMENTS = (
    re.compile(rf"(?P<before>['\"]){_SECRET_NAME}(?P<mark>=)[^'\"]*(?=['\"])"),
    re.compile(rf"(?P<before>){_SECRET_NAME}(?P<mark>['\"]?\s*[=:]\s*){_VALUE}"),
    re.compile(rf"(?P<before>(?=--)){_SECRET_NAME}(?P<mark>\s+)(?!-){_VALUE}"),
)


def redact(value: Any) -> Any:
    """The same plain value without its secrets: those named so, and the userinfo of URLs."""
    if isinstance(value, Mapping):
        return {redact(name): _of(name, part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_override(part) if isinstance(part, str) else redact(part) for part in value]
    return _line(value) if isinstance(value, str) else value


def secret(name: str) -> bool:
    """Whether what stands under this name must not be shown."""
    return bool(re.search(_SECRET, name)) and not _COUNT.search(name)


def printable(value: object) -> str:
    """Text without the characters that steer a terminal or cannot be written as UTF-8."""
    shown = "".join(char if _is_shown(char) else "�" for char in str(value))
    return shown.encode("utf-8", "replace").decode("utf-8")


def escaped(value: object) -> str:
    """Text that is safe inside an HTML element and inside a quoted attribute."""
    return html.escape(printable(redact(str(value))), quote=True)


def breakable(value: object) -> str:
    """The same, that may go on below after an underscore."""
    return escaped(value).replace("_", "_<wbr>")


def _is_shown(char: str) -> bool:
    """Letters, marks, spaces and the joiners of emoji; no control, no turn of the writing direction."""
    return char.isprintable() or char in "\n\t\u200c\u200d" or unicodedata.category(char) == "Zs"


def _of(name: object, part: Any) -> Any:
    if part is None or isinstance(part, bool) or not secret(str(name)):
        return redact(part)
    return HIDDEN


def _override(text: str) -> str:
    """One argument of a command line, whose value goes to the end however many words it has."""
    name, equals, _ = text.partition("=")
    return f"{name}={HIDDEN}" if equals and re.fullmatch(f"{_WORD}+", name) and secret(name) else _line(text)


def _line(text: str) -> str:
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    for pattern in _ASSIGNMENTS:
        text = pattern.sub(_hide, text)
    return text


def _hide(found: re.Match[str]) -> str:
    return f"{found['before']}{found['name']}{found['mark']}{HIDDEN}" if secret(found["name"]) else found[0]
