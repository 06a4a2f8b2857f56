//! Writing single items.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};

use super::attempts::Attempts;
use super::backend::Backend;
use super::expression::Expression;
use super::fault::Fault;
use super::record::{MAX_ITEM, number, size};
use super::write::{Ended, Trace};
use super::{Error, ErrorKind, Item, Lease, Revision};

/// What must hold for a put.
#[derive(Clone, Copy)]
enum Put<'a> {
    Always,
    Absent,
    Present,
    Value(&'a [u8]),
    Revision(&'a Revision),
}

impl Backend {
    /// Stores an item, whatever is there. One request: a write unit for each KB of the larger of old and new item,
    /// rounded up.
    ///
    /// # Errors
    /// [`BadParameter`](ErrorKind::BadParameter) and [`TooLarge`](ErrorKind::TooLarge) for what cannot be stored,
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), and what any request may end with.
    pub async fn put(&self, item: &Item) -> Result<Lease, Error> {
        self.store("put", item, Put::Always).await
    }

    /// Stores an item where there is none, or an expired one. One request, priced as [`put`](Self::put), also when it is
    /// refused.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists), and as [`put`](Self::put).
    pub async fn create(&self, item: &Item) -> Result<Lease, Error> {
        self.store("create", item, Put::Absent).await
    }

    /// Replaces an item that exists, in whatever revision. One request, priced as [`put`](Self::put).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), and as [`put`](Self::put).
    pub async fn update(&self, item: &Item) -> Result<Lease, Error> {
        self.store("update", item, Put::Present).await
    }

    /// Replaces an item that exists with the value of `expected`; its revision and expiry do not matter. A stored NULL
    /// equals an empty value. One request, priced as [`put`](Self::put).
    ///
    /// # Errors
    /// [`CompareFailed`](ErrorKind::CompareFailed) if there is another value or no item;
    /// [`BadParameter`](ErrorKind::BadParameter) if a key is missing or the two differ; and as [`put`](Self::put).
    pub async fn compare_and_swap(&self, expected: &Item, replace_with: &Item) -> Result<Lease, Error> {
        if expected.key != replace_with.key {
            let what = format!("the keys differ: \"{}\" was expected", expected.key);
            let (kind, key) = (ErrorKind::BadParameter, Some(&replace_with.key));
            return Err(Error::new(kind, "compare_and_swap", self.table(), key, what));
        }
        self.store("compare_and_swap", replace_with, Put::Value(&expected.value))
            .await
    }

    /// Replaces an item that exists in the revision that `item` holds. One request, priced as [`put`](Self::put).
    ///
    /// # Errors
    /// [`IncorrectRevision`](ErrorKind::IncorrectRevision) if it has another or does not exist (without a request if
    /// `item` holds none), and as [`put`](Self::put).
    pub async fn conditional_update(&self, item: &Item) -> Result<Lease, Error> {
        self.store("conditional_update", item, Put::Revision(&item.revision))
            .await
    }

    async fn store(&self, operation: &'static str, item: &Item, put: Put<'_>) -> Result<Lease, Error> {
        let key = &item.key;
        let mut attempts = Attempts::new(self, operation, Some(key));
        if !matches!(put, Put::Always) {
            self.conditions_hold(&attempts)?;
        }
        let refusal = |attempts: &Attempts<'_>| match put {
            Put::Always | Put::Absent => attempts.error(ErrorKind::AlreadyExists, "there is such an item"),
            Put::Present => attempts.error(ErrorKind::NotFound, "there is no such item"),
            Put::Value(_) => attempts.error(
                ErrorKind::CompareFailed,
                "there is another value than the expected one, or no such item",
            ),
            Put::Revision(revision) => incorrect(attempts, revision),
        };
        if let Put::Revision(revision) = put
            && revision.is_empty()
        {
            return Err(refusal(&attempts));
        }
        let revision = Revision::draw(self.random());
        let stored = self
            .layout()
            .marshal(item, &revision)
            .map_err(|wrong| attempts.error(ErrorKind::BadParameter, wrong))?;
        if let Some(too_large) = too_large(size(&stored)) {
            return Err(attempts.error(ErrorKind::TooLarge, too_large));
        }
        let trace = match put {
            Put::Revision(pinned) => Trace::Replaces {
                ours: &revision,
                pinned,
            },
            _ => Trace::Stores(&revision),
        };
        let request = |now: i64| {
            let mut stored = stored.clone();
            stored.insert("Timestamp".to_owned(), number(now));
            let mut request = self
                .client()
                .put_item()
                .table_name(self.table())
                .set_item(Some(stored))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            if let Some(condition) = self.put_condition(put, now) {
                let (text, names, values) = condition.parts();
                request = request
                    .condition_expression(text)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            }
            async move {
                let answer = request.send().await.map_err(Fault::of)?;
                self.charge(operation, answer.consumed_capacity());
                Ok(())
            }
        };
        let repeats = matches!(put, Put::Always) && self.repeats();
        match self.write(&mut attempts, key, trace, repeats, request).await? {
            Ended::Applied => Ok(Lease {
                key: key.clone(),
                revision,
            }),
            Ended::Refused(_) => Err(refusal(&attempts)),
        }
    }

    fn put_condition(&self, put: Put<'_>, now: i64) -> Option<Expression> {
        let layout = self.layout();
        match put {
            Put::Always => None,
            Put::Absent => Some(Expression::absent(layout, now)),
            Put::Present => Some(Expression::present(layout, now)),
            Put::Revision(revision) => Some(Expression::revision(layout, now, revision)),
            Put::Value(expected) => {
                let present = Expression::present(layout, now).name("#v", "Value");
                let expected_value = AttributeValue::B(Blob::new(expected));
                Some(if expected.is_empty() {
                    // What Go wrote for no value at all.
                    present
                        .and("(#v = :prev OR attribute_type(#v, :null) OR attribute_not_exists(#v))")
                        .value(":prev", expected_value)
                        .value(":null", AttributeValue::S("NULL".to_owned()))
                } else {
                    present.and("#v = :prev").value(":prev", expected_value)
                })
            }
        }
    }
}

/// Why an item of so many bytes is surely not stored; none if it may be.
pub(super) fn too_large(size: usize) -> Option<String> {
    (size > MAX_ITEM).then(|| {
        format!("the item has {size} bytes with its attributes' names; DynamoDB stores {MAX_ITEM} at most")
    })
}

pub(super) fn incorrect(attempts: &Attempts<'_>, revision: &Revision) -> Error {
    let what = if revision.is_empty() {
        "no revision was given; read the item and pass the one it has".to_owned()
    } else {
        format!("it is not in revision {revision}, or there is no such item")
    };
    attempts.error(ErrorKind::IncorrectRevision, what)
}
