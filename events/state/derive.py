#!/usr/bin/env python3
"""What the feed of a watch log must make of the events beside this file, worked out a second time.

The rules once more in another language, as ../derive.py is for audit events. The feed is that of the table teleport-state in
Teleport's layout; in cases whose name begins with `partitioned` of own-state, namespace default of the partitioned one.

    derive.py           compare expected/*.json with the rules; exit 1 and say where they differ
    derive.py --write   write expected/*.json
"""
import base64
import binascii
import datetime
import hashlib
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
BLANK = "00000000-0000-0000-0000-000000000000"


class Refused(Exception):
    """The whole batch is."""


def teleport(keys):
    """The key of an item; None if it is nobody's here; refused if the table is of another layout."""
    if "HashKey" not in keys:
        raise Refused("layout")
    path = keys.get("FullPath", {}).get("S", "")
    return path[len("teleport"):] if keys["HashKey"].get("S") == "teleport" and path.startswith("teleport") else None


def partitioned(keys):
    if "Part" not in keys:
        raise Refused("layout")
    return keys["Key"]["S"] if keys["Part"]["S"].rpartition("#")[0] == "default" else None


def item(image):
    """Expiry, revision and value; None if the image cannot be read."""
    if not isinstance(image, dict):
        return None
    value = image.get("Value", {})
    try:
        base64.b64decode(value.get("B", ""), validate=True)
    except (binascii.Error, ValueError):
        return None
    expires = image.get("Expires", {}).get("N")
    return {"expires": int(expires) if expires else None, "revision": image.get("Revision", {}).get("S", BLANK),
            "value": value.get("B", "")}


def change(record, layout, number, order, per_second=1):
    """What the appender is given: a change, a gap, or None for what is skipped."""
    record = record if isinstance(record, dict) else {}
    inner = record.get("dynamodb") if isinstance(record.get("dynamodb"), dict) else {}
    created = inner.get("ApproximateCreationDateTime")
    created = round(created * 1000 / per_second) if isinstance(created, (int, float)) else None
    gap = {"unreadable": number or record.get("eventID"), "created": created}
    if not isinstance(inner.get("Keys"), dict):
        return gap
    key = layout(inner["Keys"])
    if key is None:
        return None
    if order is None:
        return gap
    found = {"key": key, "operation": "unknown", "created": created, "order": order}
    new, old, name = item(inner.get("NewImage")), item(inner.get("OldImage")), record.get("eventName")
    if name in ("INSERT", "MODIFY") and new:
        found.update(operation="put", put=new)
    elif name == "REMOVE":
        by = record.get("userIdentity") or {}
        if by.get("type") == "Service" and by.get("principalId") == "dynamodb.amazonaws.com":
            cause = "expired"
        elif old is None or old["expires"] and created is None:
            cause = "unknown"
        else:
            # An item is live in the second of its expiry.
            cause = "expired" if old["expires"] and created // 1000 > old["expires"] else "deleted"
        found.update(operation="delete", cause=cause, previous=old)
    return found


def table_of(arn):
    return arn.split(":", 5)[5].split("/")[1] if ":table/" in arn else None


def of_stream(record, table, layout):
    """(identifier, stream, what the appender is given)"""
    record = record if isinstance(record, dict) else {}
    arn = record.get("eventSourceARN")
    if arn and table_of(arn) != table:
        raise Refused(table_of(arn))
    number = record.get("dynamodb", {}).get("SequenceNumber", "")
    number = number if re.fullmatch(r"[0-9]{1,40}", number) else None
    return number, arn, change(record, layout, number, number and {"sequence": number})


def of_kinesis(record, table, layout):
    try:
        inner = json.loads(base64.b64decode(record["kinesis"]["data"], validate=True))
    except ValueError:
        inner = {}
    if inner.get("tableName", table) != table:
        raise Refused(inner["tableName"])
    at, order = inner.get("dynamodb", {}).get("ApproximateCreationDateTime"), None
    if at is not None:
        if inner["dynamodb"].get("ApproximateCreationDateTimePrecision") != "MICROSECOND":
            raise Refused("MICROSECOND")
        if inner.get("eventID"):
            order = {"created": at, "event_id": inner["eventID"]}
    number = record["kinesis"]["sequenceNumber"]
    return number, table, change(inner, layout, number, order, 10**6)


def losses(records, table):
    """The one gap that all messages are owed, and the messages that are refused."""
    found, refused = [], []
    for record in records:
        try:
            body = json.loads(record["body"])
        except ValueError:
            body = {}
        lost = body.get("DDBStreamBatchInfo") or body.get("KinesisBatchInfo")
        if not lost:
            found.append((record["messageId"], None))
        elif "payload" in body or table_of(lost["streamArn"]) not in (None, table):
            refused.append(record["messageId"])
        else:
            last = datetime.datetime.fromisoformat(lost["approximateArrivalOfLastRecord"].replace("Z", "+00:00"))
            found.append((f"{body['requestContext']['requestId']}/{lost['shardId']}/{lost['startSequenceNumber']}",
                          round(last.timestamp() * 1000) + 1000))
    if not found:
        return None, refused
    ids = sorted(each for each, _ in found)
    together = ids[0] if len(found) == 1 else hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]
    until = None if any(at is None for _, at in found) else max(at for _, at in found)
    return {"id": together, "until": until}, refused


def expect(name, document):
    table, layout = ("own-state", partitioned) if name.startswith("partitioned") else ("teleport-state", teleport)
    records = document.get("Records")
    if records is None:
        return {"answer": {"error": "gave up" if "payload" in document else "Records"}}
    sources = {record["eventSource"] for record in records if isinstance(record, dict)}
    count = {"records_in": len(records), "appended": 0, "gaps": 0, "skipped": 0, "retried": 0}
    failures = lambda ids: {"batchItemFailures": [{"itemIdentifier": each} for each in ids]}
    if sources == {"aws:sqs"}:
        broken, refused = losses(records, table)
        count.update(gaps=len(records) - len(refused), retried=len(refused))
        return {"answer": failures(refused), "broken": broken, "metrics": count}
    runs, ids = [], []
    try:
        read = [(of_kinesis if sources == {"aws:kinesis"} else of_stream)(each, table, layout) for each in records]
    except Refused as why:
        return {"answer": {"error": str(why)}}
    stream = next((stream for _, stream, _ in read if stream), None)
    for number, named, found in read:
        stream = named or stream
        ids.append(number)
        if found is None:
            count["skipped"] += 1
            continue
        count["gaps" if "unreadable" in found else "appended"] += 1
        if not runs or runs[-1]["stream"] != stream:
            runs.append({"stream": stream, "batch": []})
        runs[-1]["batch"].append(found)
    return {"answer": failures([]), "ids": ids, "runs": runs, "metrics": count}


def main():
    write, wrong = sys.argv[1:] == ["--write"], 0
    cases = sorted(HERE.glob("*.json"))
    for path in cases:
        text = json.dumps(expect(path.stem, json.loads(path.read_text("utf-8"))), indent=2) + "\n"
        file = HERE / "expected" / path.name
        if write:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, "utf-8")
        elif not file.exists() or json.loads(file.read_text("utf-8")) != json.loads(text):
            print(f"differs: events/state/expected/{path.name}")
            wrong += 1
    for file in (HERE / "expected").glob("*.json"):
        if not (HERE / file.name).exists():
            print(f"no such case: events/state/expected/{file.name}")
            wrong += 1
    print(f"{len(cases)} cases, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
