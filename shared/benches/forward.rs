//! A batch of 2,000 records from raw Lambda JSON to newline-delimited JSON, beside two limits of the same run:
//! `serde_json` parsing the same bytes to nothing, and that plus writing the same output.
//!
//! `cargo bench -p tidewatch --bench forward`; the last lines are the ratios and where the time goes. On two x86-64 cores:
//! 159,000 records a second, 0.39 of limit 2. A third of the time is what parsing to nothing takes, 18 % is the SHA-256 of
//! the lines; serde_json's reading of one attribute value after another takes about twice the instructions of skipping it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::{Forwarder, Outgoing, Sink, SinkError};
use tidewatch::random::Random;

const RECORDS: usize = 2_000;

/// Collects lines in memory.
#[derive(Debug, Default)]
struct Memory(std::sync::Mutex<Vec<u8>>);

impl Sink for Memory {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let mut out = self.0.lock().unwrap();
        out.clear();
        for record in records {
            out.extend_from_slice(record.line);
            out.push(b'\n');
        }
        std::future::ready(Ok(records.len())).boxed()
    }
}

/// An audit event of ordinary size, about 1.7 KB of Lambda JSON; members in no order, as DynamoDB gives them.
fn record(number: usize, rng: &mut fastrand::Rng) -> String {
    let session = format!("5b1f3c9e-7a55-4a1c-8a57-{:012x}", number % 97);
    let mut fields = vec![
        r#""event":{"S":"session.command"}"#.to_owned(),
        r#""code":{"S":"T4000I"}"#.to_owned(),
        format!(r#""uid":{{"S":"0b6f6f5a-1111-4222-8333-{number:012x}"}}"#),
        format!(r#""time":{{"S":"2026-11-20T10:15:{:02}.{:03}Z"}}"#, number % 60, number % 1000),
        format!(r#""ei":{{"N":"{number}"}}"#),
        format!(r#""sid":{{"S":"{session}"}}"#),
        r#""cluster_name":{"S":"prod.example.com"}"#.to_owned(),
        r#""user":{"S":"alice@example.com"}"#.to_owned(),
        r#""login":{"S":"root"}"#.to_owned(),
        r#""namespace":{"S":"default"}"#.to_owned(),
        r#""server_id":{"S":"00a154d8-5ed8-4bcc-a5c7-19c2add9ca88"}"#.to_owned(),
        r#""server_hostname":{"S":"ip-10-0-12-34.eu-north-1.compute.internal"}"#.to_owned(),
        r#""addr.remote":{"S":"198.51.100.23:51752"}"#.to_owned(),
        r#""addr.local":{"S":"10.9.8.7:3022"}"#.to_owned(),
        r#""server_labels":{"M":{"env":{"S":"prod"},"team":{"S":"payments"},"arch":{"S":"aarch64"}}}"#.to_owned(),
        r#""argv":{"L":[{"S":"-c"},{"S":"/usr/bin/journalctl --since '10 minutes ago' -u payments"},{"S":"-o"},{"S":"json"}]}"#.to_owned(),
        r#""path":{"S":"/usr/bin/bash"}"#.to_owned(),
        r#""program":{"S":"bash"}"#.to_owned(),
        format!(r#""pid":{{"N":"{}"}}"#, 1000 + number),
        r#""ppid":{"N":"911"}"#.to_owned(),
        r#""return_code":{"N":"0"}"#.to_owned(),
        r#""cgroup_id":{"N":"4294967296"}"#.to_owned(),
        r#""user_kind":{"N":"1"}"#.to_owned(),
        r#""success":{"BOOL":true}"#.to_owned(),
        r#""private_key_policy":{"S":"none"}"#.to_owned(),
    ];
    rng.shuffle(&mut fields);
    format!(
        r#"{{"eventID":"{number:032x}","eventName":"INSERT","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-north-1","dynamodb":{{"ApproximateCreationDateTime":1795169735.0,"Keys":{{"SessionID":{{"S":"{session}"}},"EventIndex":{{"N":"{number}"}}}},"NewImage":{{"SessionID":{{"S":"{session}"}},"EventIndex":{{"N":"{number}"}},"EventType":{{"S":"session.command"}},"EventNamespace":{{"S":"default"}},"CreatedAt":{{"N":"1795169735"}},"CreatedAtDate":{{"S":"2026-11-20"}},"Expires":{{"N":"1826705735"}},"FieldsMap":{{"M":{{{}}}}}}},"SequenceNumber":"{:021}","SizeBytes":1400,"StreamViewType":"NEW_IMAGE"}},"eventSourceARN":"arn:aws:dynamodb:eu-north-1:123456789012:table/teleport-events/stream/2026-11-20T00:00:00.000"}}"#,
        fields.join(","),
        1_000_000 + number
    )
}

fn main() {
    let mut rng = fastrand::Rng::with_seed(1);
    let records: Vec<String> = (0..RECORDS).map(|number| record(number, &mut rng)).collect();
    let payload = format!(r#"{{"Records":[{}]}}"#, records.join(","));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let document = format!(
        "quarantine: file://{}\nsinks: {{ memory: {{ uri: 'stdout://' }} }}",
        dir.path().display()
    );
    let config = Config::parse(&document, "bench", []).unwrap();
    let memory = std::sync::Arc::new(Memory::default());

    // A forwarder remembers what it delivered, so each batch goes to a new one, as on the first sight of a batch.
    let forwarder = || {
        let start = Forwarder::start(&config, Clock::system(), Random::system());
        let memory = std::sync::Arc::clone(&memory);
        runtime
            .block_on(start)
            .unwrap()
            .map_sinks(move |_, _| std::sync::Arc::<Memory>::clone(&memory))
    };
    let forward = |forwarder: &Forwarder| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(300);
        let handled = runtime.block_on(forwarder.handle(&payload, deadline)).unwrap();
        assert_eq!(handled.report.delivered, RECORDS);
        handled
    };
    forward(&forwarder());
    let output = memory.0.lock().unwrap().clone();
    println!(
        "batch: {RECORDS} records, {} bytes in, {} bytes out",
        payload.len(),
        output.len()
    );

    let parse = || serde_json::from_slice::<IgnoredAny>(black_box(payload.as_bytes())).unwrap();
    let parse_and_write = || {
        parse();
        let mut out = Vec::new();
        for line in output.split_inclusive(|byte| *byte == b'\n') {
            out.extend_from_slice(black_box(line));
        }
        out
    };

    let mut criterion = Criterion::default().configure_from_args().sample_size(30);
    let mut group = criterion.benchmark_group("forward");
    for (unit, throughput) in [
        ("records", Throughput::Elements(RECORDS as u64)),
        ("bytes", Throughput::Bytes(payload.len() as u64)),
    ] {
        group.throughput(throughput);
        group.bench_function(format!("limit 1: parse to nothing ({unit})"), |bench| {
            bench.iter(parse)
        });
        group.bench_function(format!("limit 2: and write the same output ({unit})"), |bench| {
            bench.iter(parse_and_write)
        });
        group.bench_function(format!("tidewatch ({unit})"), |bench| {
            bench.iter_batched(
                &forwarder,
                |forwarder| forward(&forwarder),
                criterion::BatchSize::LargeInput,
            );
        });
    }
    group.finish();
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }

    // Ratios pair by pair, so that a drift of the machine's speed falls on all alike.
    let time = |run: &mut dyn FnMut()| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64()
    };
    let mut first = Vec::new();
    let mut second = Vec::new();
    let mut rate = Vec::new();
    let mut hash = Vec::new();
    let hash_lines = || {
        output
            .split(|byte| *byte == b'\n')
            .map(Sha256::digest)
            .fold(0, |sum, hash| sum ^ hash[0])
    };
    for _ in 0..60 {
        let one = time(&mut || _ = black_box(parse()));
        let two = time(&mut || drop(black_box(parse_and_write())));
        let fresh = forwarder();
        let ours = time(&mut || drop(black_box(forward(&fresh))));
        hash.push(time(&mut || _ = black_box(hash_lines())) / ours);
        first.push(one / ours);
        second.push(two / ours);
        rate.push(RECORDS as f64 / ours);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (first, second, hash) = (median(first), median(second), median(hash));
    println!(
        "tidewatch: {:.0} records/s; {first:.2} of limit 1, {second:.2} of limit 2 (medians of 60 rounds; aim 0.60 of limit 2)",
        median(rate),
    );
    println!(
        "where the time goes: {:.0} % what parsing to nothing takes, {:.0} % hashing the lines for their ids, the rest \
         reading values one by one, sorting keys, ids, days and bookkeeping",
        first * 100.0,
        hash * 100.0
    );
}
