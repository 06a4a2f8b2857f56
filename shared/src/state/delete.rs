//! Deleting single items, and keeping them alive.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use futures_util::TryFutureExt;

use super::attempts::Attempts;
use super::backend::Backend;
use super::expression::Expression;
use super::fault::{Attributes, Fault};
use super::item::seconds;
use super::put::incorrect;
use super::record::{expiry_seconds, is_live, number, revision_of};
use super::write::{Ended, Trace};
use super::{Error, ErrorKind, Key, Lease, Revision};

impl Backend {
    /// Deletes an item that exists. One request: a write unit for each KB of the item, rounded up; one if there is none.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none or it has expired,
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), and what any request may end with.
    pub async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.remove("delete", key, None).await
    }

    /// Deletes an item that exists in this revision. One request, priced as [`delete`](Self::delete).
    ///
    /// # Errors
    /// [`IncorrectRevision`](ErrorKind::IncorrectRevision) if it has another or does not exist (without a request for an
    /// empty one), and as [`delete`](Self::delete).
    pub async fn conditional_delete(&self, key: &Key, revision: &Revision) -> Result<(), Error> {
        self.remove("conditional_delete", key, Some(revision)).await
    }

    async fn remove(
        &self,
        operation: &'static str,
        key: &Key,
        pinned: Option<&Revision>,
    ) -> Result<(), Error> {
        let mut attempts = Attempts::new(self, operation, Some(key));
        self.conditions_hold(&attempts)?;
        if let Some(revision) = pinned.filter(|revision| revision.is_empty()) {
            return Err(incorrect(&attempts, revision));
        }
        let primary = self.primary(&attempts, key)?;
        let condition = |now| match pinned {
            Some(revision) => Expression::revision(self.layout(), now, revision),
            None => Expression::present(self.layout(), now),
        };
        let trace = pinned.map_or(Trace::DeletesAny, Trace::Deletes);
        let request = |now| {
            self.delete_request(operation, primary.clone(), condition(now))
                .map_ok(drop)
        };
        let repeats = pinned.is_none() && self.repeats();
        match self.write(&mut attempts, key, trace, repeats, request).await? {
            Ended::Applied => Ok(()),
            Ended::Refused(_) => Err(match pinned {
                Some(revision) => incorrect(&attempts, revision),
                None => attempts.error(ErrorKind::NotFound, "there is no such item"),
            }),
        }
    }

    /// One DeleteItem under a condition. Answers the write units that it took.
    pub(super) async fn delete_request(
        &self,
        operation: &'static str,
        primary: Attributes,
        condition: Expression,
    ) -> Result<f64, Fault> {
        let (text, names, values) = condition.parts();
        let answer = self
            .client()
            .delete_item()
            .table_name(self.table())
            .set_key(Some(primary))
            .condition_expression(text)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(Fault::of)?;
        Ok(self.charge(operation, answer.consumed_capacity()))
    }

    /// Moves the expiry of a leased item to later. The item must exist in the lease's revision, have an expiry, and not
    /// a later one: it never extends somebody else's item, shortens an expiry or gives one to an item that has none.
    /// Value and revision stay. One request: write units for the whole item, as [`put`](Self::put).
    ///
    /// A call that is under way as the item expires may still renew it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none or it has expired;
    /// [`IncorrectRevision`](ErrorKind::IncorrectRevision) if it is another's by now;
    /// [`BadParameter`](ErrorKind::BadParameter) if it has no expiry or a later one, or the key is missing;
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown); and what any request may end with.
    pub async fn keep_alive(&self, lease: &Lease, expires: SystemTime) -> Result<(), Error> {
        let key = &lease.key;
        let mut attempts = Attempts::new(self, "keep_alive", Some(key));
        self.conditions_hold(&attempts)?;
        if lease.revision.is_empty() {
            return Err(incorrect(&attempts, &lease.revision));
        }
        let primary = self.primary(&attempts, key)?;
        let at = seconds(expires);
        let trace = Trace::Extends {
            pinned: &lease.revision,
            expires: at,
        };
        let last = AtomicI64::new(0);
        let request = |now| {
            last.store(now, Ordering::Relaxed);
            let condition = Expression::revision(self.layout(), now, &lease.revision)
                .and("attribute_exists(Expires) AND Expires <= :expires");
            self.extend_request(primary.clone(), key, expires, condition)
        };
        match self.write(&mut attempts, key, trace, false, request).await? {
            Ended::Applied => Ok(()),
            Ended::Refused(old) => {
                let old = old.filter(|old| is_live(old, last.load(Ordering::Relaxed)));
                Err(match old {
                    None => attempts.error(ErrorKind::NotFound, "there is no such item, or it has expired"),
                    Some(old) if revision_of(&old) != lease.revision => incorrect(&attempts, &lease.revision),
                    Some(old) => {
                        let what = match old.get("Expires").and_then(expiry_seconds) {
                            Some(later) => {
                                format!("it expires {} s later than asked for", later.saturating_sub(at))
                            }
                            None => "it never expires, and is not given an expiry".to_owned(),
                        };
                        attempts.error(ErrorKind::BadParameter, what)
                    }
                })
            }
        }
    }

    /// Teleport's own keep-alive: sets the expiry of an item that exists, in whatever revision, sooner or later, and
    /// also of one that had none. No lock or lease of this crate uses it. One request, priced as
    /// [`keep_alive`](Self::keep_alive).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none or it has expired, and what any request may end with.
    pub async fn keep_alive_unchecked(&self, key: &Key, expires: SystemTime) -> Result<(), Error> {
        let mut attempts = Attempts::new(self, "keep_alive_unchecked", Some(key));
        self.conditions_hold(&attempts)?;
        let primary = self.primary(&attempts, key)?;
        let request = |now| {
            let condition = Expression::present(self.layout(), now);
            self.extend_request(primary.clone(), key, expires, condition)
        };
        match self
            .write(&mut attempts, key, Trace::DeletesAny, false, request)
            .await?
        {
            Ended::Applied => Ok(()),
            Ended::Refused(_) => {
                Err(attempts.error(ErrorKind::NotFound, "there is no such item, or it has expired"))
            }
        }
    }

    async fn extend_request(
        &self,
        primary: Attributes,
        key: &Key,
        expires: SystemTime,
        condition: Expression,
    ) -> Result<(), Fault> {
        let mut condition = condition.value(":expires", number(seconds(expires)));
        let mut update = "SET Expires = :expires".to_owned();
        for (name, value) in self.layout().expiry(key, expires) {
            if name != "Expires" {
                update = format!("{update}, {name} = :shard");
                condition = condition.value(":shard", value);
            }
        }
        let (text, names, values) = condition.parts();
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
        self.charge("keep_alive", answer.consumed_capacity());
        Ok(())
    }

    /// The primary key, or why there can be none.
    pub(super) fn primary(&self, attempts: &Attempts<'_>, key: &Key) -> Result<Attributes, Error> {
        self.layout()
            .primary(key)
            .map_err(|wrong| attempts.error(ErrorKind::BadParameter, wrong))
    }
}
