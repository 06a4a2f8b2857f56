//! `tidewatch state load`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::dump::{Fate, Header, read};
use tidewatch::state::{Backend, ErrorKind, Item, Layout, Revision};

use super::file::{first_line, lines};
use super::seal::Unseal;
use super::{ChangeOptions, client};
use crate::cli::{Exit, Failure, GOOD, Global, Output, StateOptions, aws_config, paint, stamp};

/// Arguments of `tidewatch state load`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state load backup.ndjson --table state --write
  tidewatch state load backup.sealed --table state --overwrite --dry-run
  tidewatch state load backup.ndjson --table state --namespace cluster --partitions 8 --init --write

Items are created; those that are there stay, unless --overwrite replaces them, in the revision that was shown. Locks and
what has expired are left out; a fencing number never goes down. Items get new revisions. The table must
exist, and so must the namespace of a partitioned one, unless --init makes it.")]
pub(super) struct LoadArgs {
    /// File that `tidewatch state dump` wrote
    file: PathBuf,
    /// Replace items that are there with another value or expiry
    #[arg(long)]
    overwrite: bool,
    /// Make the namespace if there is none, with as many partitions as --partitions says
    #[arg(long)]
    init: bool,
    #[command(flatten)]
    change: ChangeOptions,
    #[command(flatten)]
    state: StateOptions,
}

type Plan = (Fate, Option<Revision>);

/// Keys to be overwritten that are shown before the rest is only counted.
const SHOWN: usize = 20;

pub(super) async fn run(global: &Global, args: LoadArgs) -> Result<Exit, Failure> {
    let dry_run = args.change.dry_run()?;
    let output = Output::new(global);
    let (header, total) = args.check(global).await?;
    let (client, mut config) = client(global, &args.state).await?;
    // Only the namespace is made here: nothing is changed on the table.
    config.continuous_backups = false;
    let (clock, random) = (Clock::system(), Random::system());
    let opened = Backend::existing(&client, config.clone(), clock.clone(), random.clone()).await;
    let mut backend = match opened {
        Ok(backend) => Some(backend),
        Err(error) if error.kind() == ErrorKind::NotFound && args.init => None,
        Err(error) => return Err(error.into()),
    };
    let bar = output.bar(total);
    let mut plans = Vec::with_capacity(total);
    let mut overwritten = Vec::new();
    for item in args.items(global).await?.1 {
        let item = item?;
        let plan = match &backend {
            Some(backend) => backend.plan_load(&item, args.overwrite).await?,
            None => (Fate::Created, None),
        };
        if plan.0 == Fate::Overwritten {
            overwritten.push(item.key);
        }
        plans.push(plan);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut preface = format!(
        "{} items of {} ({}), dumped at {}, into {}:\n{}",
        plans.len(),
        header.table,
        header.layout,
        stamp(header.time()),
        config.table_name,
        table(&count(plans.iter().map(|plan| plan.0)))
    );
    if let (None, Layout::Partitioned(spread)) = (&backend, &config.layout) {
        preface.push_str(&format!(
            "  makes the namespace \"{}\" with {} partition(s), which is never changed\n",
            spread.namespace(),
            spread.partitions()
        ));
    }
    for key in overwritten.iter().take(SHOWN) {
        preface.push_str(&format!("  overwrites {key}\n"));
    }
    if overwritten.len() > SHOWN {
        preface.push_str(&format!("  and {} more\n", overwritten.len() - SHOWN));
    }
    if dry_run {
        let json = json!({"loaded": false, "plan": count(plans.iter().map(|plan| plan.0))});
        output.result(&json, &format!("{preface}nothing was changed (--dry-run)\n"))?;
        return Ok(Exit::Done);
    }
    args.change.consent.ask(output, &preface, "Load them?")?;
    let backend = match backend.take() {
        Some(backend) => backend,
        None => {
            let made = Backend::with_client(&client, config, clock, random).await?;
            // Locks and what has expired were not told apart without it.
            let mut items = args.items(global).await?.1;
            for plan in &mut plans {
                if let Some(item) = items.next() {
                    *plan = made.plan_load(&item?, false).await?;
                }
            }
            made
        }
    };
    let fates = args.load(global, &backend, plans, output).await?;
    let text = format!("{}\n{}", paint(GOOD, "loaded"), table(&fates));
    output.result(&json!({"loaded": true, "items": fates}), &text)?;
    Ok(Exit::Done)
}

impl LoadArgs {
    async fn items(
        &self,
        global: &Global,
    ) -> Result<(Header, impl Iterator<Item = Result<Item, Failure>>), Failure> {
        let first = first_line(&self.file)?;
        let unseal = if Unseal::is_sealed(&first) {
            let kms = aws_sdk_kms::Client::new(&aws_config(global).await?);
            Some(Unseal::open(&kms, first).await?)
        } else {
            None
        };
        let wrong = |error: tidewatch::state::dump::DumpError| Failure::from(error.to_string());
        let (header, items) = read(lines(&self.file, unseal)?).map_err(wrong)?;
        Ok((header, items.map(move |item| item.map_err(wrong))))
    }

    /// Reads the whole file once: nothing is loaded of one that is not complete.
    async fn check(&self, global: &Global) -> Result<(Header, usize), Failure> {
        let (header, items) = self.items(global).await?;
        let mut count = 0;
        for item in items {
            item?;
            count += 1;
        }
        Ok((header, count))
    }

    async fn load(
        &self,
        global: &Global,
        backend: &Backend,
        plans: Vec<Plan>,
        output: Output,
    ) -> Result<BTreeMap<Fate, u64>, Failure> {
        let bar = output.bar(plans.len());
        let mut fates = Vec::with_capacity(plans.len());
        for (item, plan) in self.items(global).await?.1.zip(plans) {
            fates.push(backend.load_item(&item?, plan).await.map_err(|error| {
                Failure::from(format!(
                    "{} items were loaded; then: {error}. Load it again to go on",
                    fates.len()
                ))
            })?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(count(fates))
    }
}

fn count(fates: impl IntoIterator<Item = Fate>) -> BTreeMap<Fate, u64> {
    let mut all = BTreeMap::new();
    for fate in fates {
        *all.entry(fate).or_default() += 1;
    }
    all
}

fn table(fates: &BTreeMap<Fate, u64>) -> String {
    let line = |(fate, count): (&Fate, &u64)| {
        let what = match fate {
            Fate::Created => "created",
            Fate::Overwritten => "overwritten",
            Fate::Same => "there already",
            Fate::Kept => "kept as they are there",
            Fate::Lock => "locks, left out",
            Fate::Expired => "expired, left out",
            Fate::Fence => "fencing numbers, not above those there",
        };
        format!("  {count:>8}  {what}\n")
    };
    fates.iter().map(line).collect()
}
