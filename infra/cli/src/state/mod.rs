//! `tidewatch state`: look into a state table, and change it with care.

pub(crate) mod changes;
mod dump;
mod file;
mod get;
mod load;
pub(crate) mod lock;
mod ls;
mod put;
mod rm;
mod seal;
mod show;
mod watch;

use aws_sdk_dynamodb::Client;
use clap::{Args, Subcommand};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Error, ErrorKind, Key};

use crate::cli::{Consent, Exit, Failure, Global, StateOptions, aws_config, state_config};

/// Arguments of `tidewatch state`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state ls /nodes/ --config /etc/teleport.yaml
  tidewatch state get /cluster_configuration/name --reveal --table teleport --layout teleport
  tidewatch state watch /nodes --table teleport --layout teleport
  tidewatch state put /greeting hello --table state --write
  tidewatch state lock backup --table state --write -- pg_dump -f backup.sql
  tidewatch state dump backup.ndjson --table state

Values are hidden unless --reveal is given; nothing is changed without --write. No command creates a table.")]
pub struct StateArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show an item
    Get(get::GetArgs),
    /// List keys
    Ls(ls::LsArgs),
    /// Print changes as they are made
    Watch(watch::WatchArgs),
    /// Store an item
    Put(put::PutArgs),
    /// Delete an item, or all below a prefix
    Rm(rm::RmArgs),
    /// Run a command under a lock
    Lock(lock::LockArgs),
    /// Write items to a file
    Dump(dump::DumpArgs),
    /// Create items from a file
    Load(load::LoadArgs),
}

/// Options of a command that changes something.
#[derive(Debug, Args)]
struct ChangeOptions {
    /// Change the table; without it, nothing is
    #[arg(long)]
    write: bool,
    /// Show what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
}

impl ChangeOptions {
    /// Whether this is only to be shown.
    ///
    /// # Errors
    /// [`Failure`] if nobody said --write.
    fn dry_run(&self) -> Result<bool, Failure> {
        if self.write || self.dry_run {
            Ok(self.dry_run)
        } else {
            Err(Failure::usage(
                "nothing was changed: changes need --write; --dry-run shows what would be done",
            ))
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(global: &Global, args: StateArgs) -> Result<Exit, Failure> {
    match args.command {
        Command::Get(args) => get::run(global, args).await,
        Command::Ls(args) => ls::run(global, args).await,
        Command::Watch(args) => Box::pin(watch::run(global, args)).await,
        Command::Put(args) => put::run(global, args).await,
        Command::Rm(args) => rm::run(global, args).await,
        Command::Lock(args) => lock::run(global, args).await,
        Command::Dump(args) => dump::run(global, args).await,
        Command::Load(args) => load::run(global, args).await,
    }
}

/// The backend that the options name; its table and namespace must exist.
async fn backend(global: &Global, options: &StateOptions) -> Result<Backend, Failure> {
    let (client, config) = client(global, options).await?;
    Ok(Backend::existing(&client, config, Clock::system(), Random::system()).await?)
}

/// A client, and what the backend is opened with.
async fn client(global: &Global, options: &StateOptions) -> Result<(Client, Config), Failure> {
    let config = state_config(global, options).await?;
    let sdk = aws_config(global).await?;
    if sdk.region().is_none() {
        return Err(Failure::usage(
            "which AWS region? Name it with --region, the --config document, AWS_REGION or a --profile that has one",
        ));
    }
    let mut settings = aws_sdk_dynamodb::config::Builder::from(&sdk);
    if config.fips {
        settings = settings.use_fips(true);
    }
    Ok((Client::from_conf(settings.build()), config))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::BadParameter | ErrorKind::TooLarge => Exit::Usage,
            _ => Exit::Failed,
        };
        Self {
            exit,
            message: error.to_string(),
        }
    }
}

/// Fencing numbers only grow, and are never deleted: a lower one would let a holder back in that lost its lock. `values`
/// are what is there and what is to replace it.
fn keeps_fences(key: &Key, values: Option<(&[u8], &[u8])>) -> Result<(), Failure> {
    if !key.has_prefix(&Key::from(format!("{}/", Key::FENCES))) {
        return Ok(());
    }
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<u64>().ok();
    match values.map(|(there, new)| (number(there), number(new))) {
        Some((Some(there), Some(new))) if new > there => Ok(()),
        _ => Err(Failure::usage(format!(
            "\"{key}\" is a fencing number: it is never deleted, and replaced by a greater one only"
        ))),
    }
}

/// What changed between showing and doing.
fn changed(key: &Key) -> Failure {
    Failure::from(format!(
        "\"{key}\" was changed by somebody else meanwhile, and was left as it is now; look again"
    ))
}
