//! `tidewatch iam`: print the least policy for working on a table.

use clap::{Args, Subcommand, ValueEnum};
use tidewatch::iam::{Access, Form, MaintainAccess, Policy, WatchAccess, WatchRole};
use tidewatch::table::Kind;

use crate::cli::{Exit, Failure, Global, LayoutOption, Output};

/// Arguments of `tidewatch iam`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch iam policy --for state --table teleport --layout teleport --form create")]
pub struct IamArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the least IAM policy for a table
    Policy(PolicyArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SubjectOption {
    /// Keys and values, locks and leases
    State,
    /// The audit log
    Audit,
    /// The function that keeps the watch log of --table in --log-table
    WatchAppend,
    /// A watcher of the watch logs of --log-table
    WatchLog,
    /// A watcher of the stream of --table
    WatchStream,
    /// The tasks that sweep --table and keep its watch log in --log-table
    Maintain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormOption {
    /// The table may be created, and brought into order
    Create,
    /// The table is there and is used as it is
    UseExisting,
}

/// Arguments of `tidewatch iam policy`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch iam policy --for state --table state --region eu-west-1 --account 111122223333 > policy.json
  tidewatch iam policy --for state --table teleport --layout teleport --form create --autoscaling
  tidewatch iam policy --for audit --table teleport.audit --kms-key arn:aws:kms:eu-west-1:111122223333:key/1234
  tidewatch iam policy --for watch-append --table teleport --log-table watch
  tidewatch iam policy --for watch-log --log-table watch
  tidewatch iam policy --for maintain --table teleport --layout teleport --log-table watch

Sends nothing: no credentials are needed. Nothing is allowed on every resource, but for ListStreams; without --region and --account it is
allowed on tables of that name in every region and account.")]
struct PolicyArgs {
    /// What the table is for
    #[arg(long = "for")]
    subject: SubjectOption,
    /// Layout of the state table [default: partitioned]
    #[arg(long, value_enum)]
    layout: Option<LayoutOption>,
    /// The table of watch logs, for watch-append, watch-log and maintain
    #[arg(long, value_name = "NAME")]
    log_table: Option<String>,
    /// What has expired is found by the index of `tidewatch table index --add`, for maintain
    #[arg(long)]
    expiry_index: bool,
    /// Whether the table may be created [default: use-existing]
    #[arg(long, value_enum)]
    form: Option<FormOption>,
    /// Account of the table: 12 digits
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,
    /// ARN of the KMS key that encrypts the table
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
    /// Allow registering its capacity with Application Auto Scaling
    #[arg(long)]
    autoscaling: bool,
}

const WHICH: &str = "which table? Name it with --table NAME";

/// Runs the command. Sends nothing.
///
/// # Errors
/// [`Failure`] if an option cannot be what it is for.
pub fn run(global: &Global, args: &IamArgs) -> Result<Exit, Failure> {
    let Command::Policy(args) = &args.command;
    let policy = args.policy(global)?;
    let output = Output::new(global);
    let text = serde_json::to_string_pretty(&policy)
        .map_err(|error| Failure::from(format!("no JSON could be made: {error}")))?;
    output.result(&policy, &format!("{text}\n"))?;
    if (global.region.is_none() && args.kms_key.is_none()) || args.account.is_none() {
        output.say("this holds for every region or account that is not named: see --region and --account\n");
    }
    Ok(Exit::Done)
}

impl PolicyArgs {
    fn policy(&self, global: &Global) -> Result<Policy, Failure> {
        if self.expiry_index && !matches!(self.subject, SubjectOption::Maintain) {
            return Err(Failure::usage("--expiry-index is for --for maintain"));
        }
        let role = match self.subject {
            SubjectOption::State | SubjectOption::Audit => return Ok(self.access(global)?.policy()?),
            SubjectOption::WatchAppend => WatchRole::Append,
            SubjectOption::WatchLog => WatchRole::Read,
            SubjectOption::WatchStream => WatchRole::Stream,
            SubjectOption::Maintain => return Ok(self.maintain(global)?.policy()?),
        };
        if self.layout.is_some() || self.form.is_some() || self.autoscaling {
            let what = "--layout, --form and --autoscaling are not for watches";
            return Err(Failure::usage(what));
        }
        let log = match (&self.log_table, role) {
            (Some(_), WatchRole::Stream) => {
                return Err(Failure::usage("a watcher of a stream needs no --log-table"));
            }
            (None, WatchRole::Append | WatchRole::Read) => {
                return Err(Failure::usage(
                    "which table of watch logs? Name it with --log-table NAME",
                ));
            }
            (log, _) => log.clone().unwrap_or_default(),
        };
        let state = match (&global.table, role) {
            (None, WatchRole::Append | WatchRole::Stream) => return Err(Failure::usage(WHICH)),
            (table, _) => table.clone().unwrap_or_default(),
        };
        let access = WatchAccess {
            role,
            log,
            state,
            region: global.region.clone(),
            account: self.account.clone(),
            kms_key: self.kms_key.clone(),
        };
        Ok(access.policy()?)
    }

    fn maintain(&self, global: &Global) -> Result<MaintainAccess, Failure> {
        if self.form.is_some() || self.autoscaling {
            return Err(Failure::usage(
                "the tasks change no table: no --form and no --autoscaling",
            ));
        }
        let table = global.table.clone();
        Ok(MaintainAccess {
            kind: match self.layout {
                Some(LayoutOption::Teleport) => Kind::State,
                _ => Kind::Partitioned,
            },
            state: table.ok_or_else(|| Failure::usage(WHICH))?,
            index: self.expiry_index,
            log: self.log_table.clone(),
            region: global.region.clone(),
            account: self.account.clone(),
            kms_key: self.kms_key.clone(),
        })
    }

    fn access(&self, global: &Global) -> Result<Access, Failure> {
        if self.log_table.is_some() {
            return Err(Failure::usage(
                "--log-table is for --for watch-append, watch-log and maintain",
            ));
        }
        let kind = match (self.subject, self.layout) {
            (SubjectOption::State, Some(LayoutOption::Teleport)) => Kind::State,
            (SubjectOption::State, _) => Kind::Partitioned,
            (SubjectOption::Audit, None) => Kind::Audit,
            (_, _) => {
                return Err(Failure::usage(
                    "--layout is for --for state: an audit table has one",
                ));
            }
        };
        let table = global.table.clone();
        Ok(Access {
            kind,
            table: table.ok_or_else(|| Failure::usage(WHICH))?,
            region: global.region.clone(),
            account: self.account.clone(),
            form: match self.form {
                Some(FormOption::Create) => Form::Create,
                Some(FormOption::UseExisting) | None => Form::UseExisting,
            },
            kms_key: self.kms_key.clone(),
            auto_scaling: self.autoscaling,
        })
    }
}
