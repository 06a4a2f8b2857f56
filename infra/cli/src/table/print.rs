//! `tidewatch table print`.

use clap::{Args, ValueEnum};
use serde_json::json;
use tidewatch::table::{Format, print};

use super::name;
use super::options::SpecOptions;
use crate::cli::{Exit, Failure, Global, Output};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatOption {
    /// A shell script of `aws dynamodb` commands
    AwsCli,
    /// A Terraform resource
    Terraform,
    /// A CloudFormation template
    Cloudformation,
}

impl From<FormatOption> for Format {
    fn from(format: FormatOption) -> Self {
        match format {
            FormatOption::AwsCli => Self::AwsCli,
            FormatOption::Terraform => Self::Terraform,
            FormatOption::Cloudformation => Self::Cloudformation,
        }
    }
}

/// Arguments of `tidewatch table print`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch table print --kind audit --table teleport.audit --format terraform > audit.tf
  tidewatch table print --kind state --table teleport --format aws-cli --pitr | sh
  tidewatch table print --kind audit --table audit --format cloudformation --deletion-protection > audit.yaml

Sends nothing: no credentials are needed.")]
pub(super) struct PrintArgs {
    #[command(flatten)]
    spec: SpecOptions,
    /// What to print
    #[arg(long)]
    format: FormatOption,
}

pub(super) fn run(global: &Global, args: &PrintArgs) -> Result<Exit, Failure> {
    let spec = args.spec.spec(name(global)?)?;
    let format = Format::from(args.format);
    let text = print(&spec, format);
    let report = json!({"table": spec.name(), "kind": spec.kind(), "format": format, "text": text});
    Output::new(global).result(&report, &text)?;
    Ok(Exit::Done)
}
