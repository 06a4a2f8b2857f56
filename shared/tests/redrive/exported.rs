//! Backfills from an export in S3. Its form is that of AWS's documentation ("DynamoDB table export output format").

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::objects::Objects;
use tidewatch::redrive::{BackfillError, FromExport, Position, Range};

use crate::store::Store;
use crate::{Forward, cut, hand};

const BASE: u64 = 1_795_132_800;
const PREFIX: &str = "exports/AWSDynamoDB/01693685827463-2d8752fd";

fn item(n: u64) -> String {
    let item = json!({"Item": {
        "SessionID": {"S": format!("s{n}")}, "EventIndex": {"N": "0"}, "EventType": {"S": "x"},
        "CreatedAt": {"N": (BASE + n).to_string()}, "CreatedAtDate": {"S": "2026-11-20"},
        "FieldsMap": {"M": {"event": {"S": "x"}, "uid": {"S": format!("u{n}")}, "pad": {"S": "x".repeat(10_000)}}},
    }});
    item.to_string()
}

fn summary() -> Value {
    json!({
        "version": "2020-06-30", "exportArn": "arn:aws:dynamodb:us-east-1:123456789012:table/audit/export/01693685827463-2d8752fd",
        "startTime": "2026-11-21T00:00:00.000Z", "endTime": "2026-11-21T00:05:00.000Z",
        "tableArn": "arn:aws:dynamodb:us-east-1:123456789012:table/audit", "tableId": "12345a12-abcd-123a-ab12-1234abc12345",
        "exportTime": "2026-11-21T00:00:00.000Z", "s3Bucket": "audit-bucket", "s3Prefix": "exports", "s3SseAlgorithm": "AES256",
        "s3SseKmsKeyId": null, "manifestFilesS3Key": format!("{PREFIX}/manifest-files.json"), "billedSizeBytes": 1,
        "itemCount": 603, "outputFormat": "DYNAMODB_JSON", "outputView": "NEW_IMAGE", "exportType": "FULL_EXPORT",
    })
}

async fn exported(summary: &Value, missing: bool) -> (Store, Objects) {
    let store = Store::new();
    let objects = store.objects(PREFIX);
    let mut files = String::new();
    let chunk = json!({"Item": {"SessionID": {"S": "CHUNK#1"}, "EventIndex": {"N": "0"}}}).to_string();
    let odd = [chunk, "no json".to_owned(), item(9_000_000)];
    let contents = [
        (0..600).map(item).skip(usize::from(missing)).collect::<Vec<_>>(),
        odd.to_vec(),
        Vec::new(),
    ];
    for (n, lines) in contents.into_iter().enumerate() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        for line in &lines {
            writeln!(gzip, "{line}").unwrap();
        }
        let name = format!("data/f{n}.json.gz");
        objects.put(&name, gzip.finish().unwrap()).await.unwrap();
        let file = json!({"itemCount": if n == 0 { 600 } else { lines.len() }, "md5Checksum": "x", "etag": "y", "dataFileS3Key": format!("{PREFIX}/{name}")});
        files.push_str(&format!("{file}\n"));
    }
    objects
        .put("manifest-summary.json", summary.to_string().into_bytes())
        .await
        .unwrap();
    objects
        .put("manifest-files.json", files.into_bytes())
        .await
        .unwrap();
    store.sent();
    (store, objects)
}

fn range() -> Range {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    Range::new(at(BASE), at(BASE + 100_000))
}

#[derive(Debug, Default, PartialEq)]
struct Came {
    records: usize,
    no_events: usize,
    unreadable: usize,
    outside: usize,
}

async fn run(
    objects: &Objects,
    forward: &Forward,
    position: &mut Option<Position>,
) -> Result<Came, BackfillError> {
    let (clock, mut came) = (Clock::system(), Came::default());
    let mut export = FromExport::open(objects, range(), position.as_ref(), hand(forward, &clock)).await?;
    while let Some(step) = export.next().await? {
        came.records += step.tally.records;
        came.no_events += step.no_events;
        came.unreadable += step.unreadable;
        came.outside += step.outside;
        *position = Some(step.position.to_string().parse().unwrap());
    }
    Ok(came)
}

#[tokio::test]
async fn its_events_of_the_range_are_handed_over() {
    let (_store, objects) = exported(&summary(), false).await;
    let forward = Forward::default();
    let came = run(&objects, &forward, &mut None).await.unwrap();
    let due = Came {
        records: 600,
        no_events: 1,
        unreadable: 1,
        outside: 1,
    };
    assert_eq!(came, due);
    assert!(*forward.invocations.lock().unwrap() > 1);
    let taken = forward.taken.lock().unwrap();
    assert_eq!(taken[7].1["dynamodb"]["ApproximateCreationDateTime"], BASE + 7);
    assert_eq!(taken[7].1["dynamodb"]["Keys"]["SessionID"]["S"], "s7");
}

#[tokio::test]
async fn cut_anywhere_it_goes_on_from_its_position() {
    let whole = Forward::default();
    let (store, objects) = exported(&summary(), false).await;
    run(&objects, &whole, &mut None).await.unwrap();
    let (requests, invocations) = (store.sent().len(), *whole.invocations.lock().unwrap());
    assert_eq!((requests, invocations), (5, 2));
    for at in 0..requests + invocations {
        for after in [false, true] {
            let mut forward = Forward::default();
            if at < requests {
                cut(&store, at, after);
            } else {
                forward.cut = Some((at - requests, after));
            }
            let mut position = None;
            let failed = run(&objects, &forward, &mut position).await;
            assert!(failed.is_err(), "{at}");
            store.plan(|_, _| crate::Fate::Served);
            run(&objects, &forward, &mut position).await.unwrap();
            assert_eq!(forward.numbers(), whole.numbers(), "{at}, {after}");
        }
    }
}

#[tokio::test]
async fn what_is_no_whole_export_of_its_kind_is_refused() {
    for (member, value) in [
        ("outputFormat", json!("ION")),
        ("exportType", json!("INCREMENTAL_EXPORT")),
        ("itemCount", json!(5)),
    ] {
        let mut summary = summary();
        summary[member] = value;
        let (_store, objects) = exported(&summary, false).await;
        let refused = run(&objects, &Forward::default(), &mut None).await;
        assert!(matches!(refused, Err(BackfillError::Export { .. })), "{member}");
    }
    let empty = Store::new().objects("");
    assert!(run(&empty, &Forward::default(), &mut None).await.is_err());
    // A file that lacks a row.
    let (_store, objects) = exported(&summary(), true).await;
    let refused = run(&objects, &Forward::default(), &mut None).await;
    assert!(
        matches!(refused, Err(BackfillError::Export { .. })),
        "{refused:?}"
    );
}
