//! `tidewatch iam`: print the least policy for working on a table.

use clap::{Args, Subcommand, ValueEnum};
use tidewatch::iam::{Access, Form};
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

Sends nothing: no credentials are needed. Nothing is allowed on every resource; without --region and --account it is
allowed on tables of that name in every region and account.")]
struct PolicyArgs {
    /// What the table is for
    #[arg(long = "for")]
    subject: SubjectOption,
    /// Layout of the state table [default: partitioned]
    #[arg(long, value_enum)]
    layout: Option<LayoutOption>,
    /// Whether the table may be created
    #[arg(long, value_enum, default_value = "use-existing")]
    form: FormOption,
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

/// Runs the command. Sends nothing.
///
/// # Errors
/// [`Failure`] if an option cannot be what it is for.
pub fn run(global: &Global, args: &IamArgs) -> Result<Exit, Failure> {
    let Command::Policy(args) = &args.command;
    let access = args.access(global)?;
    let output = Output::new(global);
    let policy = access.policy()?;
    let text = serde_json::to_string_pretty(&policy)
        .map_err(|error| Failure::from(format!("no JSON could be made: {error}")))?;
    output.result(&policy, &format!("{text}\n"))?;
    if (access.region.is_none() && access.kms_key.is_none()) || access.account.is_none() {
        output.say("this holds for every region or account that is not named: see --region and --account\n");
    }
    Ok(Exit::Done)
}

impl PolicyArgs {
    fn access(&self, global: &Global) -> Result<Access, Failure> {
        let kind = match (self.subject, self.layout) {
            (SubjectOption::State, Some(LayoutOption::Teleport)) => Kind::State,
            (SubjectOption::State, _) => Kind::Partitioned,
            (SubjectOption::Audit, None) => Kind::Audit,
            (SubjectOption::Audit, Some(_)) => {
                return Err(Failure::usage(
                    "--layout is for --for state: an audit table has one",
                ));
            }
        };
        let table = global.table.clone();
        Ok(Access {
            kind,
            table: table.ok_or_else(|| Failure::usage("which table? Name it with --table NAME"))?,
            region: global.region.clone(),
            account: self.account.clone(),
            form: match self.form {
                FormOption::Create => Form::Create,
                FormOption::UseExisting => Form::UseExisting,
            },
            kms_key: self.kms_key.clone(),
            auto_scaling: self.autoscaling,
        })
    }
}
