//! What the tasks of `maintain` need of the state table and its watch log.

use super::{KEY, Place, Policy, Statement};
use crate::table::{Added, Error, Kind, Spec};

/// Who is to be allowed to sweep a state table, and to keep its watch log in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintainAccess {
    /// The state table's kind: [`Kind::State`] or [`Kind::Partitioned`].
    pub kind: Kind,
    /// The state table, in which the tasks' leases are too.
    pub state: String,
    /// A state table of [`Kind::State`] has an index by which what has expired is found; a partitioned one always has.
    pub index: bool,
    /// The table of watch logs, if one is kept.
    pub log: Option<String>,
    /// Their region; that of the KMS key, or else any, if none.
    pub region: Option<String>,
    /// Their account; any if none.
    pub account: Option<String>,
    /// ARN of the KMS key that they are encrypted with, if that is not DynamoDB's own.
    pub kms_key: Option<String>,
}

/// Leases, what is due and what is deleted. No Scan, for a paced one goes through the keys of the partitions; no
/// ConditionCheckItem, for no transaction is made.
const STATE: &[&str] = &[
    "BatchGetItem",
    "DeleteItem",
    "DescribeContinuousBackups",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "PutItem",
    "Query",
    "UpdateItem",
];

/// Segments and what falls due; a log is examined and compacted with no more.
const LOG: &[&str] = &[
    "BatchGetItem",
    "DeleteItem",
    "DescribeContinuousBackups",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "PutItem",
    "Query",
];

impl MaintainAccess {
    /// The policy. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a table, region, account or key cannot be one, or the kind is not one of state.
    pub fn policy(&self) -> Result<Policy, Error> {
        if !matches!(self.kind, Kind::State | Kind::Partitioned) {
            let hint = "the tasks sweep tables of state";
            return Err(Error::invalid("kind of table", self.kind.as_str(), hint));
        }
        let place = Place::at(
            self.region.as_deref(),
            self.account.as_deref(),
            self.kms_key.as_deref(),
        )?;
        let table = |kind, name: &str| {
            Spec::new(kind, name).map(|spec| place.arn("dynamodb", &format!("table/{}", spec.name())))
        };
        let state = table(self.kind, &self.state)?;
        let mut statement = vec![Statement::allow("State", "dynamodb", STATE, [state.clone()])];
        let insisted = self.index.then(Added::index);
        if let Some(index) = self.kind.schema().index.as_ref().or(insisted) {
            let due = format!("{state}/index/{}", index.name);
            statement.push(Statement::allow("Due", "dynamodb", &["Query"], [due]));
        }
        if let Some(log) = &self.log {
            let log = table(Kind::WatchLog, log)?;
            statement.push(Statement::allow("Log", "dynamodb", LOG, [log]));
        }
        if let Some(key) = &self.kms_key {
            statement.push(Statement::allow("Key", "kms", KEY, [key.clone()]).only_if(
                "StringEquals",
                "kms:ViaService",
                place.dynamodb(),
            ));
        }
        Ok(Policy {
            version: "2012-10-17",
            statement,
        })
    }
}
