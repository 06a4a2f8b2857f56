//! The conditions that the table checks. Expired means gone: each takes the expiry into account.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::record::number;
use super::{Layout, Revision};

/// An item without an expiry, or with one not past.
const LIVE: &str = "(attribute_not_exists(Expires) OR Expires >= :now)";

/// Text, names and values, as a request takes them.
pub(super) type Parts = (
    String,
    Option<HashMap<String, String>>,
    Option<HashMap<String, AttributeValue>>,
);

/// An expression with what it names.
#[derive(Clone)]
pub(super) struct Expression {
    pub(super) text: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn new(layout: &Layout, text: String, now: i64) -> Self {
        Self {
            text,
            names: HashMap::from([("#k".to_owned(), layout.sort_name().to_owned())]),
            values: HashMap::from([(":now".to_owned(), number(now))]),
        }
    }

    /// The item exists.
    pub(super) fn present(layout: &Layout, now: i64) -> Self {
        Self::new(layout, format!("attribute_exists(#k) AND {LIVE}"), now)
    }

    /// There is no item, or an expired one. Not `Expires < :now`: an `Expires` that is no number is neither.
    pub(super) fn absent(layout: &Layout, now: i64) -> Self {
        Self::new(layout, format!("attribute_not_exists(#k) OR NOT {LIVE}"), now)
    }

    /// The item exists in this revision.
    pub(super) fn revision(layout: &Layout, now: i64, revision: &Revision) -> Self {
        if revision.is_blank() {
            Self::present(layout, now).and("attribute_not_exists(Revision)")
        } else {
            Self::present(layout, now)
                .and("Revision = :rev")
                .value(":rev", AttributeValue::S(revision.as_str().to_owned()))
        }
    }

    /// The item is the one that was seen: in this revision and with this expiry, which is `latest` or before.
    pub(super) fn seen(revision: &Revision, expires: i64, latest: i64) -> Self {
        let pinned = Self::empty()
            .value(":expires", number(expires))
            .value(":latest", number(latest));
        let mut pinned = if revision.is_blank() {
            pinned
        } else {
            pinned.value(":rev", AttributeValue::S(revision.as_str().to_owned()))
        };
        let revision = if revision.is_blank() {
            "attribute_not_exists(Revision)"
        } else {
            "Revision = :rev"
        };
        pinned.text = format!("{revision} AND Expires = :expires AND Expires <= :latest");
        pinned
    }

    /// What a query leaves out.
    pub(super) fn live(now: i64) -> Self {
        Self {
            text: LIVE.to_owned(),
            names: HashMap::new(),
            values: HashMap::from([(":now".to_owned(), number(now))]),
        }
    }

    /// None, to be filled with names and values.
    pub(super) fn empty() -> Self {
        Self {
            text: String::new(),
            names: HashMap::new(),
            values: HashMap::new(),
        }
    }

    pub(super) fn and(mut self, text: &str) -> Self {
        self.text = format!("{} AND {text}", self.text);
        self
    }

    pub(super) fn name(mut self, placeholder: &str, name: &str) -> Self {
        self.names.insert(placeholder.to_owned(), name.to_owned());
        self
    }

    pub(super) fn value(mut self, placeholder: &str, value: AttributeValue) -> Self {
        self.values.insert(placeholder.to_owned(), value);
        self
    }

    /// The text, the names and the values, as a request takes them.
    pub(super) fn parts(self) -> Parts {
        let Self { text, names, values } = self;
        (
            text,
            Some(names).filter(|names| !names.is_empty()),
            Some(values).filter(|values| !values.is_empty()),
        )
    }
}
