//! `tidewatch watch-log show`.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::watch::Prefix;
use tidewatch::watch::log::{BucketStatus, Description, SegmentStatus};

use super::{existing, name_of, stop};
use crate::cli::{Exit, Failure, Global, HEAD, NamedLog, Output, WARN, WatchLogOptions, paint, stamp};

/// Arguments of `tidewatch watch-log show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch watch-log show --table teleport --log-table watch
  tidewatch watch-log show --log-table watch --log-name teleport --json

Neither keys nor values are shown. Times are those of the appender's clock; of a change, that of the source.")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    log: WatchLogOptions,
}

pub(super) async fn run(global: &Global, args: ShowArgs) -> Result<Exit, Failure> {
    let (named, log, described) = existing(global, &args.log).await?;
    let buckets = log.bucket_statuses(stop()).await?;
    let now = Clock::system().now();
    let mut text = description(&named, &described);
    for status in &buckets {
        text.push_str(&bucket(status, now));
    }
    let mut json = description_json(&named, &described);
    if let Value::Object(members) = &mut json {
        let buckets: Vec<Value> = buckets.iter().map(bucket_json).collect();
        members.insert("bucket_status".to_owned(), buckets.into());
    }
    Output::new(global).result(&json, &text)?;
    Ok(Exit::Done)
}

/// What a log is, on a few lines.
pub(super) fn description(named: &NamedLog, log: &Description) -> String {
    let keys: Vec<String> = log.prefixes.iter().map(prefix).collect();
    let mut lines = vec![
        format!("table     {}, by its {}", log.table, name_of(log.source)),
        format!(
            "stream    {}",
            log.stream.as_deref().unwrap_or("(nothing came yet)")
        ),
        format!(
            "keys      {}",
            if keys.is_empty() {
                "all".to_owned()
            } else {
                keys.join(", ")
            }
        ),
        format!("buckets   {}, generation {}", log.buckets, log.generation),
    ];
    if let Some((buckets, source)) = log.changing {
        let what = format!("under way to {buckets} buckets and {}", name_of(source));
        lines.push(format!("change    {}", paint(WARN, what)));
    }
    if !log.past.is_empty() {
        let past: Vec<String> = log
            .past
            .iter()
            .map(|(generation, _)| generation.to_string())
            .collect();
        lines.push(format!(
            "past      generations not compacted away yet: {}",
            past.join(", ")
        ));
    }
    if let Some(mapping) = &log.mapping {
        let seen = log.mapping_seen.map_or("never".to_owned(), stamp);
        lines.push(format!("mapping   {mapping}, last seen enabled: {seen}"));
    }
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{} in {}\n{lines}", paint(HEAD, &named.name), named.table)
}

fn prefix(prefix: &Prefix) -> String {
    match prefix {
        Prefix::Component(key) => key.to_string(),
        Prefix::Plain(key) => format!("{key}*"),
    }
}

fn bucket(status: &BucketStatus, now: SystemTime) -> String {
    let segment = |segment: &SegmentStatus| {
        format!(
            "{} ({}, {} entries)",
            segment.number,
            age(segment.appended, now),
            segment.entries
        )
    };
    let (Some(oldest), Some(newest)) = (&status.oldest, &status.newest) else {
        return format!("  bucket {:<2} empty\n", status.bucket);
    };
    let mut text = format!(
        "  bucket {:<2} segments {} to {}{}\n",
        status.bucket,
        segment(oldest),
        segment(newest),
        if status.sealed { ", sealed" } else { "" }
    );
    if let Some(gap) = &status.gap {
        let why = gap.why.as_deref().unwrap_or("the reason is compacted away");
        text.push_str(&format!(
            "            {} in segment {} ({}): {why}\n",
            paint(WARN, "last gap"),
            gap.segment,
            age(gap.appended, now)
        ));
    }
    text
}

fn age(at: SystemTime, now: SystemTime) -> String {
    let passed = now.duration_since(at).unwrap_or_default();
    format!(
        "{} ago",
        humantime::format_duration(Duration::from_secs(passed.as_secs()))
    )
}

/// Times are unix seconds.
pub(super) fn description_json(named: &NamedLog, log: &Description) -> Value {
    json!({
        "log_table": named.table,
        "log_name": named.name,
        "id": log.id,
        "table": log.table,
        "source": name_of(log.source),
        "stream": log.stream,
        "prefixes": log.prefixes.iter().map(prefix).collect::<Vec<_>>(),
        "generation": log.generation,
        "buckets": log.buckets,
        "changing": log.changing.map(|(buckets, source)| json!({"buckets": buckets, "source": name_of(source)})),
        "past": log.past.iter().map(|(generation, _)| generation).collect::<Vec<_>>(),
        "mapping": log.mapping,
        "mapping_seen": log.mapping_seen.map(seconds),
    })
}

fn bucket_json(status: &BucketStatus) -> Value {
    let segment = |segment: &SegmentStatus| json!({"number": segment.number, "appended": seconds(segment.appended), "entries": segment.entries});
    json!({
        "bucket": status.bucket,
        "oldest": status.oldest.as_ref().map(segment),
        "newest": status.newest.as_ref().map(segment),
        "latest_change": status.latest_change.map(seconds),
        "gap": status.gap.as_ref().map(|gap| json!({
            "segment": gap.segment, "appended": seconds(gap.appended), "why": gap.why,
        })),
        "sealed": status.sealed,
    })
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
