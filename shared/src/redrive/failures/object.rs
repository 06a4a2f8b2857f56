//! What Lambda writes for a batch that it gives up.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Owed;
use crate::forward::handed::sequence_number;

/// What Lambda writes, as far as it is needed.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "DDBStreamBatchInfo")]
    batch: Option<Batch<'a>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow)]
    shard_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    approximate_arrival_of_first_record: Option<Cow<'a, str>>,
    #[serde(borrow)]
    approximate_arrival_of_last_record: Option<Cow<'a, str>>,
    batch_size: Option<u64>,
    #[serde(borrow)]
    stream_arn: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Records {
    #[serde(rename = "Records")]
    records: Vec<Box<RawValue>>,
}

/// A record's keys: those of the audit table, or of another.
#[derive(Deserialize)]
struct Keyed {
    dynamodb: Option<Change>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(rename = "Keys")]
    keys: Option<Keys>,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "SessionID")]
    session: Option<Box<RawValue>>,
    #[serde(rename = "EventIndex")]
    index: Option<Box<RawValue>>,
}

/// An object's contents.
pub(in crate::redrive) enum Read {
    Records {
        shard: String,
        from: Option<String>,
        records: Vec<Box<RawValue>>,
    },
    Owed(Owed),
    Other(&'static str),
}

/// What an object of this name is.
pub(in crate::redrive) fn read(name: &str, body: &[u8]) -> Read {
    let Ok(body) = serde_json::from_slice::<Body<'_>>(body) else {
        return Read::Other("it is no JSON that Lambda writes for a batch");
    };
    let Some(batch) = body.batch else {
        return Read::Other("it is of no DynamoDB stream");
    };
    let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    let from = text(batch.approximate_arrival_of_first_record);
    let records = match body.payload {
        None => {
            return Read::Owed(Owed {
                name: name.to_owned(),
                from,
                to: text(batch.approximate_arrival_of_last_record),
                records: batch.batch_size,
                table: batch.stream_arn.as_deref().and_then(table),
            });
        }
        // A text that holds JSON.
        Some(payload) => serde_json::from_str::<Cow<'_, str>>(payload.get())
            .ok()
            .and_then(|text| serde_json::from_str::<Records>(&text).ok()),
    };
    let Some(Records { mut records }) = records else {
        return Read::Other("its payload is no Lambda event of a stream");
    };
    // Rows of another table would be skipped as no events, and so be lost to whom they are for.
    if !records.iter().any(|raw| is_audit(raw.get())) {
        return Read::Other("its records are none of an audit table: they are for another function");
    }
    let numbers: Option<Vec<String>> = records.iter().map(|raw| sequence_number(raw.get())).collect();
    if let Some(numbers) = numbers {
        let mut numbered: Vec<_> = numbers.into_iter().zip(records).collect();
        numbered.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        records = numbered.into_iter().map(|(_, raw)| raw).collect();
    }
    Read::Records {
        shard: text(batch.shard_id).unwrap_or_default(),
        from,
        records,
    }
}

/// The table of `arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL`.
fn table(stream: &str) -> Option<String> {
    let mut parts = stream.split('/');
    parts.next().filter(|part| part.ends_with(":table"))?;
    Some(parts.next()?.to_owned())
}

fn is_audit(raw: &str) -> bool {
    let keys = serde_json::from_str::<Keyed>(raw).ok();
    let keys = keys.and_then(|record| record.dynamodb?.keys);
    keys.is_some_and(|keys| keys.session.is_some() && keys.index.is_some())
}

/// Numbers are compared by length, then bytes: they are decimal and longer than any integer of ours.
pub(super) fn order(number: &str) -> (usize, &str) {
    let digits = number.trim_start_matches('0');
    (digits.len(), digits)
}
