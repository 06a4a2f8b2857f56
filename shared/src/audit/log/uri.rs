//! Where the audit log is kept, as Teleport's `audit_events_uri` names it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::config::AwsConfig;
use crate::table::{Kind, Spec};

/// A backend of the audit log by its URI.
///
/// | URI | meaning |
/// |---|---|
/// | `dynamodb://table?region=&endpoint=&use_fips_endpoint=&disable_conflict_check=` | Teleport's audit table |
/// | `file:///dir` | a file a day, `<dir>/<yyyy-mm-dd>.00:00:00.log`, and the link `events.log` to the newest |
/// | `stdout://` | a line an event |
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditUri {
    /// A table.
    Dynamodb(DynamoUri),
    /// A directory of this machine.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// A table of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DynamoUri {
    /// Its name.
    pub table: String,
    /// Its region, if not that of the configuration.
    pub region: Option<String>,
    /// Endpoint instead of AWS's.
    pub endpoint: Option<String>,
    /// Whether FIPS endpoints are used, if not as the configuration says.
    pub use_fips_endpoint: Option<bool>,
    /// An event replaces another one with the same key, as in Teleport before 2024: events are lost so.
    pub disable_conflict_check: bool,
}

impl FromStr for AuditUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const DUE: &str = "dynamodb://table, file:///dir or stdout:// is due";
        let url = Url::parse(text).map_err(|error| format!("not a URI ({error}); {DUE}"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("a URI takes no user, password or #fragment".to_owned());
        }
        match url.scheme() {
            "dynamodb" => dynamodb(text, &url).map(Self::Dynamodb),
            "file" => match url.to_file_path() {
                Ok(path) if path.parent().is_some() && url.query().is_none() => Ok(Self::File(path)),
                _ => Err("an absolute directory is due, without options: file:///dir".to_owned()),
            },
            "stdout" if matches!(text, "stdout:" | "stdout://" | "stdout:///") => Ok(Self::Stdout),
            "stdout" => Err("stdout:// takes no host, path or options".to_owned()),
            scheme => Err(format!("no audit log is kept in {scheme}://; {DUE}")),
        }
    }
}

fn dynamodb(text: &str, url: &Url) -> Result<DynamoUri, String> {
    // As it is written: a parser of URLs may take case and dots of a host for its own.
    let table = text
        .strip_prefix("dynamodb://")
        .and_then(|rest| rest.split(['?', '/']).next())
        .unwrap_or_default();
    Spec::new(Kind::Audit, table).map_err(|error| error.to_string())?;
    if !matches!(url.path(), "" | "/") {
        return Err("dynamodb://table takes no path".to_owned());
    }
    let mut uri = DynamoUri {
        table: table.to_owned(),
        ..DynamoUri::default()
    };
    for (name, value) in url.query_pairs() {
        // Nothing is Go's way to say that nothing is set.
        if value.is_empty() {
            continue;
        }
        match &*name {
            "region" => uri.region = Some(value.into_owned()),
            "endpoint" => {
                AwsConfig::check_endpoint(&value).map_err(|due| format!("option endpoint: {due}"))?;
                uri.endpoint = Some(value.into_owned());
            }
            "use_fips_endpoint" => {
                let on = value
                    .parse()
                    .map_err(|_| "option use_fips_endpoint: true or false is due");
                uri.use_fips_endpoint = Some(on?);
            }
            // Any value at all, as Teleport reads it.
            "disable_conflict_check" => uri.disable_conflict_check = true,
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(uri)
}

/// Without options: what messages call the backend.
impl fmt::Display for AuditUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamodb(uri) => write!(f, "dynamodb://{}", uri.table),
            Self::File(dir) => write!(f, "file://{}", dir.display()),
            Self::Stdout => f.write_str("stdout://"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_read_as_teleport_reads_them() {
        let uri = "dynamodb://Teleport.Audit_1?region=eu-west-1&endpoint=http://127.0.0.1:8000&use_fips_endpoint=false\
                   &disable_conflict_check=no";
        let expected = DynamoUri {
            table: "Teleport.Audit_1".to_owned(),
            region: Some("eu-west-1".to_owned()),
            endpoint: Some("http://127.0.0.1:8000".to_owned()),
            use_fips_endpoint: Some(false),
            disable_conflict_check: true,
        };
        assert_eq!(uri.parse(), Ok(AuditUri::Dynamodb(expected)));
        let bare = AuditUri::Dynamodb(DynamoUri {
            table: "audit".to_owned(),
            ..DynamoUri::default()
        });
        assert_eq!(
            "dynamodb://audit?region=&disable_conflict_check=".parse(),
            Ok(bare)
        );
        assert_eq!(
            "file:///var/lib/audit".parse(),
            Ok(AuditUri::File("/var/lib/audit".into()))
        );
        assert_eq!("stdout://".parse(), Ok(AuditUri::Stdout));
    }

    #[test]
    fn what_is_no_backend_is_refused() {
        for (uri, says) in [
            ("athena://db.table", "no audit log is kept in athena://"),
            ("dynamodb://x", "table name"),
            ("dynamodb://audit/path", "takes no path"),
            ("dynamodb://audit?regoin=x", "unknown option regoin"),
            ("dynamodb://audit?use_fips_endpoint=maybe", "true or false"),
            ("file://host/dir", "an absolute directory"),
            ("stdout://x", "takes no host"),
            ("audit", "not a URI"),
        ] {
            let error = uri.parse::<AuditUri>().unwrap_err();
            assert!(error.contains(says), "{uri}: {error}");
        }
    }
}
