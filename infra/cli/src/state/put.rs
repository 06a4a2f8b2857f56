//! `tidewatch state put`.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use tidewatch::state::{ErrorKind, Item, Key};

use super::{ChangeOptions, backend, changed, keeps_fences, show};
use crate::cli::{Exit, Failure, GOOD, Global, Output, StateOptions, paint};

/// Arguments of `tidewatch state put`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state put /greeting hello --table state --write
  tidewatch state put /tls/key --file key.pem --ttl 90d --table state --write
  echo -n hello | tidewatch state put /greeting --file - --table state --write --yes

What is there is shown first, and replaced only if it is still that: a change by somebody else meanwhile is kept.")]
pub(super) struct PutArgs {
    /// Key of the item
    key: String,
    /// Value; a secret is better read from a file, since shells keep a history
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    value: Option<String>,
    /// Read the value from this file; - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Let it expire after this time, such as 30s or 90d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    #[command(flatten)]
    change: ChangeOptions,
    #[command(flatten)]
    state: StateOptions,
}

impl PutArgs {
    fn value(&self) -> Result<Vec<u8>, Failure> {
        let read = match (&self.file, &self.value) {
            (Some(file), _) if file.as_os_str() == "-" => {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
            }
            (Some(file), _) => std::fs::read(file),
            (None, value) => Ok(value.clone().unwrap_or_default().into_bytes()),
        };
        read.map_err(|error| Failure::from(format!("the value could not be read: {error}")))
    }
}

pub(super) async fn run(global: &Global, args: PutArgs) -> Result<Exit, Failure> {
    let dry_run = args.change.dry_run()?;
    let output = Output::new(global);
    let backend = backend(global, &args.state).await?;
    let key = Key::from(args.key.as_str());
    let mut item = Item::new(&key, args.value()?);
    let there = match backend.get(&key).await {
        Ok(there) => Some(there),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(there) = &there {
        keeps_fences(&key, Some((&there.value, &item.value)))?;
    }
    let now = backend.clock().now();
    let expires = |now: SystemTime| {
        let at = args.ttl.map(|ttl| now.checked_add(ttl));
        at.map(|at| at.ok_or_else(|| Failure::usage("--ttl is too long")))
            .transpose()
    };
    item.expires = expires(now)?;
    let mut preface = match &there {
        Some(there) => format!("replaces {}", show::item(there, now, false)),
        None => format!("creates {key}\n"),
    };
    preface.push_str(&format!(
        "  with      {} bytes, expires {}\n",
        item.value.len(),
        show::expires(item.expires, now)
    ));
    if dry_run {
        let json =
            json!({"written": false, "there": there.as_ref().map(|there| show::item_json(there, false))});
        output.result(&json, &format!("{preface}nothing was changed (--dry-run)\n"))?;
        return Ok(Exit::Done);
    }
    let question = format!("Write \"{key}\" in {}?", backend.table());
    args.change.consent.ask(output, &preface, &question)?;
    // From here, not from before the question.
    item.expires = expires(backend.clock().now())?;
    let written = match there {
        Some(there) => backend.conditional_update(&item.at(there.revision)).await,
        None => backend.create(&item).await,
    };
    let lease = written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::IncorrectRevision => changed(&key),
        _ => error.into(),
    })?;
    let text = format!("{} {key}, revision {}\n", paint(GOOD, "written"), lease.revision);
    output.result(
        &json!({"written": true, "revision": lease.revision.as_str()}),
        &text,
    )?;
    Ok(Exit::Done)
}
