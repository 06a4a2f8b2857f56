//! Opening a table: created if missing, verified if not, changed only where the configuration says so.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::attempts::Attempts;
use super::backend::{Backend, Replication};
use super::fault::{Attributes, Fault};
use super::{Config, Error, ErrorKind, Key, Layout, Partitioned};
use crate::clock::Clock;
use crate::random::Random;
use crate::table::{self, ChangeKind, Live, Regions, Tables, plan, verify};

/// What makes a table unusable, by the codes of [`table::Difference`]. Everything else is said in a warning.
const FATAL: [&str; 5] = ["layout", "keys", "key-type", "old-schema", "ttl-attribute"];
/// The version of the layout record.
const VERSION: &str = "1";

impl Backend {
    /// Opens the backend that `config` describes, over the AWS default chain. See [`with_client`](Self::with_client).
    /// Registers the capacity of a provisioned table if the configuration asks for it (feature `autoscaling`).
    ///
    /// # Errors
    /// [`BadParameter`](ErrorKind::BadParameter) with every fault of the configuration, and as
    /// [`with_client`](Self::with_client).
    pub async fn new(mut config: Config) -> Result<Self, Error> {
        let wrong = |kind, table: &str, error: &dyn std::error::Error| {
            Error::new(kind, "new", table, None, error.to_string())
        };
        config
            .check_and_set_defaults()
            .map_err(|error| wrong(ErrorKind::BadParameter, &config.table_name, &error))?;
        let sdk = config
            .sdk_config()
            .await
            .map_err(|error| wrong(ErrorKind::AccessDenied, &config.table_name, &error))?;
        let (client, auto_scaling) = (Client::new(&sdk), config.auto_scaling);
        let opened = Self::open(
            &client,
            config,
            Clock::system(),
            Random::system(),
            Missing::Create,
        )
        .await;
        let (backend, live) = opened?;
        if auto_scaling {
            backend.scale(sdk, &live).await?;
        }
        Ok(backend)
    }

    #[cfg(feature = "autoscaling")]
    async fn scale(&self, sdk: aws_config::SdkConfig, live: &Live) -> Result<(), Error> {
        let mut sdk = sdk.into_builder();
        if self.config().endpoint.is_some() {
            // It is DynamoDB's, not that of this service.
            sdk.set_endpoint_url(None);
        }
        let registered = super::AutoScaling::new(&sdk.build())
            .register(self.config(), live)
            .await;
        registered.map(drop).map_err(|error| {
            Error::new(
                ErrorKind::BadParameter,
                "new",
                self.table(),
                None,
                error.to_string(),
            )
        })
    }

    #[cfg(not(feature = "autoscaling"))]
    async fn scale(&self, _: aws_config::SdkConfig, _: &Live) -> Result<(), Error> {
        tracing::warn!(
            table = self.table(),
            "auto_scaling was asked for, but this program was built without the feature `autoscaling`"
        );
        Ok(())
    }

    /// Opens the backend that `config` describes with this client (its endpoint, region and credentials; the SDK's
    /// retries are replaced by ours), clock and randomness.
    ///
    /// A missing table is created and waited for. An existing one is verified and not changed, but for
    /// point-in-time recovery if the configuration asks for it; what is wrong without being fatal is logged as a warning.
    /// Requests for an existing table: four to describe it; for a partitioned layout one or two more, for its record.
    ///
    /// # Errors
    /// [`WrongTable`](ErrorKind::WrongTable) if it has the keys of another layout or program, other partitions than the
    /// configuration says, or TTL on another attribute; and what any request may end with.
    pub async fn with_client(
        client: &Client,
        config: Config,
        clock: Clock,
        random: Random,
    ) -> Result<Self, Error> {
        let opened = Self::open(client, config, clock, random, Missing::Create).await;
        Ok(opened?.0)
    }

    /// As [`with_client`](Self::with_client), for those who look into tables that others made: nothing is created, and a
    /// partitioned namespace is opened with as many partitions as it was made with, whatever the configuration says.
    ///
    /// # Errors
    /// As [`with_client`](Self::with_client); [`WrongTable`](ErrorKind::WrongTable) also if there is no such table,
    /// [`NotFound`](ErrorKind::NotFound) if there is no such namespace in it.
    pub async fn existing(
        client: &Client,
        config: Config,
        clock: Clock,
        random: Random,
    ) -> Result<Self, Error> {
        let opened = Self::open(client, config, clock, random, Missing::Refuse).await;
        Ok(opened?.0)
    }

