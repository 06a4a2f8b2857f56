//! Several conditions and writes as one.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, ReturnConsumedCapacity, TransactWriteItem};

use super::attempts::Attempts;
use super::backend::Backend;
use super::expression::Expression;
use super::fault::{Attributes, Fault};
use super::put::too_large;
use super::record::{number, revision_of, size};
use super::{Error, ErrorKind, Item, Key, Revision};

/// The most actions of one atomic write: Teleport's number. DynamoDB itself takes 100.
pub const MAX_ATOMIC_WRITE_SIZE: usize = 64;
/// The most bytes of one atomic write: DynamoDB's number.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How long an identical request is sent again after an unknown outcome: later its clock would be stale. DynamoDB itself
/// remembers the token for ten minutes.
const SAME_REQUEST: Duration = Duration::from_secs(10);
const SAME_SECONDS: i64 = 10;

/// What must hold for the key of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Whatever,
    /// The item exists.
    Exists,
    /// There is no such item, or it has expired.
    NotExists,
    /// The item exists in this revision.
    Revision(Revision),
}

/// What is done to the key of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Store this item under the action's key; the key it holds itself is not looked at.
    Put(Item),
    /// Delete the item, if there is one.
    Delete,
    /// Nothing: only the condition counts.
    Nop,
}

/// A key with its condition and its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionalAction {
    /// The key.
    pub key: Key,
    /// What must hold.
    pub condition: Condition,
    /// What is done.
    pub action: Action,
}

impl ConditionalAction {
    /// Stores an item under its own key.
    pub fn put(item: Item, condition: Condition) -> Self {
        Self {
            key: item.key.clone(),
            condition,
            action: Action::Put(item),
        }
    }

    /// Deletes an item.
    pub fn delete(key: impl Into<Key>, condition: Condition) -> Self {
        Self {
            key: key.into(),
            condition,
            action: Action::Delete,
        }
    }

    /// Checks a key without changing it.
    pub fn check(key: impl Into<Key>, condition: Condition) -> Self {
        Self {
            key: key.into(),
            condition,
            action: Action::Nop,
        }
    }

    /// What is wrong with it by itself.
    fn fault(&self) -> Option<&'static str> {
        match (&self.condition, &self.action) {
            _ if self.key.is_zero() => Some("a key is missing"),
            (Condition::Whatever, Action::Nop) => {
                Some("an action without condition and effect is ineffectual")
            }
            (_, Action::Put(item)) if item.value.is_empty() => Some("an item to put has no value"),
            _ => None,
        }
    }
}

impl Backend {
    /// Checks all conditions and does all writes at one moment, or nothing. Answers the one revision that all items put
    /// have; none if none was put.
    ///
    /// One request: two write units for each KB of each item, rounded up by item, checks included, whether it succeeds
    /// or not. Conflicts with other writes are waited out until the deadline. On a table that Teleport writes too, a
    /// transaction makes its concurrent plain writes fail: only an explicit call of this does so.
    ///
    /// # Errors
    /// [`ConditionFailed`](ErrorKind::ConditionFailed) if a condition does not hold (without a request for an empty
    /// revision); [`BadParameter`](ErrorKind::BadParameter) for more than [`MAX_ATOMIC_WRITE_SIZE`] actions, none, none
    /// that writes, a key given twice, an empty value; [`TooLarge`](ErrorKind::TooLarge) above 4 MB;
    /// [`Contended`](ErrorKind::Contended); [`OutcomeUnknown`](ErrorKind::OutcomeUnknown); and what any request may end
    /// with.
    pub async fn atomic_write(&self, actions: &[ConditionalAction]) -> Result<Option<Revision>, Error> {
        let mut attempts = Attempts::new(self, "atomic_write", actions.first().map(|action| &action.key));
        self.conditions_hold(&attempts)?;
        self.transactions_hold(&attempts)?;
        if let Some(fault) = fault(actions) {
            return Err(attempts.error(ErrorKind::BadParameter, fault));
        }
        let empty =
            |action: &ConditionalAction| matches!(&action.condition, Condition::Revision(r) if r.is_empty());
        if actions.iter().any(empty) {
            return Err(attempts.error(
                ErrorKind::ConditionFailed,
                "a revision to find is empty, which no item has",
            ));
        }
        let revision = Revision::draw(self.random());
        let prepared = self.prepare(&attempts, actions, &revision)?;
        let put = actions
            .iter()
            .find(|action| matches!(action.action, Action::Put(_)));
        self.transact(&mut attempts, &prepared, put.map(|put| (&put.key, &revision)))
            .await?;
        Ok(put.map(|_| revision))
    }

