//! `tidewatch state rm`.

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tidewatch::state::{Backend, Entry, ErrorKind, Key, Range};

use super::{ChangeOptions, backend, keeps_fences, show};
use crate::cli::{Exit, Failure, GOOD, Global, Output, StateOptions, WARN, paint};

/// Arguments of `tidewatch state rm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state rm /greeting --table state --write
  tidewatch state rm --prefix /nodes/default/ --table teleport --layout teleport --dry-run

Locks are left alone unless the prefix begins with .locks/, and fencing numbers always: they only grow.
What is to go is shown first, and each item is deleted only in the revision that was shown: what somebody else writes
meanwhile is kept. Exit status: 0 all gone; 1 there is no such item; 3 some were kept.")]
pub(super) struct RmArgs {
    /// Key of the item
    #[arg(required_unless_present = "prefix", conflicts_with = "prefix")]
    key: Option<String>,
    /// Delete every key that begins with this
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    change: ChangeOptions,
    #[command(flatten)]
    state: StateOptions,
}

/// Keys that are shown before the rest is only counted.
const SHOWN: usize = 20;
/// Deletions under way at once.
const AT_ONCE: usize = 16;

pub(super) async fn run(global: &Global, args: RmArgs) -> Result<Exit, Failure> {
    let dry_run = args.change.dry_run()?;
    let output = Output::new(global);
    let backend = backend(global, &args.state).await?;
    let found = found(&backend, &args).await?;
    let mut preface = format!("deletes {} items from {}\n", found.len(), backend.table());
    let now = backend.clock().now();
    for entry in found.iter().take(SHOWN) {
        preface.push_str(&format!(
            "  {}  expires {}\n",
            entry.key,
            show::expires(entry.expires, now)
        ));
    }
    if found.len() > SHOWN {
        preface.push_str(&format!("  and {} more\n", found.len() - SHOWN));
    }
    if dry_run || found.is_empty() {
        let json =
            json!({"deleted": 0, "kept": 0, "found": found.iter().map(show::entry_json).collect::<Vec<_>>()});
        let why = if dry_run {
            "nothing was changed (--dry-run)\n"
        } else {
            ""
        };
        output.result(&json, &format!("{preface}{why}"))?;
        return Ok(Exit::Done);
    }
    let question = format!("Delete {} items?", found.len());
    args.change.consent.ask(output, &preface, &question)?;
    let bar = output.bar(found.len());
    let done: Vec<bool> = stream::iter(&found)
        .map(|entry| {
            let (backend, bar) = (&backend, &bar);
            async move {
                let deleted = backend.conditional_delete(&entry.key, &entry.revision).await;
                bar.inc(1);
                match deleted {
                    Ok(()) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::IncorrectRevision => Ok(false),
                    Err(error) => Err(error),
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let deleted = done.iter().filter(|deleted| **deleted).count();
    let kept = done.len() - deleted;
    let mut text = format!("{} {deleted} items\n", paint(GOOD, "deleted"));
    if kept > 0 {
        text.push_str(&format!(
            "{} {kept} that were changed or deleted meanwhile\n",
            paint(WARN, "kept")
        ));
    }
    output.result(&json!({"deleted": deleted, "kept": kept}), &text)?;
    Ok(if kept == 0 { Exit::Done } else { Exit::Found })
}

async fn found(backend: &Backend, args: &RmArgs) -> Result<Vec<Entry>, Failure> {
    if let Some(prefix) = &args.prefix {
        // Locks and fencing numbers go only where they are named.
        let named = |entry: &Entry| {
            [Key::LOCKS, Key::FENCES].iter().all(|root| {
                let root = Key::from(format!("{root}/"));
                Key::from(prefix.as_str()).has_prefix(&root) || !entry.key.has_prefix(&root)
            })
        };
        keeps_fences(&Key::from(prefix.as_str()), None)?;
        let entries = backend.entries(Range::prefix(prefix.as_str()).into());
        let found: Vec<Entry> = entries.try_collect().await?;
        return Ok(found.into_iter().filter(named).collect());
    }
    let key = Key::from(args.key.clone().unwrap_or_default());
    keeps_fences(&key, None)?;
    let item = backend.get(&key).await?;
    Ok(vec![Entry {
        key: item.key,
        expires: item.expires,
        revision: item.revision,
    }])
}