    async fn open(
        client: &Client,
        mut config: Config,
        clock: Clock,
        random: Random,
        missing: Missing,
    ) -> Result<(Self, Live), Error> {
        let name = config.table_name.clone();
        let wrong = |kind, what: String| Error::new(kind, "new", &name, None, what);
        config
            .check_and_set_defaults()
            .map_err(|error| wrong(ErrorKind::BadParameter, error.to_string()))?;
        let tables = Tables::new(client.clone(), clock.clone(), Tables::WAIT);
        let failed = |error: table::Error| wrong(kind_of(&error), error.to_string());
        let spec = config.spec().map_err(failed)?;
        let (live, created) = match missing {
            Missing::Create => {
                let ensured = tables.ensure(&spec, &|_| {}).await.map_err(failed)?;
                (ensured.live, ensured.created)
            }
            Missing::Refuse => (tables.read(&name).await.map_err(failed)?, false),
        };
        let mut fatal = Vec::new();
        for difference in verify(config.kind(), &live) {
            let text = format!(
                "{}: {}; {}",
                difference.found, difference.consequence, difference.remedy
            );
            if FATAL.contains(&difference.code) {
                fatal.push(text);
            } else if difference.severity.fails() {
                tracing::warn!(table = name, "{text}");
            }
        }
        if !fatal.is_empty() {
            return Err(wrong(ErrorKind::WrongTable, fatal.join("; ")));
        }
        if let Some(text) = other_kms_key(&config, &live) {
            tracing::warn!(table = name, "{text}");
        }
        if config.continuous_backups && !created && missing == Missing::Create {
            let plan = plan(config.kind(), &live, &[ChangeKind::Recovery]);
            if !plan.changes.is_empty() {
                tables.apply(&plan, &|_| {}).await.map_err(failed)?;
            }
        }
        let replication = match live.regions {
            Regions::One => Replication::Alone,
            Regions::Eventual if config.single_writer_region => Replication::Alone,
            Regions::Eventual => Replication::Eventual,
            Regions::Strong => Replication::Strong,
        };
        let backend = Self::build(client, config, clock, random, replication);
        let Layout::Partitioned(spread) = backend.layout() else {
            return Ok((backend, live));
        };
        let made = backend.agree_on(spread, missing).await?;
        if made == *spread {
            return Ok((backend, live));
        }
        Ok((backend.with_layout(Layout::Partitioned(made)), live))
    }

    /// The namespace as its layout record says. One that is to be created gets a record if there is none, and must be
    /// as it was asked for.
    async fn agree_on(&self, spread: &Partitioned, missing: Missing) -> Result<Partitioned, Error> {
        let key = Key::from("layout");
        let mut attempts = Attempts::new(self, "new", Some(&key));
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let primary = Attributes::from([
            ("Part".to_owned(), text(spread.namespace())),
            ("Key".to_owned(), text("layout")),
        ]);
        let mut record = primary.clone();
        record.extend([
            ("Version".to_owned(), text(VERSION)),
            ("Partitions".to_owned(), text(&spread.partitions().to_string())),
            ("Hash".to_owned(), text(Partitioned::HASH)),
        ]);
        loop {
            let read = self
                .client()
                .get_item()
                .table_name(self.table())
                .set_key(Some(primary.clone()))
                .consistent_read(true);
            let write = self
                .client()
                .put_item()
                .table_name(self.table())
                .set_item(Some(record.clone()))
                .condition_expression("attribute_not_exists(Part)");
            let record = record.clone();
            let alone = self.conditions_hold(&attempts);
            let request = async move {
                let found = read.send().await.map_err(Fault::of)?.item;
                match found {
                    Some(found) => Ok(found),
                    None if missing == Missing::Refuse => Err(Fault::Final(
                        ErrorKind::NotFound,
                        format!("there is no namespace \"{}\" in this table", spread.namespace()),
                    )),
                    None if alone.is_err() => Err(Fault::Final(
                        ErrorKind::WrongTable,
                        format!(
                            "the namespace \"{}\" is not there, and on an eventually consistent global table two \
                             regions could make it differently: make it with `single_writer_region` first",
                            spread.namespace()
                        ),
                    )),
                    // Lost or refused, the next look tells: nobody ever changes it.
                    None => match write.send().await.map_err(Fault::of) {
                        Ok(_) => Ok(record),
                        Err(Fault::Refused(_)) => {
                            Err(Fault::Contended("another wrote the layout record".to_owned()))
                        }
                        Err(fault) => Err(fault),
                    },
                }
            };
            match attempts.send(request).await {
                Ok(found) => {
                    let made = made(&found, spread);
                    return match made {
                        Ok(made) if missing == Missing::Refuse || made == *spread => Ok(made),
                        Ok(made) => Err(format!(
                            "it has {} partitions, {} were asked for",
                            made.partitions(),
                            spread.partitions()
                        )),
                        Err(what) => Err(what),
                    }
                    .map_err(|what| {
                        let what = format!(
                            "the namespace \"{}\" was made differently: {what}; open it as it was made, or dump and \
                             load it",
                            spread.namespace()
                        );
                        attempts.error(ErrorKind::WrongTable, what)
                    });
                }
                Err(fault) => attempts.again_read(&fault).await?,
            }
        }
    }

