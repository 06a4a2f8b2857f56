//! What the creator of a table may choose, checked before anything is sent or printed.

use std::collections::BTreeMap;

use super::{Error, Kind, Schema};

/// How reads and writes are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Billing {
    /// Per request. Teleport's default for the state table since version 15.
    #[default]
    OnDemand,
    /// Per hour of reserved capacity. The table and each index get this much, as Teleport does.
    Provisioned {
        /// Read capacity units.
        rcu: u32,
        /// Write capacity units.
        wcu: u32,
    },
}

impl Billing {
    /// Teleport's constant for both reads and writes. Its first README advised 5, which keeps the audit table, its
    /// index and the state table together within the free tier's 25.
    pub const DEFAULT_UNITS: u32 = 10;
}

/// A table to create. Built by [`Spec::new`] and its setters, so that what exists is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    kind: Kind,
    name: String,
    billing: Billing,
    kms_key: Option<String>,
    recovery: bool,
    protection: bool,
    tags: BTreeMap<String, String>,
}

impl Spec {
    /// A table billed on demand, encrypted with DynamoDB's own key, without recovery, protection or tags.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `name` is not 3 to 255 of `a-zA-Z0-9_.-`.
    pub fn new(kind: Kind, name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !(3..=255).contains(&name.len()) || !name.chars().all(allowed) {
            return Err(Error::invalid(
                "table name",
                &name,
                "use 3 to 255 letters, digits, '_', '.' or '-'",
            ));
        }
        Ok(Self {
            kind,
            name,
            billing: Billing::OnDemand,
            kms_key: None,
            recovery: false,
            protection: false,
            tags: BTreeMap::new(),
        })
    }

    /// Sets how it is paid for.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a capacity is 0.
    pub fn with_billing(mut self, billing: Billing) -> Result<Self, Error> {
        if let Billing::Provisioned { rcu, wcu } = billing
            && (rcu == 0 || wcu == 0)
        {
            return Err(Error::invalid(
                "capacity",
                &format!("{rcu}/{wcu}"),
                "use at least 1 of each",
            ));
        }
        self.billing = billing;
        Ok(self)
    }

    /// Names a KMS key: an alias (`alias/teleport`), a key id or an ARN.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is empty or has characters that none of these has.
    pub fn with_kms_key(mut self, key: impl Into<String>) -> Result<Self, Error> {
        let key = key.into();
        if !Self::is_kms_key(&key) {
            return Err(Error::invalid(
                "KMS key",
                &key,
                "use an alias (alias/NAME), a key id or an ARN",
            ));
        }
        self.kms_key = Some(key);
        Ok(self)
    }

    /// Whether `text` may name a KMS key, by its characters.
    pub(crate) fn is_kms_key(text: &str) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '-' | ':');
        !text.is_empty() && text.chars().all(allowed)
    }

    /// Turns on point-in-time recovery.
    pub fn with_recovery(mut self, on: bool) -> Self {
        self.recovery = on;
        self
    }

    /// Turns on deletion protection.
    pub fn with_protection(mut self, on: bool) -> Self {
        self.protection = on;
        self
    }

    /// Adds a tag; a repeated key replaces the earlier value.
    ///
    /// # Errors
    /// [`Error::Invalid`] beyond DynamoDB's limits: key 1 to 128 characters and not `aws:…`, value to 256, 50 tags.
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Result<Self, Error> {
        let (key, value) = (key.into(), value.into());
        if !(1..=128).contains(&key.chars().count()) || key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Error::invalid(
                "tag key",
                &key,
                "use 1 to 128 characters, not starting with 'aws:'",
            ));
        }
        if value.chars().count() > 256
            || [&key, &value]
                .iter()
                .any(|text| text.chars().any(char::is_control))
        {
            return Err(Error::invalid(
                "tag",
                &key,
                "its value may have 256 characters, none of them control",
            ));
        }
        self.tags.insert(key, value);
        if self.tags.len() > 50 {
            return Err(Error::invalid(
                "tags",
                &self.tags.len().to_string(),
                "DynamoDB allows 50",
            ));
        }
        Ok(self)
    }

    /// Which table.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What such a table must be.
    pub fn schema(&self) -> &'static Schema {
        self.kind.schema()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is paid for.
    pub fn billing(&self) -> Billing {
        self.billing
    }

    /// The named KMS key. `alias/aws/dynamodb`, AWS's own, counts as named too.
    pub fn kms_key(&self) -> Option<&str> {
        self.kms_key.as_deref()
    }

    /// The key to put into a request: DynamoDB refuses its default alias there and wants the type alone.
    pub fn kms_key_id(&self) -> Option<&str> {
        self.kms_key().filter(|key| *key != "alias/aws/dynamodb")
    }

    /// Whether point-in-time recovery is on.
    pub fn recovery(&self) -> bool {
        self.recovery
    }

    /// Whether deletion protection is on.
    pub fn protection(&self) -> bool {
        self.protection
    }

    /// Its tags, sorted by key.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }
}
