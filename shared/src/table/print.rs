//! The same table for those who create tables their own way.

mod aws_cli;
mod cloudformation;
mod terraform;

use super::Spec;

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A POSIX shell script of `aws dynamodb` commands.
    AwsCli,
    /// A resource for Terraform's or OpenTofu's AWS provider, 4.0 or newer.
    Terraform,
    /// A CloudFormation template in YAML. Deleting its stack keeps the table.
    Cloudformation,
}

/// `spec` in `format`. Sends nothing; running the result creates what [`super::Tables::create`] would.
pub fn print(spec: &Spec, format: Format) -> String {
    match format {
        Format::AwsCli => aws_cli::print(spec),
        Format::Terraform => terraform::print(spec),
        Format::Cloudformation => cloudformation::print(spec),
    }
}

/// JSON of a string, which is also a YAML double-quoted scalar.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
