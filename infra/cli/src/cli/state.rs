//! The state backend that the global options or the document name.

use clap::{Args, ValueEnum};
use tidewatch::state::{Config, Layout, Partitioned};

use super::aws::{Document, document, named, options, over};
use super::{Failure, Global};

/// Options of every command on state.
#[derive(Debug, Clone, Default, Args)]
pub struct StateOptions {
    /// Which items hold the keys [default: as Teleport's file says, or else partitioned]
    #[arg(long, value_enum)]
    pub layout: Option<LayoutOption>,
    /// Namespace of a partitioned table [default: default]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Partitions of the namespace, fixed when it is first opened: 1 to 64 [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub partitions: Option<u8>,
}

/// `--layout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayoutOption {
    /// Teleport's own: HashKey and FullPath
    Teleport,
    /// Ours: Part and Key
    Partitioned,
}

/// How state is opened: by Teleport's own file if `--config` names one, with `--table`, `--region`, `--profile` and
/// `--endpoint-url` over it; by these options alone, and the section `aws` of a document of ours, if not. Checked; sends
/// one request for a document in S3 or SSM.
///
/// # Errors
/// [`Failure`] if the document cannot be read, with every fault of it, or if the options contradict it.
pub async fn state_config(global: &Global, state: &StateOptions) -> Result<Config, Failure> {
    let read = match named(global) {
        Some(_) => document(global).await.map(Some),
        None => Ok(None),
    };
    let (mut config, aws) = match read.map_err(|error| Failure::usage(error.to_string()))? {
        Some(Document::Teleport(config)) if state.layout == Some(LayoutOption::Partitioned) => {
            return Err(Failure::usage(format!(
                "--layout partitioned contradicts the document: Teleport's file says that {} has Teleport's layout",
                config.table_name
            )));
        }
        Some(Document::Teleport(config)) => {
            let aws = config.aws();
            (config, aws)
        }
        Some(Document::Tidewatch(document)) => (Config::default(), document.aws),
        None => (Config::default(), Default::default()),
    };
    if let Some(table) = &global.table {
        config.table_name.clone_from(table);
    }
    if config.table_name.is_empty() {
        return Err(Failure::usage(
            "which table? Name it with --table NAME, or name Teleport's own file with --config",
        ));
    }
    let aws = over(options(global), aws);
    config.fips &= global.endpoint_url.is_none();
    config.region = aws.region;
    config.profile = aws.profile;
    config.endpoint = aws.endpoint_url;
    config.access_key = aws.access_key;
    config.secret_key = aws.secret_key;
    config.layout = layout(config.layout, state)?;
    config
        .check_and_set_defaults()
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(config)
}

fn layout(document: Layout, state: &StateOptions) -> Result<Layout, Failure> {
    let teleport = state.layout == Some(LayoutOption::Teleport) || document == Layout::Teleport;
    if !teleport {
        let usage = |error: tidewatch::state::LayoutError| Failure::usage(error.to_string());
        let namespace = match &state.namespace {
            Some(name) => Partitioned::new(name).map_err(usage)?,
            None => Partitioned::default(),
        };
        let spread = namespace.with_partitions(state.partitions.unwrap_or(1));
        return spread.map(Layout::Partitioned).map_err(usage);
    }
    if state.namespace.is_some() || state.partitions.is_some() {
        return Err(Failure::usage(
            "--namespace and --partitions are for --layout partitioned: Teleport's layout has one partition",
        ));
    }
    Ok(Layout::Teleport)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "teleport:\n  storage:\n    type: dynamodb\n    table_name: theirs\n    region: eu-west-1\n    \
                        access_key: env:A\n    secret_key: env:B\n    use_fips_endpoint: yes\n";

    fn teleport() -> (tempfile::TempDir, Global) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("teleport.yaml");
        std::fs::write(&path, FILE).unwrap();
        let global = Global {
            config: Some(path.to_str().unwrap().to_owned()),
            ..Global::default()
        };
        (home, global)
    }

    #[tokio::test]
    async fn teleports_file_says_it_all() {
        let (_home, global) = teleport();
        let config = state_config(&global, &StateOptions::default()).await.unwrap();
        assert_eq!(
            (config.table_name.as_str(), config.layout, config.fips),
            ("theirs", Layout::Teleport, true)
        );
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert!(config.access_key.is_some() && config.secret_key.is_some());
    }

    #[tokio::test]
    async fn options_go_before_it() {
        let (_home, global) = teleport();
        let global = Global {
            table: Some("copy".to_owned()),
            region: Some("eu-west-2".to_owned()),
            profile: Some("named".to_owned()),
            endpoint_url: Some("http://127.0.0.1:8000".to_owned()),
            ..global
        };
        let config = state_config(&global, &StateOptions::default()).await.unwrap();
        assert_eq!(config.table_name, "copy");
        assert_eq!(config.region.as_deref(), Some("eu-west-2"));
        assert_eq!(config.profile.as_deref(), Some("named"));
        assert_eq!(config.endpoint.as_deref(), Some("http://127.0.0.1:8000"));
        // A profile says who acts, and an endpoint that is named is not AWS's FIPS one.
        assert!(config.access_key.is_none() && config.secret_key.is_none() && !config.fips);
    }

    #[tokio::test]
    async fn without_a_document_the_layout_is_ours() {
        let global = Global {
            table: Some("state".to_owned()),
            ..Global::default()
        };
        let ours = |namespace: &str, partitions| {
            let namespace = Partitioned::new(namespace).unwrap();
            Layout::Partitioned(namespace.with_partitions(partitions).unwrap())
        };
        let with = |layout, namespace: Option<&str>, partitions| StateOptions {
            layout,
            namespace: namespace.map(str::to_owned),
            partitions,
        };
        for (options, layout) in [
            (StateOptions::default(), ours("default", 1)),
            (with(None, Some("billing"), Some(8)), ours("billing", 8)),
            (with(Some(LayoutOption::Teleport), None, None), Layout::Teleport),
        ] {
            let config = state_config(&global, &options).await.unwrap();
            assert_eq!(config.layout, layout);
        }
        for (options, text) in [
            (
                with(Some(LayoutOption::Teleport), Some("x"), None),
                "--namespace and --partitions",
            ),
            (with(None, Some("a#b"), None), "namespace \"a#b\""),
            (with(None, None, Some(65)), "65 partitions"),
        ] {
            let failure = state_config(&global, &options).await.unwrap_err();
            assert!(failure.message.contains(text), "{failure}");
        }
        let nameless = state_config(&Global::default(), &StateOptions::default()).await;
        assert!(nameless.unwrap_err().message.contains("--table NAME"));
    }

    #[tokio::test]
    async fn a_teleport_file_cannot_be_opened_as_ours() {
        let (_home, global) = teleport();
        let options = StateOptions {
            layout: Some(LayoutOption::Partitioned),
            ..StateOptions::default()
        };
        let failure = state_config(&global, &options).await.unwrap_err();
        assert!(
            failure.message.contains("theirs has Teleport's layout"),
            "{failure}"
        );
    }
}
