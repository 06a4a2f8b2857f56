//! Taking away what nobody holds: locks past their expiry, and the expiry of fencing items, which must have none.
//!
//! Each write is conditional on exactly the revision and the expiry that were observed, so that a lock that was renewed or
//! acquired anew meanwhile, and a fencing number that was raised, are left alone. It may be repeated whatever became of an
//! earlier attempt: who writes the item after us changes one of the two.

use std::future::Future;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use futures_util::TryFutureExt;
use futures_util::stream::{Stream, TryStreamExt};

use super::attempts::Attempts;
use super::expression::Expression;
use super::fault::{Attributes, Fault};
use super::item::time_of;
use super::record::expiry_seconds;
use super::{Backend, Error, ErrorKind, Key, Layout, Range, lock};

/// A lock stands so long past its expiry at least: a holder whose clock is behind may still believe in it, and a renewal that
/// was sent before the expiry may still arrive.
const MARGIN: Duration = Duration::from_secs(5);

/// What stands under a key, expired or not.
#[derive(Clone)]
pub(crate) struct Stored {
    key: Key,
    attributes: Attributes,
}

/// When an item ceases to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    At(SystemTime),
    /// What stands there is no time: to every reader the item has expired, and DynamoDB never deletes it.
    Unreadable,
}

/// What became of a write that is conditional on what was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Done,
    /// There is no item any more.
    Gone,
    /// The item is another by now; it was left alone.
    Changed,
}

impl Stored {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn expiry(&self) -> Expiry {
        match self.attributes.get("Expires") {
            None => Expiry::Never,
            Some(at) => expiry_seconds(at)
                .and_then(time_of)
                .map_or(Expiry::Unreadable, Expiry::At),
        }
    }

    /// When it was written, by its writer's clock. Our renewals move the expiry alone; Teleport's write the item anew.
    pub(crate) fn written(&self) -> Option<SystemTime> {
        let at = self.attributes.get("Timestamp").and_then(expiry_seconds)?;
        time_of(at)
    }

    /// The fencing number, if it holds one that can be raised.
    pub(crate) fn number(&self) -> Option<u64> {
        let value = self.attributes.get("Value")?.as_b().ok()?;
        lock::number(value.as_ref()).filter(|number| *number < u64::MAX)
    }

    /// That the item is still as it was observed, with an expiry.
    fn unchanged(&self) -> Option<Expression> {
        let expires = self.attributes.get("Expires")?.clone();
        let mut unchanged = Expression::empty().value(":expires", expires);
        unchanged.text = "Expires = :expires".to_owned();
        Some(match self.attributes.get("Revision").cloned() {
            Some(revision) => unchanged.and("Revision = :rev").value(":rev", revision),
            None => unchanged.and("attribute_not_exists(Revision)"),
        })
    }
}

impl Backend {
    /// All that is stored in a range, in order; requests and price as [`items`](Self::items). Cancel-safe.
    pub(crate) fn stored(&self, range: &Range) -> impl Stream<Item = Result<Stored, Error>> + Send + use<> {
        self.everything("stored", range)
            .map_ok(|(key, attributes)| Stored { key, attributes })
    }

    /// How long a lock stands past its expiry at least, before it is taken for orphaned.
    pub(crate) fn orphan_margin(&self) -> Duration {
        MARGIN.max(self.config().lock_skew)
    }

    /// Deletes a lock that is past its expiry by more than [`orphan_margin`](Self::orphan_margin), if it is still as it was
    /// observed. One request: a write unit for each KB; two if it stands in an index. If the call is dropped, it may have
    /// been deleted.
    pub(crate) async fn release_orphan(&self, observed: &Stored) -> Result<Settled, Error> {
        let mut attempts = Attempts::new(self, "release_orphan", Some(&observed.key));
        self.conditions_hold(&attempts)?;
        if let Some(fault) = self.clock_fault() {
            return Err(attempts.error(ErrorKind::Unavailable, fault));
        }
        let Some(unchanged) = observed.unchanged() else {
            return Err(attempts.error(ErrorKind::BadParameter, "it never expires"));
        };
        let primary = self.primary(&attempts, &observed.key)?;
        let request = || {
            self.delete_request("release_orphan", primary.clone(), unchanged.clone())
                .map_ok(drop)
        };
        settled(&mut attempts, request, |now| now.is_none()).await
    }

    /// Takes the expiry away from an item that is still as it was observed. Its value and revision stay, so that who is about
    /// to replace it goes on. One request: write units for the whole item. If the call is dropped, it may have been done.
    pub(crate) async fn remove_expiry(&self, observed: &Stored) -> Result<Settled, Error> {
        let mut attempts = Attempts::new(self, "remove_expiry", Some(&observed.key));
        self.conditions_hold(&attempts)?;
        let Some(unchanged) = observed.unchanged() else {
            return Err(attempts.error(ErrorKind::BadParameter, "it has no expiry"));
        };
        let primary = self.primary(&attempts, &observed.key)?;
        let request = || self.permanent(primary.clone(), unchanged.clone());
        let permanent = |now: Option<&Attributes>| now.is_some_and(|now| !now.contains_key("Expires"));
        settled(&mut attempts, request, permanent).await
    }

    async fn permanent(&self, primary: Attributes, unchanged: Expression) -> Result<(), Fault> {
        let update = match self.layout() {
            Layout::Teleport => "REMOVE Expires",
            Layout::Partitioned(_) => "REMOVE Expires, ExpiryShard",
        };
        let (text, names, values) = unchanged.parts();
        let answer = self
            .client()
            .update_item()
            .table_name(self.table())
            .set_key(Some(primary))
            .update_expression(update)
            .condition_expression(text)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(Fault::of)?;
        self.charge("remove_expiry", answer.consumed_capacity());
        Ok(())
    }
}

/// Sends a request until its outcome is known. After a lost answer `is_done` tells by what a refusal found whether an earlier
/// attempt was applied.
async fn settled<F>(
    attempts: &mut Attempts<'_>,
    request: impl Fn() -> F,
    is_done: impl Fn(Option<&Attributes>) -> bool,
) -> Result<Settled, Error>
where
    F: Future<Output = Result<(), Fault>>,
{
    let mut unknown: Option<Fault> = None;
    loop {
        let again = match attempts.send(request()).await {
            Ok(()) => return Ok(Settled::Done),
            Err(Fault::Refused(now)) => {
                return Ok(match now {
                    now if unknown.is_some() && is_done(now.as_ref()) => Settled::Done,
                    None => Settled::Gone,
                    Some(_) => Settled::Changed,
                });
            }
            Err(Fault::Unknown(said)) => {
                unknown = Some(Fault::Unknown(said.clone()));
                attempts.again(&Fault::NotSent(said)).await
            }
            Err(fault) => attempts.again_known(&fault).await,
        };
        if let Err(error) = again {
            return Err(unknown.map_or(error, |unknown| attempts.gave_up(&unknown)));
        }
    }
}
