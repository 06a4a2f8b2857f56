//! `tidewatch config apply` and `versions`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::json;
use tidewatch::clock::Clock;
use tidewatch::config::{
    Candidate, LEAD, Versions, VersionsError, read_text, read_text_with, versions_place,
};
use tidewatch::objects::Objects;
use tidewatch::random::Random;

use crate::cli::{Consent, ERROR, Exit, FAINT, Failure, GOOD, Global, Output, aws_config, paint, stamp};

/// What applying takes at most, of the lead that is due when the pointer moves.
const MOMENT: Duration = Duration::from_secs(5);

/// Arguments of `tidewatch config apply`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch config apply new.yaml --to s3://my-audit/tidewatch/
  tidewatch config apply new.yaml --to s3://my-audit/tidewatch/ --in 10m --yes
  tidewatch config apply new.yaml --to s3://my-audit/tidewatch/ --dry-run --json

The function reads its configuration there if TIDEWATCH_CONFIG names the same place, slash at the end included. A record
is handled by the version that was in force when it was made. A sink that the new version has no more drains: what is
parked for it is delivered still, unless it is forgotten here.
Exit status: 0 applied; 2 the document has faults, or would be in force too soon, or leaves a spool; 1 anything else.")]
pub(super) struct ApplyArgs {
    /// The document: a path, file:///path, s3://bucket/key or ssm:NAME
    document: String,
    /// Where versions are kept: s3://bucket/prefix/ or file:///dir/
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// How long from now it is to be in force: 30 s at the least
    #[arg(long = "in", value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    lead: Duration,
    /// Forget this removed sink; what is parked for it is delivered to nobody. May be given several times
    #[arg(long, value_name = "SINK")]
    forget: Vec<String>,
    /// Take another spool than the newest version's, or let a sink use none. What waits there is not seen any more: drain it
    /// first, and once more after the function's time-out, for batches that are under way
    #[arg(long)]
    move_spool: bool,
    /// Go on from the version before the newest, which is damaged or has faults; sinks that it added are forgotten
    #[arg(long)]
    pass_over: bool,
    /// Only check it, and show what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Arguments of `tidewatch config versions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch config versions s3://my-audit/tidewatch/

The newest first. One that is unusable is damaged, has faults or is not there: the one before it goes on being in force. Apply
another one, with --pass-over.
Exit status: 0 the newest is of use; 3 it is unusable; 1 anything else.")]
pub(super) struct VersionsArgs {
    /// Where versions are kept: s3://bucket/prefix/ or file:///dir/
    place: String,
}

pub(super) async fn apply(global: &Global, args: ApplyArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let uri = &args.document;
    let read = if uri.starts_with("s3:") || uri.starts_with("ssm:") {
        read_text_with(uri, &aws_config(global).await?).await
    } else {
        read_text(uri).await
    };
    let document = read.map_err(|error| Failure::from(error.to_string()))?;
    let versions = open(global, &args.to).await?;
    let lead = args.lead.max(LEAD);
    let candidate = Candidate {
        document: &document,
        place: uri,
        effective_from: Clock::system().now() + lead + MOMENT,
        forget: &args.forget.into_iter().collect::<BTreeSet<_>>(),
        move_spool: args.move_spool,
        pass_over: args.pass_over,
        dry_run: true,
    };
    let planned = versions.apply(candidate.clone()).await?;
    let draining = match planned.draining.as_slice() {
        [] => String::new(),
        draining => format!("; drains {}", draining.join(", ")),
    };
    let unusable = match &planned.unusable {
        Some(unusable) => {
            format!("; {unusable} cannot be used and is passed over, with the sinks that it added")
        }
        None => String::new(),
    };
    let preface = format!(
        "in force from {}, after {}{draining}{unusable}\n",
        planned.effective_from,
        planned.before.as_deref().unwrap_or("none")
    );
    if args.dry_run {
        output.result(&json!(planned), &preface)?;
        return Ok(Exit::Done);
    }
    args.consent
        .ask(output, &preface, &format!("Apply it in {}?", args.to))?;
    let applied = versions
        .apply(Candidate {
            effective_from: Clock::system().now() + lead + MOMENT,
            dry_run: false,
            ..candidate
        })
        .await?;
    let text = format!(
        "{} {}, in force from {}\n",
        paint(GOOD, "applied"),
        applied.version,
        applied.effective_from
    );
    output.result(&json!(applied), &text)?;
    Ok(Exit::Done)
}

pub(super) async fn versions(global: &Global, args: VersionsArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let chain = open(global, &args.place).await?.read().await?;
    let now = Clock::system().now();
    let in_force = chain.in_force(now);
    let mut text = String::new();
    let mut list = Vec::new();
    if let Some(name) = chain.passed_over() {
        let _ = writeln!(
            text,
            "{}  {}  it is passed over, with the sinks that it added",
            Output::plain(name),
            paint(ERROR, "unusable")
        );
        list.push(json!({"version": name, "state": "unusable"}));
    }
    for (index, version) in chain.versions().iter().enumerate() {
        let state = match index.cmp(&in_force) {
            std::cmp::Ordering::Less => "to come",
            std::cmp::Ordering::Equal => "in force",
            std::cmp::Ordering::Greater => "before",
        };
        let sinks: Vec<&str> = version.config.sinks.keys().map(String::as_str).collect();
        let draining: Vec<&str> = version.draining.keys().map(String::as_str).collect();
        let style = if index == in_force { GOOD } else { FAINT };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}  {:8}  from {}  sinks {}",
            version.name,
            paint(style, state),
            stamp(version.effective_from),
            sinks.join(", ")
        );
        let since = version.effective_from.duration_since(SystemTime::UNIX_EPOCH);
        list.push(json!({
            "version": version.name, "state": state, "sinks": sinks, "draining": draining,
            "effective_from": since.unwrap_or_default().as_secs(),
        }));
    }
    output.result(&json!(list), &text)?;
    Ok(match chain.passed_over() {
        Some(_) => Exit::Found,
        None => Exit::Done,
    })
}

async fn open(global: &Global, place: &str) -> Result<Versions, Failure> {
    let due = "a place of versions ends with a slash: s3://bucket/prefix/ or file:///dir/";
    let uri = versions_place(place).ok_or_else(|| Failure::usage(due))?;
    let uri = uri.map_err(Failure::usage)?;
    let sdk = match place.starts_with("s3:") {
        true => Some(aws_config(global).await?),
        false => None,
    };
    let objects = Objects::open(&uri, sdk.as_ref(), Random::system()).map_err(Failure::usage)?;
    // What overrides settings here is not what does in the function.
    Ok(Versions::new(objects, Clock::system(), []))
}

impl From<VersionsError> for Failure {
    fn from(error: VersionsError) -> Self {
        match &error {
            VersionsError::Faults(_) | VersionsError::TooSoon { .. } => Self::usage(error.to_string()),
            VersionsError::SpoolMoved(_) | VersionsError::SpoolLeft { .. } => {
                Self::usage(format!("{error} with --move-spool"))
            }
            VersionsError::Unusable { .. } => Self::from(format!(
                "{error}; --pass-over goes on from the one before it, without the sinks that it added"
            )),
            _ => Self::from(error.to_string()),
        }
    }
}
