#!/usr/bin/env python3
"""What `forward` must do with the events beside this file, worked out a second time.

This is the rules read once more in another language, so that the expectations do not come from the
program they test. It shares no code with it and needs nothing but Python 3.9.

    derive.py           compare expected/*.json with the rules; exit 1 and say where they differ
    derive.py --write   write expected/*.json
"""
import base64
import binascii
import datetime
import json
import pathlib
import re
import sys
from decimal import Decimal

HERE = pathlib.Path(__file__).resolve().parent
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
ORIGINS = ("drain", "quarantine", "redrive", "backfill")
SINK = "archive"  # the one sink of whoever runs these cases
WITHIN = 3600  # a MODIFY without its old image is believed this long after CreatedAt, seconds


class Poison(Exception):
    """The record can never be delivered."""


class Number(str):
    """A number as it was spelled: never a float."""


def check(condition, kind="malformed"):
    if not condition:
        raise Poison(kind)


def value(attribute):
    """One attribute value as JSON. DynamoDB Local sends an empty map as {} without a type."""
    check(isinstance(attribute, dict) and len(attribute) <= 1)
    if not attribute:
        return {}
    ((tag, inner),) = attribute.items()
    if tag == "S":
        check(isinstance(inner, str))
        return inner
    if tag == "N":
        check(isinstance(inner, str) and NUMBER.match(inner))
        return Number(inner)
    if tag == "BOOL":
        check(isinstance(inner, bool))
        return inner
    if tag == "NULL":
        check(inner is True)
        return None
    if tag == "M":
        check(isinstance(inner, dict))
        return {key: value(item) for key, item in inner.items()}
    if tag == "L":
        check(isinstance(inner, list))
        return [value(item) for item in inner]
    if tag == "B":
        try:
            base64.b64decode(inner, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise Poison("malformed") from None
        return inner
    raise Poison("malformed")  # a type tag that nobody knows, or a set: none occurs in an event


SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quote(text):
    return '"' + "".join(
        SHORT.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def line(item, number=str):
    """Compact JSON, keys sorted by their bytes at every level."""
    if isinstance(item, Number):
        return number(item)
    if isinstance(item, str):
        return quote(item)
    if isinstance(item, dict):
        keys = sorted(item, key=lambda key: key.encode())
        return "{" + ",".join(f"{quote(key)}:{line(item[key], number)}" for key in keys) + "}"
    if isinstance(item, list):
        return "[" + ",".join(line(each, number) for each in item) + "]"
    return {None: "null", True: "true", False: "false"}[item]


def canonical(item):
    """For comparing only: 3, 3.0 and 3e0 are one number."""
    return line(item, lambda text: format(Decimal(text).normalize(), "f"))


def payload(image):
    """The event in a row: FieldsMap, else the JSON in the legacy Fields; None if it has neither."""
    if "FieldsMap" in image:
        check(isinstance(image["FieldsMap"], dict) and (image["FieldsMap"] == {} or "M" in image["FieldsMap"]))
        return value(image["FieldsMap"])
    if "Fields" in image:
        text = value(image["Fields"])
        check(isinstance(text, str) and not isinstance(text, Number))
        try:
            event = json.loads(text, parse_int=Number, parse_float=Number)
        except ValueError:
            raise Poison("malformed") from None
        check(isinstance(event, dict))
        return event
    return None


def changed(image, event, record):
    """Whether a MODIFY says something new: True, False, or None where that cannot be proved."""
    old = record.get("OldImage")
    if old is not None:
        before = payload(old)
        if before is None:
            return True
        if "FieldsMap" not in old and all(before.get(k) == event.get(k) for k in ("uid", "time", "code")):
            return False  # the one-time migration from Fields to FieldsMap
        return canonical(before) != canonical(event)
    created = record.get("ApproximateCreationDateTime")
    if created is None:
        created = datetime.datetime.now(datetime.timezone.utc).timestamp()
    at = image.get("CreatedAt", {}).get("N")
    return True if at and abs(created - int(at)) <= WITHIN else None


def day(image, event):
    """The UTC date of the event: its own time, else the row's CreatedAt."""
    text = event.get("time")
    if isinstance(text, str) and text:
        text = re.sub(r"\.([0-9]{1,6})[0-9]*", lambda m: "." + m[1].ljust(6, "0"), text).replace("Z", "+00:00")
        moment = datetime.datetime.fromisoformat(text)
    else:
        moment = datetime.datetime.fromtimestamp(int(image["CreatedAt"]["N"]), datetime.timezone.utc)
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%d")


def dispose(record, judged=False):
    """(file, line) to deliver, or "skipped", or "unproven"; poison raises."""
    check(isinstance(record, dict))
    name = record.get("eventName")
    if name not in ("INSERT", "MODIFY"):
        return "skipped"
    change = record.get("dynamodb")
    check(isinstance(change, dict) and isinstance(change.get("NewImage"), dict))
    check(isinstance(change.get("SequenceNumber"), str) and change["SequenceNumber"], "no_sequence_number")
    image = change["NewImage"]
    session, index = image.get("SessionID", {}).get("S"), image.get("EventIndex", {}).get("N")
    check(isinstance(session, str) and isinstance(index, str))
    if session.startswith("CHUNK#"):
        return "skipped"
    event = payload(image)
    if event is None:
        check("EventType" not in image)
        return "skipped"
    if name == "MODIFY":
        news = changed(image, event, change)
        if not news and not (news is None and judged):
            return "unproven" if news is None else "skipped"
    return f"{day(image, event)}.ndjson", line(event)


def fails(text):
    return {"answer": {"error": text}, "delivered": {}, "quarantined": [], "metrics": {}}


def known(record, name):
    """What can be told of a record that cannot be read."""
    record = record if isinstance(record, dict) else {}
    return (record if name == "eventID" else record.get("dynamodb", {})).get(name)


def expect(document):
    header = document.get("tidewatch", {})
    handed = "tidewatch" in document
    if not isinstance(document.get("Records"), list):
        return fails("Records")
    if handed and not (isinstance(header, dict) and header.get("origin") in ORIGINS
                       and set(header) <= {"origin", "sink"} and isinstance(header.get("sink", ""), str)):
        return fails("Records")
    origin, sink = header.get("origin"), header.get("sink")
    if sink not in (None, SINK):
        return fails(sink)
    # What waited for a sink was found to be new before it waited.
    judged = origin == "drain" or (origin == "quarantine" and sink is not None)
    delivered, quarantined, sent, failures = {}, [], set(), []
    count = dict.fromkeys(("records_in", "delivered", "skipped", "quarantined", "retried", "repeats"), 0)
    count["records_in"] = len(document["Records"])
    for position, record in enumerate(document["Records"]):
        try:
            what = dispose(record, judged)
        except Poison as poison:
            if origin == "quarantine":
                # It is in quarantine already: it stays there, and its place is told.
                failures = [{"itemIdentifier": known(record, "SequenceNumber")}]
                count["retried"] = count["records_in"] - position
                break
            count["quarantined"] += 1
            quarantined.append({
                "kind": str(poison),
                "event_id": known(record, "eventID"),
                "sequence_number": known(record, "SequenceNumber"),
            })
            continue
        if isinstance(what, str):
            count["skipped"] += 1
            if what == "unproven":
                count["modify_unproven"] = count.get("modify_unproven", 0) + 1
            continue
        # A repeat is delivered too: it is there already. The file sink does not write it again.
        count["delivered"] += 1
        if what in sent:
            count["repeats"] += 1
            continue
        sent.add(what)
        delivered.setdefault(what[0], []).append(what[1])
    return {"answer": {"batchItemFailures": failures}, "delivered": delivered, "quarantined": quarantined,
            "metrics": count}


def main():
    write, wrong = sys.argv[1:] == ["--write"], 0
    cases = sorted(HERE.glob("*.json"))
    for path in cases:
        text = json.dumps(expect(json.loads(path.read_text("utf-8"))), indent=2,
                          ensure_ascii=path.stem == "unicode-and-control") + "\n"
        file = HERE / "expected" / path.name
        if write:
            file.write_text(text, "utf-8")
        elif not file.exists() or json.loads(file.read_text("utf-8")) != json.loads(text):
            print(f"differs: events/expected/{path.name}")
            wrong += 1
    for file in (HERE / "expected").glob("*.json"):
        if not (HERE / file.name).exists():
            print(f"no such case: events/expected/{file.name}")
            wrong += 1
    print(f"{len(cases)} cases, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
