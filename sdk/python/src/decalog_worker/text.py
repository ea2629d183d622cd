"""Values as text, and back: UTF-8, JSON, and times of RFC 3339."""

import math
import re
from binascii import Error, a2b_base64, b2a_base64
from datetime import datetime, timedelta, timezone

from .standard import json


def utf8(text):
    """The bytes of a text; halves of surrogate pairs, which UTF-8 does not have, are replaced."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def to_json(value):
    """JSON text of any value that has a sensible one; numbers that are not finite become null."""
    try:
        return STRICT_JSON.encode(value)
    except ValueError:
        return STRICT_JSON.encode(finite(json.loads(LOOSE_JSON.encode(value))))


def finite(value):
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    return {key: finite(item) for key, item in value.items()} if isinstance(value, dict) else value


def plain_value(value):
    """What json makes of values that it does not know."""
    if is_missing(value):
        return None
    if isinstance(value, datetime):
        return timestamp_text(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return json_of_bytes(bytes(value))
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    row = as_row(value)
    if row is not value:
        return row
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "value") and hasattr(type(value), "__members__"):
        return value.value
    if type(value).__name__ in ("Decimal", "UUID", "PosixPath"):
        return float(value) if type(value).__name__ == "Decimal" else str(value)
    raise TypeError("a value of type %s has no JSON form" % type(value).__name__)


def json_of_bytes(value):
    """Text where bytes are UTF-8, else `{"b64": …}`, as callers send and get them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": b2a_base64(value, newline=False).decode()}


def bytes_of_json(value):
    """The bytes that a JSON value stands for; fails if it stands for none."""
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str):
        try:
            # The padding may be left out.
            return a2b_base64(value["b64"] + "=" * (-len(value["b64"]) % 4), strict_mode=True)
        except (Error, ValueError):
            raise ValueError("it is no base64 in the standard alphabet") from None
    raise ValueError("it is neither text nor {\"b64\": …}")


STRICT_JSON = json.JSONEncoder(default=plain_value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
LOOSE_JSON = json.JSONEncoder(default=plain_value)


def is_missing(value):
    """Whether a value stands for none: that of Python, or those of pandas and numpy."""
    return value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant")


def timestamp_text(value):
    """RFC 3339; a time without a zone counts as UTC."""
    offset = value.utcoffset()
    if offset is None:
        return value.replace(tzinfo=None).isoformat() + "Z"
    if offset.total_seconds() % 60:  # as zones had before there was standard time: RFC 3339 has no form for it
        value = value.astimezone(timezone.utc)
    return value.isoformat().replace("+00:00", "Z")


RFC_3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z")


def parse_timestamp(text):
    match = RFC_3339.match(text)
    if not match:
        raise ValueError("%r is not a timestamp of RFC 3339" % text)
    fraction = int(((match.group(7) or "") + "000000")[:6])
    offset = timedelta(hours=int(match.group(9) or 0), minutes=int(match.group(10) or 0))
    zone = timezone(-offset if match.group(8) == "-" else offset) if offset else timezone.utc
    return datetime(*[int(part) for part in match.groups()[:6]], fraction, zone)


def as_row(value):
    """Records of all kinds as a dict; anything else as it is."""
    if isinstance(value, dict) or value is None or type(value) in (int, float, str, bool, list, tuple):
        return value
    if hasattr(value, "_asdict"):
        return value._asdict()
    if hasattr(type(value), "__dataclass_fields__"):
        return {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    if hasattr(type(value), "model_fields"):
        return value.model_dump()
    if type(value).__name__ == "Series" and type(value).__module__.startswith("pandas"):
        return value.to_dict()
    return value
