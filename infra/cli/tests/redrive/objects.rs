//! `tidewatch redrive`.

use std::path::Path;

use serde_json::{Value, json};

use crate::lambda::{Lambda, delivered};
use crate::machine::Machine;
use crate::{TABLE, at, files, machine, record, stamp};

const METADATA: &str = include_str!("../../../../shared/tests/golden/redrive/on-failure-metadata.json");

/// An on-failure object of a shard, with records of these events and numbers.
fn object(shard: &str, records: &[(u64, u64)]) -> String {
    let mut object: Value = serde_json::from_str(METADATA).unwrap();
    let records: Vec<Value> = records.iter().map(|(n, number)| record(*n, *number)).collect();
    object["DDBStreamBatchInfo"]["shardId"] = json!(shard);
    object["payload"] = json!(json!({ "Records": records }).to_string());
    object.to_string()
}

/// One without payload, of the times of two events.
fn owed(from: u64, to: u64) -> String {
    let mut object: Value = serde_json::from_str(METADATA).unwrap();
    let batch = &mut object["DDBStreamBatchInfo"];
    batch["approximateArrivalOfFirstRecord"] = json!(stamp(at(from)));
    batch["approximateArrivalOfLastRecord"] = json!(stamp(at(to)));
    object
        .to_string()
        .replace("table/mytable", &format!("table/{TABLE}"))
}

fn put(dir: &Path, name: &str, body: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, body).unwrap();
}

/// Names by shard, which say nothing of the order within it.
fn give_up(dir: &Path) {
    put(dir, "aws/lambda/id/a/1", &object("a", &[(2, 100), (3, 101)]));
    put(dir, "aws/lambda/id/a/2", &object("a", &[(0, 9), (1, 10)]));
    put(dir, "aws/lambda/id/b/3", &object("b", &[(4, 7)]));
}

#[tokio::test]
async fn what_there_is_is_listed_and_left_alone() {
    let machine = Machine::start().await;
    let failed = machine.home().join("failed");
    give_up(&failed);
    put(&failed, "aws/lambda/id/c/4", &owed(0, 1));
    let place = format!("file://{}", failed.display());
    let list = machine
        .bare(&format!("redrive --from {place} --list"))
        .await
        .expect(0);
    let lines: Vec<&str> = list.out.lines().collect();
    // In the order in which they would be handed over.
    for (line, object) in lines
        .iter()
        .zip(["a/2  2 records", "a/1  2 records", "b/3  1 records"])
    {
        assert!(
            line.contains(object) && line.starts_with("2019-11-14T00:13:19Z"),
            "{}",
            list.out
        );
    }
    assert!(
        lines[3].contains("audit backfill --from 2026-11-20T08:00:00Z --to 2026-11-20T13:00:00Z")
            && lines[3].contains("it is of teleport.audit"),
        "{}",
        list.out
    );
    assert!(
        lines[4].starts_with("3 objects wait to be replayed: 5 records, ")
            && lines[4].contains("the oldest there for"),
        "{}",
        list.out
    );
    let dry = machine
        .bare(&format!(
            "redrive --from {place} --dry-run --json --function unasked"
        ))
        .await
        .expect(0);
    let json = dry.json();
    assert_eq!(
        (&json["dry_run"], &json["waiting"]["records"]),
        (&json!(true), &json!(5))
    );
    assert!(json["waiting"]["oldest_seconds"].is_u64(), "{json}");
    assert_eq!((&json["records"], &json["stay"]), (&json!(0), &json!(1)));
    assert_eq!(dry.err, "");
    assert_eq!(files(&failed).len(), 4);
}

