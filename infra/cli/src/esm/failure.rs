//! The on-failure destination: what Lambda writes to S3 about a batch that it gave up.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::record::Record;

/// Why a batch was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `RetryAttemptsExhausted`
    RetryAttemptsExhausted,
    /// `RecordAgeExceeded`
    RecordAgeExceeded,
}

/// One batch that was given up.
#[derive(Debug)]
pub struct OnFailure<'a> {
    /// Why.
    pub condition: Condition,
    /// The function's name.
    pub function: &'a str,
    /// The stream.
    pub stream_arn: &'a str,
    /// The shard.
    pub shard: &'a str,
    /// The records, in order; at least one.
    pub records: &'a [&'a Record],
    /// How often the function was called with them, about.
    pub invocations: u32,
    /// When they were given up.
    pub at: SystemTime,
    /// Unique text for the request and the object.
    pub id: &'a str,
}

impl OnFailure<'_> {
    /// The object's JSON, with the whole invocation payload as text.
    pub fn body(&self) -> String {
        let (first, last) = (self.records.first(), self.records.last());
        let number = |record: Option<&&Record>| record.map(|record| record.sequence.to_string());
        let arrival = |record: Option<&&Record>| record.map(|record| rfc3339(record.created));
        let payload = payload(self.records.iter().copied());
        json!({
            "requestContext": {
                "requestId": self.id,
                "functionArn": format!("arn:aws:lambda:local:000000000000:function:{}", self.function),
                "condition": match self.condition {
                    Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
                    Condition::RecordAgeExceeded => "RecordAgeExceeded",
                },
                "approximateInvokeCount": self.invocations,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "version": "1.0",
            "timestamp": rfc3339(self.at),
            "DDBStreamBatchInfo": {
                "shardId": self.shard,
                "startSequenceNumber": number(first),
                "endSequenceNumber": number(last),
                "approximateArrivalOfFirstRecord": arrival(first),
                "approximateArrivalOfLastRecord": arrival(last),
                "batchSize": self.records.len(),
                "streamArn": self.stream_arn,
            },
            "payload": payload,
        })
        .to_string()
    }

    /// Writes it under `directory`, at the key that Lambda would use in a bucket.
    ///
    /// # Errors
    /// Those of the file system; Lambda would count a DestinationDeliveryFailure.
    pub fn write(&self, directory: &Path) -> std::io::Result<PathBuf> {
        let day = format_description!("[year]/[month]/[day]/[year]-[month]-[day]T[hour].[minute].[second]");
        let at = OffsetDateTime::from(self.at).format(&day).unwrap_or_default();
        let key = format!("aws/lambda/{}/{}/{at}-{}", self.function, self.shard, self.id);
        let file = directory.join(key);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&file, self.body())?;
        Ok(file)
    }
}

/// The event that a function gets.
pub(super) fn payload<'a>(records: impl Iterator<Item = &'a Record>) -> String {
    let mut text = String::from(r#"{"Records":["#);
    for (place, record) in records.enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&record.json);
    }
    text.push_str("]}");
    text
}

fn rfc3339(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}
