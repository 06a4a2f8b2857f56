//! The least IAM policy for working on a table: exactly the operations that this crate sends.
//!
//! | statement | there if | resource |
//! |---|---|---|
//! | `Items` | always | the table |
//! | `Index` | its kind has an index | the table's indexes |
//! | `Stream` | its kind has a stream | the table's streams, which are named by the time of their creation |
//! | `Create` | [`Form::Create`] | the table |
//! | `Key` | a KMS key is named | that key, used through DynamoDB only |
//! | `Scaling`, `ScalingRole`, `ScalingAlarms` | auto scaling | targets of DynamoDB; the role of the service; the table's alarms |
//!
//! For watching, [`WatchAccess`]:
//!
//! | statement | [`WatchRole`] | resource |
//! |---|---|---|
//! | `Log` | append, read | the table of watch logs |
//! | `Table` | stream | the state table |
//! | `Stream` | append, stream | the state table's streams |
//! | `ListStreams` | append | `*`: it knows no resources, and Lambda refuses a mapping without it |
//! | `Key` | all, if a KMS key is named | that key, used through DynamoDB only |
//!
//! For the tasks of `maintain`, [`MaintainAccess`]; buckets, functions and log groups are its deployment's:
//!
//! | statement | there if | resource |
//! |---|---|---|
//! | `State` | always | the state table |
//! | `Due` | it is partitioned, or its operator insisted on an index | its index of what expires |
//! | `Log` | a log is named | the table of watch logs |
//! | `Key` | a KMS key is named | that key, used through DynamoDB only |
//!
//! Nothing else is allowed on `*`. Where a resource cannot be named before it exists (a stream, a scalable target, an alarm)
//! its name has a wildcard behind the table's, or a condition stands in for it.

mod maintain;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::maintain::MaintainAccess;
use crate::table::{Error, Kind, Spec};

/// Who is to be allowed what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The table's kind.
    pub kind: Kind,
    /// The table.
    pub table: String,
    /// Its region; that of the KMS key, or else any, if none.
    pub region: Option<String>,
    /// Its account; any if none.
    pub account: Option<String>,
    /// Whether the table may be created.
    pub form: Form,
    /// ARN of the KMS key it is encrypted with, if that is not DynamoDB's own.
    pub kms_key: Option<String>,
    /// Whether its capacity is registered with Application Auto Scaling.
    pub auto_scaling: bool,
}

/// Whether the table is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It may be created, and brought into order.
    Create,
    /// It is there and is used as it is.
    UseExisting,
}

/// A policy document; serialises to what IAM takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<String>,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
}

/// Reading, writing, and verifying when a table is opened. A transaction needs what its actions need.
const STATE_ITEMS: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "ConditionCheckItem",
    "DeleteItem",
    "DescribeContinuousBackups",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "PutItem",
    "Query",
    "UpdateItem",
];

/// Events are written once and never deleted: that is left to their expiry.
const AUDIT_ITEMS: &[&str] = &[
    "DescribeContinuousBackups",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "PutItem",
    "Query",
];

/// What a log is made, verified, appended to, read, sealed and compacted with.
const LOG_ITEMS: &[&str] = &[
    "BatchGetItem",
    "DeleteItem",
    "DescribeContinuousBackups",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "PutItem",
    "Query",
];

/// ListStreams is not among them: DescribeTable names the stream.
const STREAM: &[&str] = &["DescribeStream", "GetRecords", "GetShardIterator"];

const CREATE: &[&str] = &[
    "CreateTable",
    "TagResource",
    "UpdateContinuousBackups",
    "UpdateTable",
    "UpdateTimeToLive",
];

const KEY: &[&str] = &["Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey"];

/// What DynamoDB asks of those who put a table under a key, beside [`KEY`].
const KEY_CREATE: &[&str] = &[
    "CreateGrant",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
];

/// Who is to be allowed to watch, or to let others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchAccess {
    /// In which role.
    pub role: WatchRole,
    /// The table of watch logs; not looked at for [`WatchRole::Stream`].
    pub log: String,
    /// The state table; not looked at for [`WatchRole::Read`].
    pub state: String,
    /// Their region; that of the KMS key, or else any, if none.
    pub region: Option<String>,
    /// Their account; any if none.
    pub account: Option<String>,
    /// ARN of the KMS key that they are encrypted with, if that is not DynamoDB's own.
    pub kms_key: Option<String>,
}