#[tokio::test]
async fn objects_in_s3_are_handed_to_the_function_in_order_and_removed() {
    let (machine, lambda) = (Machine::start().await, Lambda::start().await);
    let bucket = lambda.bucket();
    give_up(&bucket.join("failed"));
    let redrive = format!(
        "redrive --from s3://audit-bucket/failed --function forward --json --endpoint-url {}",
        lambda.url
    );
    let json = machine.bare(&redrive).await.expect(0).json();
    assert_eq!(
        (&json["objects"], &json["records"], &json["stay"]),
        (&json!(3), &json!(5), &json!(0))
    );
    let asked = lambda.asked();
    let line = "POST /2015-03-31/functions/forward/invocations HTTP/1.1";
    assert!(asked.iter().all(|(request, _)| request == line), "{asked:?}");
    let numbers = |payload: &Value| {
        let records = payload["Records"].as_array().unwrap().iter();
        records
            .map(|record| record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let order: Vec<String> = asked.iter().flat_map(|(_, payload)| numbers(payload)).collect();
    assert_eq!(order, ["9", "10", "100", "101", "7"]);
    assert_eq!(asked[0].1["tidewatch"], json!({"origin": "redrive"}));
    assert_eq!(delivered(&lambda.sink()), [0, 1, 2, 3, 4]);
    assert!(
        files(&bucket).iter().all(|name| !name.contains("lambda")),
        "{:?}",
        files(&bucket)
    );
    let nothing = machine.bare(&redrive).await.expect(0).json();
    assert_eq!(nothing["waiting"]["objects"], 0);
}

#[tokio::test]
async fn an_object_stays_until_all_of_it_is_taken_and_what_follows_it_waits() {
    let (machine, lambda) = (Machine::start().await, Lambda::start().await);
    let failed = machine.home().join("failed");
    give_up(&failed);
    let redrive = format!(
        "redrive --from file://{} --function forward --function-endpoint {}",
        failed.display(),
        lambda.url
    );
    // The first of shard a fails; shard b does not wait for it.
    lambda.fail(&[0]);
    let text = machine.bare(&redrive).await.expect(3);
    assert!(
        text.out.contains("a/2: function forward: it failed (Unhandled)")
            && text.out.contains("a/1: one before it in its shard was not taken")
            && text
                .out
                .contains("replayed 1 of 3 objects, 1 records; 2 objects stay"),
        "{}",
        text.out
    );
    assert_eq!(files(&failed), ["aws/lambda/id/a/1", "aws/lambda/id/a/2"]);
    assert_eq!(delivered(&lambda.sink()), [4]);
    let rest = machine.bare(&redrive).await.expect(0);
    assert!(!rest.out.contains("nothing found"), "{}", rest.out);
    assert!(files(&failed).is_empty());
    assert_eq!(delivered(&lambda.sink()), [4, 0, 1, 2, 3]);
    let nothing = machine.bare(&redrive).await.expect(0);
    assert!(
        nothing.out.contains("nothing found: ") && nothing.out.contains("are under aws/lambda/"),
        "{}",
        nothing.out
    );
    // Nobody there at all.
    give_up(&failed);
    let deaf = format!(
        "redrive --from file://{} --function forward --function-endpoint http://127.0.0.1:1",
        failed.display()
    );
    let ended = machine.bare(&deaf).await.expect(3);
    assert!(ended.out.contains("function forward: "), "{}", ended.out);
    assert_eq!(files(&failed).len(), 3);
}

#[tokio::test]
async fn one_without_records_goes_only_after_the_backfill_of_its_time() {
    let (machine, lambda) = (machine(0..12).await, Lambda::start().await);
    let failed = machine.home().join("failed");
    put(&failed, "aws/lambda/id/a/1", &owed(5, 6));
    let redrive = format!(
        "redrive --from file://{} --function forward --function-endpoint {} --endpoint-url {}",
        failed.display(),
        lambda.url,
        machine.url()
    );
    let told = machine.bare(&redrive).await.expect(3);
    assert!(
        told.out
            .contains("it holds no records; bring it back with --backfill"),
        "{}",
        told.out
    );
    let idle = machine
        .bare(&format!("{redrive} --table {TABLE}"))
        .await
        .expect(2);
    assert!(idle.err.contains("only with --backfill"), "{}", idle.err);
    assert_eq!((files(&failed).len(), lambda.asked().len()), (1, 0));

    let backfill = format!("{redrive} --backfill --table {TABLE}");
    lambda.fail(&[0]);
    let failed_once = machine.bare(&backfill).await.expect(1);
    assert!(
        failed_once.err.contains("it failed (Unhandled)"),
        "{}",
        failed_once.err
    );
    assert_eq!(files(&failed).len(), 1);
    let done = machine.bare(&format!("{backfill} --json")).await.expect(0).json();
    assert_eq!(
        (&done["repaid"], &done["stay"], &done["owed"]),
        (&json!(1), &json!(0), &json!([]))
    );
    assert!(files(&failed).is_empty());
    // From two hours before the first to two hours after the last.
    assert_eq!(delivered(&lambda.sink()), [3, 4, 5, 6, 7]);

    put(&failed, "aws/lambda/id/a/1", &owed(5, 6).replace(TABLE, "state"));
    let other = machine.bare(&backfill).await.expect(3);
    assert!(
        other.out.contains("its records are of table state"),
        "{}",
        other.out
    );
    assert_eq!(files(&failed).len(), 1);
}

#[tokio::test]
async fn what_is_still_poison_stays_in_quarantine() {
    let machine = Machine::start().await;
    let home = machine.home();
    let place = home.join("quarantine");
    let line = |n: u64, sink: Value, record: &Value| {
        json!({"kind": "malformed", "reason": "it was\u{1b}[31m", "sink": sink, "event_id": null,
            "sequence_number": n.to_string(), "record": record})
        .to_string()
    };
    let mut poison = record(3, 3);
    poison["dynamodb"]["NewImage"]["FieldsMap"] = json!({"S": "no map"});
    let object = [
        line(1, Value::Null, &record(1, 1)),
        line(2, json!("gone"), &record(2, 2)),
        line(3, Value::Null, &poison),
        line(4, json!("b"), &record(4, 4)),
    ];
    put(&place, "0001-x.ndjson", &(object.join("\n") + "\n"));
    let document = format!(
        "quarantine: file://{0}/quarantine\nsinks: {{ a: {{ uri: 'file://{0}/a' }}, b: {{ uri: 'file://{0}/b' }} }}\n",
        home.display()
    );
    std::fs::write(home.join("tidewatch.yaml"), document).unwrap();
    let redrive = format!("redrive --quarantine file://{}", place.display());
    let list = machine.bare(&format!("{redrive} --list")).await.expect(0);
    assert!(
        list.out.contains("3  all sinks  malformed: it was"),
        "{}",
        list.out
    );
    assert!(
        list.out.contains("4 records in 1 objects, the oldest there for"),
        "{}",
        list.out
    );

    let nobody = machine.bare(&redrive).await.expect(2);
    assert!(nobody.err.contains("--config"), "{}", nobody.err);
    let config = format!("{redrive} --config {}/tidewatch.yaml", home.display());
    let done = machine.bare(&config).await.expect(3);
    assert!(done.out.contains("taken 2 records; 2 stay"), "{}", done.out);
    assert_eq!(delivered(&home.join("a")), [1]);
    assert_eq!(delivered(&home.join("b")), [1, 4]);
    let left = files(&place);
    let left: Vec<&String> = left.iter().filter(|name| name.ends_with(".ndjson")).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let text = std::fs::read_to_string(place.join(left[0])).unwrap();
    let stay: Vec<&str> = text.lines().collect();
    assert_eq!(stay, [object[1].as_str(), object[2].as_str()]);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let machine = Machine::start().await;
    for (arguments, says) in [
        ("redrive", "--from"),
        ("redrive --from nowhere", "file:///dir or s3://bucket/prefix"),
        (
            "redrive --from file:///x --quarantine file:///y",
            "cannot be used with",
        ),
        (
            "redrive --from file:///x --function-endpoint http://127.0.0.1:1",
            "--function <NAME>",
        ),
        ("redrive --from file:///x --function forward", "which AWS region?"),
        (
            "redrive --from file:///x --config absent.yaml",
            "absent.yaml cannot be read",
        ),
    ] {
        let ended = machine.bare(arguments).await.expect(2);
        assert!(ended.err.contains(says), "{arguments}: {}", ended.err);
    }
}

#[tokio::test]
async fn a_signal_ends_it_and_nothing_is_lost() {
    let machine = Machine::start().await;
    let failed = machine.home().join("failed");
    give_up(&failed);
    // A function that does not answer.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let redrive = format!(
        "redrive --from file://{} --function forward --function-endpoint http://{}",
        failed.display(),
        silent.local_addr().unwrap()
    );
    let child = machine
        .command(&redrive)
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let _asked = silent.accept().await.unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.contains("ended by a signal; run it again"), "{told}");
    assert_eq!(files(&failed).len(), 3);
}
