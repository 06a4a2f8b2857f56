//! What cases say of what they saw.

use std::fmt::Debug;

use super::store::Failure;
use crate::state::{Error, ErrorKind};

pub(super) type Checked = Result<(), String>;

pub(super) fn holds(what: &str, holds: bool) -> Checked {
    if holds { Ok(()) } else { Err(format!("{what}: no")) }
}

pub(super) fn same<T: PartialEq + Debug + ?Sized>(what: &str, seen: &T, due: &T) -> Checked {
    if seen == due {
        Ok(())
    } else {
        Err(format!("{what}: {seen:?} was seen, {due:?} is due"))
    }
}

/// It must have been refused, as this.
pub(super) fn refused<T>(what: &str, result: Result<T, impl Into<Failure>>, due: ErrorKind) -> Checked {
    match result.map_err(Into::into) {
        Ok(_) => Err(format!("{what}: it succeeded, {due:?} is due")),
        Err(failure) if failure.kind == Some(due) => Ok(()),
        Err(failure) => Err(format!("{what}: {} was seen, {due:?} is due", failure.text)),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            kind: Some(error.kind()),
            text: format!("{error:?}"),
        }
    }
}

/// With the step in front.
pub(super) fn done<T>(what: &str, result: Result<T, impl Into<Failure>>) -> Result<T, String> {
    result.map_err(|failure| format!("{what}: {}", failure.into().text))
}