    fn prepare<'a>(
        &self,
        attempts: &Attempts<'_>,
        actions: &'a [ConditionalAction],
        revision: &Revision,
    ) -> Result<Vec<Prepared<'a>>, Error> {
        let mut bytes = 0;
        let mut all = Vec::with_capacity(actions.len());
        for action in actions {
            let wrong = |wrong: String| {
                let what = format!("key \"{}\": {wrong}", action.key);
                attempts.error(ErrorKind::BadParameter, what)
            };
            let item = match &action.action {
                Action::Put(item) => {
                    let item = Item {
                        key: action.key.clone(),
                        ..item.clone()
                    };
                    let stored = self.layout().marshal(&item, revision).map_err(wrong)?;
                    if let Some(too_large) = too_large(size(&stored)) {
                        return Err(attempts.error(
                            ErrorKind::TooLarge,
                            format!("key \"{}\": {too_large}", action.key),
                        ));
                    }
                    bytes += size(&stored);
                    stored
                }
                _ => self.layout().primary(&action.key).map_err(wrong)?,
            };
            all.push(Prepared { action, item });
        }
        if bytes > MAX_BYTES {
            let what = format!("the items have {bytes} bytes; one atomic write takes {MAX_BYTES} at most");
            return Err(attempts.error(ErrorKind::TooLarge, what));
        }
        Ok(all)
    }

    /// Sends a transaction until its outcome is known or cannot be. `put` is an item that it stores.
    async fn transact(
        &self,
        attempts: &mut Attempts<'_>,
        actions: &[Prepared<'_>],
        put: Option<(&Key, &Revision)>,
    ) -> Result<(), Error> {
        loop {
            // What was refused is sent again with a fresh clock, hence as another request under another token.
            let now = attempts.now();
            let drawn = self.clock().instant();
            let token = self.random().uuid().hyphenated().to_string();
            let items = self.items_of(attempts, actions, now)?;
            let mut unknown = false;
            let mut last: Option<Fault> = None;
            let known = loop {
                // By both clocks: a process may have been frozen before this.
                let age = attempts.now() - now;
                let stale =
                    self.clock().instant() - drawn >= SAME_REQUEST || !(0..SAME_SECONDS).contains(&age);
                if let Some(last) = &last
                    && stale
                {
                    return self.prove(attempts, put, last).await;
                }
                let request = self
                    .client()
                    .transact_write_items()
                    .set_transact_items(Some(items.clone()))
                    .client_request_token(&token)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total);
                let answer = attempts
                    .send(async move { request.send().await.map_err(Fault::of) })
                    .await;
                let fault = match answer {
                    Ok(answer) => {
                        self.charge("atomic_write", answer.consumed_capacity());
                        return Ok(());
                    }
                    Err(fault) => fault,
                };
                unknown |= matches!(fault, Fault::Unknown(_) | Fault::InProgress);
                if !unknown {
                    break fault;
                }
                // From here on every answer but success may be about a request that was applied before.
                let repeats = !matches!(fault, Fault::Final(..) | Fault::Refused(_));
                if !(repeats && attempts.again(&fault).await.is_ok()) {
                    return self.prove(attempts, put, last.as_ref().unwrap_or(&fault)).await;
                }
                last.get_or_insert(fault);
            };
            match known {
                Fault::Refused(_) => {
                    return Err(attempts.error(
                        ErrorKind::ConditionFailed,
                        "a condition does not hold; nothing was written",
                    ));
                }
                fault => attempts.again_known(&fault).await?,
            }
        }
    }

    /// Our revision in place proves a transaction of unknown outcome; nothing disproves it.
    async fn prove(
        &self,
        attempts: &mut Attempts<'_>,
        put: Option<(&Key, &Revision)>,
        fault: &Fault,
    ) -> Result<(), Error> {
        if let Some((key, revision)) = put
            && let Ok((_, Some(stored))) = self.read(attempts, key, Some("Revision")).await
            && revision_of(&stored) == *revision
        {
            return Ok(());
        }
        Err(attempts.gave_up(&Fault::Unknown(fault.said().to_owned())))
    }

    fn items_of(
        &self,
        attempts: &Attempts<'_>,
        actions: &[Prepared<'_>],
        now: i64,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        let built: Result<Vec<_>, _> = actions.iter().map(|action| action.build(self, now)).collect();
        // A required field that is missing would be a fault of this file.
        built.map_err(|error| attempts.error(ErrorKind::BadParameter, error.to_string()))
    }
}

fn fault(actions: &[ConditionalAction]) -> Option<String> {
    if actions.is_empty() {
        return Some("there are no actions".to_owned());
    }
    if actions.len() > MAX_ATOMIC_WRITE_SIZE {
        return Some(format!(
            "{} actions; one atomic write takes {MAX_ATOMIC_WRITE_SIZE} at most",
            actions.len()
        ));
    }
    let mut seen = HashSet::new();
    for action in actions {
        if let Some(fault) = action.fault() {
            return Some(format!("key \"{}\": {fault}", action.key));
        }
        if !seen.insert(&action.key) {
            return Some(format!("key \"{}\" is given twice", action.key));
        }
    }
    let writes = actions.iter().any(|action| action.action != Action::Nop);
    (!writes).then(|| "no action writes".to_owned())
}

/// An action with its item, or its primary key.
struct Prepared<'a> {
    action: &'a ConditionalAction,
    item: Attributes,
}

impl Prepared<'_> {
    fn build(
        &self,
        backend: &Backend,
        now: i64,
    ) -> Result<TransactWriteItem, aws_sdk_dynamodb::error::BuildError> {
        let layout = backend.layout();
        let condition = match &self.action.condition {
            Condition::Whatever => None,
            Condition::Exists => Some(Expression::present(layout, now)),
            Condition::NotExists => Some(Expression::absent(layout, now)),
            Condition::Revision(revision) => Some(Expression::revision(layout, now, revision)),
        };
        let (text, names, values) = match condition.map(Expression::parts) {
            Some((text, names, values)) => (Some(text), names, values),
            None => (None, None, None),
        };
        let (table, mut item) = (backend.table(), self.item.clone());
        let whole = TransactWriteItem::builder();
        Ok(match &self.action.action {
            Action::Put(_) => {
                item.insert("Timestamp".to_owned(), number(now));
                let put = Put::builder()
                    .table_name(table)
                    .set_item(Some(item))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values);
                whole.put(put.build()?)
            }
            Action::Delete => {
                let delete = Delete::builder()
                    .table_name(table)
                    .set_key(Some(item))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values);
                whole.delete(delete.build()?)
            }
            Action::Nop => {
                let check = ConditionCheck::builder()
                    .table_name(table)
                    .set_key(Some(item))
                    .set_condition_expression(text)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values);
                whole.condition_check(check.build()?)
            }
        }
        .build())
    }
}