    /// Whether conditions mean anything on this table.
    pub(super) fn conditions_hold(&self, attempts: &Attempts<'_>) -> Result<(), Error> {
        match self.replication() {
            Replication::Eventual => Err(attempts.error(
                ErrorKind::WrongTable,
                "the table is an eventually consistent global one: a condition checked in one region says nothing of \
                 the others. If this region is the only one that writes, say so in the configuration",
            )),
            Replication::Alone | Replication::Strong => Ok(()),
        }
    }

    /// Whether there are transactions on this table.
    pub(super) fn transactions_hold(&self, attempts: &Attempts<'_>) -> Result<(), Error> {
        match self.replication() {
            Replication::Strong => Err(attempts.error(
                ErrorKind::WrongTable,
                "the table is a strongly consistent global one, which has no transactions",
            )),
            Replication::Alone | Replication::Eventual => Ok(()),
        }
    }
}

/// What to do where there is no table or namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Refuse,
}

/// The namespace that a layout record describes.
fn made(record: &Attributes, spread: &Partitioned) -> Result<Partitioned, String> {
    let of = |name: &str| {
        record
            .get(name)
            .and_then(|value| value.as_s().ok())
            .map_or("", String::as_str)
    };
    let (version, hash) = (of("Version"), of("Hash"));
    if version != VERSION || hash != Partitioned::HASH {
        return Err(format!(
            "version \"{version}\" and hash \"{hash}\" are not known to this program"
        ));
    }
    let partitions = of("Partitions")
        .parse()
        .map_err(|_| "its number of partitions is no number".to_owned())?;
    spread
        .clone()
        .with_partitions(partitions)
        .map_err(|error| error.to_string())
}

/// What to say of a table that is encrypted with another key than asked for.
fn other_kms_key(config: &Config, live: &Live) -> Option<String> {
    let wanted = config.kms_key.as_deref()?;
    let Some(arn) = live.kms_key_arn.as_deref() else {
        return Some(format!(
            "the table is encrypted with a key that DynamoDB owns, not with {wanted}; it is not changed"
        ));
    };
    let same = arn == wanted || arn.rsplit('/').next() == Some(wanted);
    if wanted.contains("alias/") {
        Some(format!(
            "cannot compare: the table is encrypted with {arn}, and whether that is {wanted} only KMS could say"
        ))
    } else if same {
        None
    } else {
        Some(format!(
            "the table is encrypted with {arn}, not with {wanted}; it is not changed"
        ))
    }
}

fn kind_of(error: &table::Error) -> ErrorKind {
    match error {
        table::Error::Invalid { .. } => ErrorKind::BadParameter,
        table::Error::Request { source, .. } => match source.code() {
            Some("AccessDeniedException" | "UnrecognizedClientException" | "ExpiredTokenException") => {
                ErrorKind::AccessDenied
            }
            Some("ThrottlingException" | "LimitExceededException") => ErrorKind::Throttled,
            Some(_) => ErrorKind::WrongTable,
            None => ErrorKind::Unavailable,
        },
        table::Error::StillWaiting { .. } => ErrorKind::Unavailable,
        table::Error::Unfinished { source, .. } => kind_of(source),
        _ => ErrorKind::WrongTable,
    }
}
