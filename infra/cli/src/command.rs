//! The command line: every command and its arguments.

mod applies;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::{Failure, Global};

/// Tidewatch: an access platform's state and audit trail on DynamoDB and S3.
#[derive(Debug, Parser)]
#[command(
    name = "tidewatch",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  tidewatch up
  tidewatch table create --kind audit --table teleport.audit --dry-run
  tidewatch table verify --table teleport.audit
  tidewatch audit search --type user.login --table teleport.audit
  tidewatch config check --config tidewatch.yaml
  tidewatch iam policy --for state --table teleport --layout teleport

Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 a check found a \
    difference or a loss; 4 declined at the prompt; 5 changes were missed.")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line, and whether every option of it applies to its command. Ends the process if it cannot be
    /// read, or if it asks for help.
    pub fn read() -> (Self, Result<(), Failure>) {
        let matches = Self::command().get_matches();
        let cli = Self::from_arg_matches(&matches)
            .unwrap_or_else(|error| error.format(&mut Self::command()).exit());
        (cli, applies::check(&matches))
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, verify, plan, apply or print the tables
    Table(crate::table::TableArgs),
    /// Look into a state table, and change it with care
    State(crate::state::StateArgs),
    /// Search the audit log, export it, follow it, bring events back from it
    Audit(crate::audit::AuditArgs),
    /// Hand over again what Lambda gave up, or what is in quarantine
    Redrive(crate::redrive::RedriveArgs),
    /// Make, show, compact, break or reconfigure a watch log
    WatchLog(crate::watch_log::WatchLogArgs),
    /// Run a task of the function `maintain` now: expire, locks, watch-log, lake, drain, redrive, verify, canary
    Maintain(crate::maintain::MaintainArgs),
    /// Check a configuration document, print its schema
    Config(crate::config::ConfigArgs),
    /// Print the least IAM policy for a table
    Iam(crate::iam::IamArgs),
    /// Run the whole system on this machine
    Up(crate::up::UpArgs),
    /// Print a shell completion script
    #[command(after_help = "Examples:
  tidewatch completions bash > ~/.local/share/bash-completion/completions/tidewatch
  tidewatch completions zsh > ~/.zfunc/_tidewatch
  tidewatch completions fish > ~/.config/fish/completions/tidewatch.fish")]
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}
