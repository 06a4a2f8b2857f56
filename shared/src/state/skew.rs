//! How far this machine's clock is from DynamoDB's, as the `Date` of its answers tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

use crate::clock::Clock;

/// What the last answer proves.
#[derive(Debug, Clone, Default)]
pub(super) struct Skew(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The least skew in milliseconds; positive when this machine is ahead.
    proven: AtomicI64,
    answered: AtomicBool,
}

#[derive(Debug)]
struct SentAt(SystemTime);

impl aws_smithy_types::config_bag::Storable for SentAt {
    type Storer = aws_smithy_types::config_bag::StoreReplace<Self>;
}

impl Skew {
    /// Whether any answer was looked at yet.
    pub(super) fn has_seen_an_answer(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// The least skew that the last answer proves; zero if it proves none, or there was none.
    pub(super) fn proven(&self) -> Duration {
        Duration::from_millis(self.0.proven.load(Ordering::Relaxed).unsigned_abs())
    }

    /// An answer dated `date` (a whole second, rounded down) to a request sent and answered at these times.
    fn note(&self, sent: SystemTime, answered: SystemTime, date: SystemTime) {
        let ahead = millis(sent) - (millis(date) + 1000);
        let behind = millis(date) - millis(answered);
        let proven = if ahead > 0 { ahead } else { -behind.max(0) };
        self.0.proven.store(proven, Ordering::Relaxed);
    }
}

fn millis(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    i64::try_from(since).unwrap_or(i64::MAX / 4)
}

impl Intercept for Skew {
    fn name(&self) -> &'static str {
        "Skew"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(SentAt(Clock::system().now()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.answered.store(true, Ordering::Relaxed);
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        let date = date.and_then(|date| SystemTime::try_from(date).ok());
        if let (Some(date), Some(SentAt(sent))) = (date, bag.load::<SentAt>()) {
            self.note(*sent, Clock::system().now(), date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_proven_counts() {
        let at = |millis: u64| UNIX_EPOCH + Duration::from_millis(1_000_000 + millis);
        let proven = |sent, answered, date| {
            let skew = Skew::default();
            skew.note(at(sent), at(answered), at(date));
            skew.0.proven.load(Ordering::Relaxed)
        };
        assert_eq!(proven(0, 50, 0), 0);
        assert_eq!(proven(999, 1_050, 0), 0, "the date is rounded down");
        assert_eq!(proven(3_500, 3_600, 1_000), 1_500);
        assert_eq!(proven(0, 400, 3_000), -2_600);
    }

    #[tokio::test]
    async fn answers_are_watched_where_the_clock_is_the_machines() {
        use crate::random::Random;
        use crate::state::{Backend, Config, Key};
        use aws_sdk_dynamodb::Client;
        use aws_sdk_dynamodb::config::{Credentials, Region};

        let hour = Duration::from_secs(3600);
        for (shift, clock, seen) in [
            (hour, Clock::system(), true),
            (Duration::ZERO, Clock::system(), false),
            (hour, Clock::simulated(UNIX_EPOCH), false),
        ] {
            let date = DateTime::from(Clock::system().now() - shift);
            let date = date.fmt(DateTimeFormat::HttpDate).unwrap();
            let answering = aws_smithy_http_client::test_util::infallible_client_fn(move |_| {
                let answer = http::Response::builder().header("date", &date);
                answer.body("{}").unwrap()
            });
            let client = aws_sdk_dynamodb::Config::builder()
                .behavior_version_latest()
                .region(Region::new("us-east-1"))
                .credentials_provider(Credentials::new("local", "local", None, None, "test"))
                .http_client(answering)
                .build();
            let client = Client::from_conf(client);
            let config = Config {
                table_name: "skew".to_owned(),
                ..Config::default()
            };
            let backend = Backend::unverified(&client, config, clock, Random::seeded(1));
            let none = backend.get(&Key::from("/k")).await.unwrap_err();
            assert_eq!(none.kind(), crate::state::ErrorKind::NotFound, "{none}");
            let proven = backend.skew().proven();
            let expected = if seen { hour } else { Duration::ZERO };
            assert!(
                proven <= expected && proven + Duration::from_secs(5) > expected,
                "{proven:?}"
            );
        }
    }
}