/// What somebody does for watches, or with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchRole {
    /// The function that appends the state table's changes to its log. It needs nothing of the table itself. Kinesis,
    /// the failure queue and the log group are its deployment's.
    Append,
    /// A watcher of the log. It sees the log's keys, and the values that are in it, of every log of that table; to read
    /// values that are not, or to list, it needs its own right to the state table.
    Read,
    /// A watcher of the table's stream, of which there can be two.
    Stream,
}

/// A log is made where there is none with what it is appended to with. Notes of a sweep are read in batches.
const APPEND: &[&str] = &["BatchGetItem", "GetItem", "PutItem", "Query"];

const READ: &[&str] = &["GetItem", "Query"];

impl WatchAccess {
    /// The policy. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a table, region, account or key cannot be one.
    pub fn policy(&self) -> Result<Policy, Error> {
        let place = Place::at(
            self.region.as_deref(),
            self.account.as_deref(),
            self.kms_key.as_deref(),
        )?;
        let table = |kind, name: &str| {
            Spec::new(kind, name).map(|spec| place.arn("dynamodb", &format!("table/{}", spec.name())))
        };
        let allow = |sid, actions, resource| Statement::allow(sid, "dynamodb", actions, [resource]);
        let mut statement = Vec::new();
        match self.role {
            WatchRole::Append => statement.push(allow("Log", APPEND, table(Kind::WatchLog, &self.log)?)),
            WatchRole::Read => statement.push(allow("Log", READ, table(Kind::WatchLog, &self.log)?)),
            WatchRole::Stream => {
                statement.push(allow(
                    "Table",
                    &["DescribeTable"],
                    table(Kind::State, &self.state)?,
                ));
            }
        }
        if self.role != WatchRole::Read {
            let streams = format!("{}/stream/*", table(Kind::State, &self.state)?);
            statement.push(allow("Stream", STREAM, streams));
        }
        if self.role == WatchRole::Append {
            statement.push(allow("ListStreams", &["ListStreams"], "*".to_owned()));
        }
        if let Some(key) = &self.kms_key {
            let actions = match self.role {
                WatchRole::Append => KEY,
                WatchRole::Read | WatchRole::Stream => &["Decrypt", "DescribeKey"],
            };
            statement.push(Statement::allow("Key", "kms", actions, [key.clone()]).only_if(
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

impl Access {
    /// The policy. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the table, region, account or key cannot be one, or auto scaling is asked for an audit
    /// table or a watch log, whose capacity this crate does not register.
    pub fn policy(&self) -> Result<Policy, Error> {
        let place = Place::new(self)?;
        let table = place.arn("dynamodb", &format!("table/{}", self.table));
        let mut statement = vec![Statement::allow(
            "Items",
            "dynamodb",
            match self.kind {
                Kind::State | Kind::Partitioned => STATE_ITEMS,
                Kind::Audit => AUDIT_ITEMS,
                Kind::WatchLog => LOG_ITEMS,
            },
            [table.clone()],
        )];
        if self.kind.schema().index.is_some() {
            let indexes = format!("{table}/index/*");
            statement.push(Statement::allow("Index", "dynamodb", &["Query"], [indexes]));
        }
        if self.kind.schema().stream {
            let streams = format!("{table}/stream/*");
            statement.push(Statement::allow("Stream", "dynamodb", STREAM, [streams]));
        }
        if self.form == Form::Create {
            let ttl = self.kind.schema().ttl.is_some();
            let needed = |action: &&str| ttl || *action != "UpdateTimeToLive";
            let create: Vec<&str> = CREATE.iter().copied().filter(needed).collect();
            statement.push(Statement::allow("Create", "dynamodb", &create, [table.clone()]));
        }
        if let Some(key) = &self.kms_key {
            let actions: Vec<&str> = match self.form {
                Form::Create => KEY.iter().chain(KEY_CREATE).copied().collect(),
                Form::UseExisting => KEY.to_vec(),
            };
            let service = place.dynamodb();
            statement.push(Statement::allow("Key", "kms", &actions, [key.clone()]).only_if(
                "StringEquals",
                "kms:ViaService",
                service,
            ));
        }
        if self.auto_scaling {
            statement.extend(self.scaling(&place, table));
        }
        Ok(Policy {
            version: "2012-10-17",
            statement,
        })
    }

    fn scaling(&self, place: &Place, table: String) -> Vec<Statement> {
        let mut all = Vec::new();
        // The service checks that its caller may change the capacity itself.
        if self.form == Form::UseExisting {
            all.push(Statement::allow(
                "ScaledTable",
                "dynamodb",
                &["UpdateTable"],
                [table],
            ));
        }
        let targets = place.arn("application-autoscaling", "scalable-target/*");
        let actions = &["PutScalingPolicy", "RegisterScalableTarget"];
        all.push(
            Statement::allow("Scaling", "application-autoscaling", actions, [targets]).only_if(
                "StringEquals",
                "application-autoscaling:service-namespace",
                "dynamodb".to_owned(),
            ),
        );
        // Made by the service once an account, on behalf of who first registers a target.
        let service = "dynamodb.application-autoscaling.amazonaws.com";
        let role = format!(
            "arn:{}:iam::{}:role/aws-service-role/{service}/AWSServiceRoleForApplicationAutoScaling_DynamoDBTable",
            place.partition, place.account
        );
        all.push(
            Statement::allow("ScalingRole", "iam", &["CreateServiceLinkedRole"], [role]).only_if(
                "StringEquals",
                "iam:AWSServiceName",
                service.to_owned(),
            ),
        );
        let alarms = ["-", "/index/"].map(|rest| {
            place.arn(
                "cloudwatch",
                &format!("alarm:TargetTracking-table/{}{rest}*", self.table),
            )
        });
        let actions = &["DeleteAlarms", "DescribeAlarms", "PutMetricAlarm"];
        all.push(Statement::allow("ScalingAlarms", "cloudwatch", actions, alarms));
        all
    }
}

impl Statement {
    fn allow(
        sid: &'static str,
        service: &str,
        actions: &[&str],
        resource: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut action: Vec<String> = actions
            .iter()
            .map(|action| format!("{service}:{action}"))
            .collect();
        action.sort();
        Self {
            sid,
            effect: "Allow",
            action,
            resource: resource.into_iter().collect(),
            condition: BTreeMap::new(),
        }
    }

    fn only_if(mut self, operator: &'static str, key: &'static str, value: String) -> Self {
        self.condition.entry(operator).or_default().insert(key, value);
        self
    }
}

/// Where the table is, with a wildcard for what was not said.
struct Place {
    partition: &'static str,
    region: String,
    account: String,
}

impl Place {
    fn new(access: &Access) -> Result<Self, Error> {
        Spec::new(access.kind, &access.table)?;
        if access.auto_scaling && matches!(access.kind, Kind::Audit | Kind::WatchLog) {
            let hint = "only the capacity of state tables is registered";
            return Err(Error::invalid("auto scaling", &access.table, hint));
        }
        Self::at(
            access.region.as_deref(),
            access.account.as_deref(),
            access.kms_key.as_deref(),
        )
    }

    fn at(region: Option<&str>, account: Option<&str>, kms_key: Option<&str>) -> Result<Self, Error> {
        let key_region = kms_key.map(key_region).transpose()?;
        if let Some(region) = region
            && !is_region(region)
        {
            return Err(Error::invalid("region", region, "use one such as eu-west-1"));
        }
        if let (Some(region), Some(key)) = (region, key_region)
            && region != key
        {
            let hint = "DynamoDB takes keys of the table's own region";
            return Err(Error::invalid("KMS key's region", key, hint));
        }
        if let Some(account) = account
            && !(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
        {
            return Err(Error::invalid("account", account, "use its 12 digits"));
        }
        let region = region.or(key_region).unwrap_or("*").to_owned();
        Ok(Self {
            partition: match &region {
                region if region.starts_with("cn-") => "aws-cn",
                region if region.starts_with("us-gov-") => "aws-us-gov",
                _ => "aws",
            },
            region,
            account: account.unwrap_or("*").to_owned(),
        })
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        format!(
            "arn:{}:{service}:{}:{}:{resource}",
            self.partition, self.region, self.account
        )
    }

    /// DynamoDB, as KMS names who uses a key for somebody.
    fn dynamodb(&self) -> String {
        let suffix = if self.partition == "aws-cn" { ".cn" } else { "" };
        format!("dynamodb.{}.amazonaws.com{suffix}", self.region)
    }
}

fn is_region(text: &str) -> bool {
    text.contains('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The region in a key's ARN. A policy can name a key by nothing else: an alias may come to mean another one.
fn key_region(key: &str) -> Result<&str, Error> {
    let parts: Vec<&str> = key.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "kms", region, account, id]
            if partition.starts_with("aws")
                && is_region(region)
                && account.len() == 12
                && id
                    .strip_prefix("key/")
                    .is_some_and(|id| !id.is_empty() && !id.contains('*')) =>
        {
            Ok(region)
        }
        _ => Err(Error::invalid(
            "KMS key",
            key,
            "a policy needs its ARN: see `aws kms describe-key --key-id alias/NAME --query KeyMetadata.Arn`",
        )),
    }
}
