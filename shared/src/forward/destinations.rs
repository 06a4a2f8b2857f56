//! Where the records of a chain of versions go: the sinks of all its versions, those that lead to one place as one.

use std::collections::BTreeSet;

use crate::config::{AwsConfig, Chain, FilterConfig, Format, ObjectsUri, S3Location, SinkConfig, SinkUri};

/// A sink's name and place, over all versions that have it.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) name: String,
    /// As the newest version that has it says.
    pub(crate) config: SinkConfig,
    /// How that version reaches AWS.
    pub(crate) aws: AwsConfig,
    /// What it takes, by the version that a record was made under.
    pub(crate) takes: Vec<Takes>,
}

/// What a destination takes of records that were made under a version.
#[derive(Debug, Clone, Default)]
pub(crate) enum Takes {
    #[default]
    Nothing,
    /// What a task hands over for its name: the version has no sink of that name.
    Handed,
    /// What passes the filter, in this format.
    Passing(FilterConfig, Format),
}

impl Takes {
    pub(crate) fn passing(config: &SinkConfig) -> Self {
        Self::Passing(config.filter.clone(), config.format)
    }
}

impl Destination {
    /// Whether the newest version has it.
    pub(crate) fn is_newest(&self) -> bool {
        matches!(self.takes.first(), Some(Takes::Passing(..)))
    }
}

/// All destinations of a chain: of each name those of the newest version first.
pub(crate) fn destinations(chain: &Chain) -> Vec<Destination> {
    let versions = chain.versions();
    let mut all: Vec<Destination> = Vec::new();
    for (at, version) in versions.iter().enumerate() {
        for (name, config) in &version.config.sinks {
            let same =
                |found: &&mut Destination| found.name == *name && leads_to(&found.config.uri, &config.uri);
            let takes = Takes::passing(config);
            match all.iter_mut().find(same) {
                Some(found) => set(found, at, takes),
                None => {
                    let mut new = destination(name, config, &version.config.aws, versions.len());
                    set(&mut new, at, takes);
                    all.push(new);
                }
            }
        }
    }
    for version in versions {
        for (name, draining) in &version.draining {
            if let Some(config) = &draining.config
                && !all.iter().any(|found| found.name == *name)
            {
                all.push(destination(name, config, &version.config.aws, versions.len()));
            }
        }
    }
    for (at, version) in versions.iter().enumerate() {
        let mut seen: BTreeSet<String> = version.config.sinks.keys().cloned().collect();
        for found in &mut all {
            if seen.insert(found.name.clone()) {
                set(found, at, Takes::Handed);
            }
        }
    }
    all
}

fn destination(name: &str, config: &SinkConfig, aws: &AwsConfig, versions: usize) -> Destination {
    Destination {
        name: name.to_owned(),
        config: config.clone(),
        aws: aws.clone(),
        takes: vec![Takes::Nothing; versions],
    }
}

fn set(destination: &mut Destination, at: usize, takes: Takes) {
    if let Some(slot) = destination.takes.get_mut(at) {
        *slot = takes;
    }
}

/// Whether two URIs lead to the same place, whatever their options say.
pub(crate) fn leads_to(one: &SinkUri, other: &SinkUri) -> bool {
    let same = |one: &S3Location, other: &S3Location| {
        (&one.bucket, &one.prefix, &one.endpoint) == (&other.bucket, &other.prefix, &other.endpoint)
    };
    match (one, other) {
        (SinkUri::Stdout, SinkUri::Stdout) => true,
        (SinkUri::File { dir: one, .. }, SinkUri::File { dir: other, .. }) => one == other,
        (SinkUri::S3 { location: one, .. }, SinkUri::S3 { location: other, .. }) => same(one, other),
        (SinkUri::Lake(ObjectsUri::S3(one)), SinkUri::Lake(ObjectsUri::S3(other))) => same(one, other),
        (SinkUri::Lake(one), SinkUri::Lake(other)) => one == other,
        _ => false,
    }
}
