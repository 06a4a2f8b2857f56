//! The watch log of a state table: where it is, and what of the table it holds.

use super::AwsConfig;
use super::document::Section;
use crate::state::{Key, Layout, Partitioned};
use crate::table::{Kind, Spec};
use crate::watch::Prefix;
use crate::watch::log::{Inline, LogSpec, Transport};

/// The watch log that is kept of a state table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// The state table.
    pub table: String,
    /// Which of its items hold keys.
    pub layout: Layout,
    /// The log.
    pub log: WatchLogConfig,
    /// Where its changes come from. Only when it is made, as the next two.
    pub source: Transport,
    /// How many buckets it has.
    pub buckets: u32,
    /// Which keys it covers: these and what lies below them; none for all.
    pub prefixes: Vec<Prefix>,
    /// Which values it holds.
    pub inline: Inline,
    /// Region of both tables, if not that of `aws`.
    pub region: Option<String>,
    /// Endpoint of both tables, if not that of `aws`.
    pub endpoint: Option<String>,
}

/// Where a watch log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchLogConfig {
    /// The table of logs.
    pub table: String,
    /// The log's name in it.
    pub name: String,
}

/// Keys below which Teleport keeps private keys, passwords' hashes, second factors, sessions, tokens and credentials.
/// Their values stay out of the log, whose readers need no right to the state table.
const SECRETS: &[&str] = &[
    "/app_session",
    "/apps/sessions",
    "/authorities",
    "/cluster_configuration",
    "/github",
    "/headless_authentication",
    "/ids",
    "/kubernetes",
    "/oidc",
    "/plugin_static_credentials",
    "/plugins",
    "/private_keys",
    "/recording_encryption",
    "/resetpasswordtokens",
    "/saml",
    "/saml_idp",
    "/sessions",
    "/snowflake",
    "/tokens",
    "/trustedclusters",
    "/usertoken",
    "/web",
    "/webauthn",
];

impl WatchConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let table = required_table(section, "table");
        let layout = layout(section);
        let (log_table, log_name) = section.section("log", |log| {
            let table = required_table(log, "table");
            let name = log.setting("name", table_name);
            (table, name)
        });
        if let (Some(table), Some(log)) = (&table, &log_table)
            && table == log
        {
            section.fault("log.table", "the log has a table of its own");
        }
        let source = section.setting("source", |text| match text {
            "stream" => Ok(Transport::Stream),
            "kinesis" => Ok(Transport::Kinesis),
            _ => Err("stream or kinesis is due"),
        });
        let buckets = section.setting("buckets", |text| match text.parse() {
            Ok(buckets) if (1..=64).contains(&buckets) => Ok(buckets),
            _ => Err("a number from 1 to 64 is due"),
        });
        let prefixes = section
            .texts("prefixes")
            .map(|texts| prefixes(section, "prefixes", texts));
        let forced = section.truth("force_secrets");
        let inline = inline(section, layout.as_ref(), forced.unwrap_or_default());
        let region = section.setting("region", |text| {
            if text.is_empty() {
                Err("a value is due")
            } else {
                Ok(text.to_owned())
            }
        });
        let endpoint = section.setting("endpoint", |text| {
            AwsConfig::check_endpoint(text).map(|()| text.to_owned())
        });
        let table = table?;
        let layout = layout?;
        Some(Self {
            log: WatchLogConfig {
                table: log_table?,
                name: log_name.unwrap_or_else(|| LogSpec::default_name(&table, &layout)),
            },
            source: source.unwrap_or_default(),
            buckets: buckets.unwrap_or_else(|| LogSpec::new(&table).buckets),
            table,
            inline,
            prefixes: prefixes.unwrap_or_default(),
            layout,
            region,
            endpoint,
        })
    }
}

fn table_name(text: &str) -> Result<String, &'static str> {
    // A log's name is kept to the same characters: others stand between the parts of its items' keys.
    match Spec::new(Kind::State, text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("3 to 255 letters, digits, '_', '.' or '-' are due"),
    }
}

pub(super) fn required_table(section: &mut Section<'_>, key: &str) -> Option<String> {
    let table = section.setting(key, table_name);
    if table.is_none() && section.is_clean(key) {
        section.fault(key, "is required: a table's name");
    }
    table
}

pub(super) fn layout(section: &mut Section<'_>) -> Option<Layout> {
    let partitioned = section.setting("layout", |text| match text {
        "teleport" => Ok(false),
        "partitioned" => Ok(true),
        _ => Err("teleport or partitioned is due"),
    });
    let namespace = section.setting("namespace", |text| {
        Partitioned::new(text).map_err(|_| "1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-' are due")
    });
    match partitioned {
        // A default would take a table of the other layout for an empty one.
        None if section.is_clean("layout") => section.fault("layout", "is required: teleport or partitioned"),
        Some(false) if namespace.is_some() => {
            section.fault("namespace", "only a partitioned table has namespaces");
        }
        _ => {}
    }
    Some(if partitioned? {
        Layout::Partitioned(namespace.unwrap_or_default())
    } else {
        Layout::Teleport
    })
}

/// Keys that stand for themselves and what lies below them.
pub(super) fn prefixes(section: &mut Section<'_>, key: &str, texts: Vec<String>) -> Vec<Prefix> {
    // DynamoDB's limit for a sort key.
    if texts.is_empty() || texts.iter().any(|text| !(1..=1024).contains(&text.len())) {
        section.fault(key, "prefixes of 1 to 1024 bytes are due, such as /nodes");
    }
    texts.into_iter().map(Prefix::component).collect()
}

fn inline(section: &mut Section<'_>, layout: Option<&Layout>, forced: bool) -> Inline {
    let inline = match section.texts("inline") {
        None if matches!(layout, Some(Layout::Partitioned(_))) => Inline::All,
        None => Inline::None,
        Some(texts) => match texts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["none"] => Inline::None,
            ["all"] => Inline::All,
            _ => Inline::Below(prefixes(section, "inline", texts)),
        },
    };
    if layout != Some(&Layout::Teleport) || forced {
        return inline;
    }
    let why = "unless force_secrets is true: whoever reads the log would read them too";
    match &inline {
        Inline::None => {}
        Inline::All => section.fault(
            "inline",
            format!("Teleport keeps secrets in this table: name the prefixes whose values are due, {why}"),
        ),
        Inline::Below(prefixes) => {
            let holds = |secret: &&&str| {
                let (key, secret) = (Key::from(**secret), Prefix::component(**secret));
                prefixes
                    .iter()
                    .any(|prefix| prefix.contains(&key) || secret.contains(prefix.key()))
            };
            let found: Vec<&str> = SECRETS.iter().filter(holds).copied().collect();
            if !found.is_empty() {
                let found = found.join(", ");
                section.fault(
                    "inline",
                    format!("Teleport keeps secrets below {found}: leave them out, {why}"),
                );
            }
        }
    }
    inline
}

/// The section as the document holds it, for the schema.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "WatchConfig", deny_unknown_fields)]
#[allow(dead_code)] // Only its shape is used.
pub(super) struct Document {
    /// The state table.
    table: String,
    /// Its layout.
    layout: LayoutName,
    /// The namespace of a partitioned table: default, if none.
    namespace: Option<String>,
    /// The log.
    log: LogDocument,
    /// Where the table's changes come from: its stream (default), or Kinesis Data Streams for DynamoDB. Only when the log
    /// is made.
    source: Option<SourceName>,
    /// Buckets of the log, 1 to 64: 4, if none. Only when it is made.
    #[schemars(range(min = 1, max = 64))]
    buckets: Option<u8>,
    /// Which values the log holds: none (default with layout teleport), all (default with layout partitioned), or a list
    /// of prefixes: those of these keys and of what lies below them.
    inline: Option<Texts>,
    /// Allow values that are Teleport's secrets.
    force_secrets: Option<bool>,
    /// Which keys the log covers: these and what lies below them; all, if none. Only when it is made. Keys can tell a secret too, such as
    /// those below /tokens.
    prefixes: Option<Texts>,
    /// Region of both tables, if not that of aws.
    region: Option<String>,
    /// Endpoint of both tables, if not that of aws.
    endpoint: Option<String>,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[allow(dead_code)] // Only its shape is used.
pub(super) enum LayoutName {
    /// Teleport's own.
    Teleport,
    /// Ours.
    Partitioned,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[allow(dead_code)] // Only its shape is used.
enum SourceName {
    /// The table's own stream.
    Stream,
    /// Kinesis Data Streams for DynamoDB.
    Kinesis,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "WatchLogConfig", deny_unknown_fields)]
#[allow(dead_code)] // Only its shape is used.
struct LogDocument {
    /// The table of logs.
    table: String,
    /// The log's name in it; if none, the state table's, or TABLE.NAMESPACE of a partitioned one.
    name: Option<String>,
}

/// A list, or one text with commas between.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)] // Only its shape is used.
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}
