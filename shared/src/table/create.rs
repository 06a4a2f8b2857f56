//! Creating a table.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProvisionedThroughput, SseSpecification, SseType, StreamSpecification, TableStatus, Tag,
};

use super::tables::{Sent, incomplete};
use super::{
    Attribute, Billing, Error, Live, Progress, Projected, Schema, ServiceError, Spec, Step, Tables, Warning,
};

/// A table that was created and is ACTIVE, its index too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its ARN.
    pub arn: Option<String>,
    /// Its stream's ARN, which an event source mapping names; none if its kind has no stream.
    pub stream_arn: Option<String>,
    /// What the engine could not do.
    pub warnings: Vec<Warning>,
}

/// A table that is there, whoever created it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The table as it is; not verified.
    pub live: Live,
    /// Whether this call created it.
    pub created: bool,
}

impl Tables {
    /// Creates the table of `spec` if there is none, and reads what it is. One that is there is not changed, nor
    /// compared with `spec`; if it is being created, its creation is waited for.
    ///
    /// Requests: those of [`Tables::read`] and one DescribeTable; if it is missing also those of [`Tables::create`].
    ///
    /// Cancelling stops the work between requests; what was sent stays.
    ///
    /// # Errors
    /// Those of [`Tables::create`] but [`Error::Exists`], and those of [`Tables::read`].
    pub async fn ensure(&self, spec: &Spec, progress: Progress<'_>) -> Result<Ensured, Error> {
        let table = spec.name();
        let status = self.describe(table).await?.map(|found| found.table_status);
        let created = match status {
            None => match self.create(spec, progress).await {
                Ok(_) => true,
                // Somebody else was faster.
                Err(Error::Exists { .. }) => {
                    self.wait_active(table, progress).await?;
                    false
                }
                Err(error) => return Err(error),
            },
            Some(Some(TableStatus::Creating)) => {
                self.wait_active(table, progress).await?;
                false
            }
            Some(_) => false,
        };
        let live = self.read(table).await?;
        Ok(Ensured { live, created })
    }

    /// Creates a table, waits until it is ACTIVE, turns TTL on if its kind has it and, if asked, point-in-time recovery.
    ///
    /// Requests: one CreateTable, one DescribeTable a look (one if it is ACTIVE at once), one UpdateTimeToLive (not for a
    /// watch log), one UpdateContinuousBackups if recovery is asked for.
    ///
    /// Cancelling stops the work between requests; what was sent stays, and [`Tables::apply`] does the rest.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is such a table, which is left alone; [`Error::Request`] if nothing was created;
    /// [`Error::Unfinished`] after that.
    pub async fn create(&self, spec: &Spec, progress: Progress<'_>) -> Result<Created, Error> {
        progress(&Step::Sending("CreateTable"));
        let table = spec.name();
        let request = request(self.client.create_table(), spec)
            .map_err(|error| incomplete("CreateTable", table, &error))?;
        if let Err(error) = request.send().await {
            let table = table.to_owned();
            return Err(match ServiceError::new(&error) {
                source if source.is("ResourceInUseException") => Error::Exists {
                    table,
                    kind: spec.kind(),
                },
                source => Error::Request {
                    operation: "CreateTable",
                    table,
                    source,
                },
            });
        }
        let unfinished = |done: &str, source| Error::Unfinished {
            table: table.to_owned(),
            kind: spec.kind(),
            done: done.to_owned(),
            source: Box::new(source),
        };
        let described = self
            .wait_active(table, progress)
            .await
            .map_err(|error| unfinished("CreateTable", error))?;
        let mut created = Created {
            arn: described.table_arn,
            stream_arn: described.latest_stream_arn,
            warnings: Vec::new(),
        };
        if let Some(attribute) = spec.schema().ttl {
            let ttl = self.enable_ttl(table, attribute, progress).await;
            created.note(ttl.map_err(|error| unfinished("CreateTable", error))?);
        }
        if spec.recovery() {
            let recovery = self.enable_recovery(table, progress).await;
            let done = if spec.schema().ttl.is_some() {
                "CreateTable, UpdateTimeToLive"
            } else {
                "CreateTable"
            };
            created.note(recovery.map_err(|error| unfinished(done, error))?);
        }
        Ok(created)
    }
}

impl Created {
    fn note(&mut self, sent: Sent) {
        if let Sent::Lacking(warning) = sent {
            self.warnings.push(warning);
        }
    }
}

fn request(request: CreateTableFluentBuilder, spec: &Spec) -> Result<CreateTableFluentBuilder, BuildError> {
    let schema = spec.schema();
    let stream = schema.stream.then(|| {
        StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(Schema::STREAM_VIEW)
            .build()
    });
    let throughput = throughput(spec.billing())?;
    let mode = if throughput.is_some() {
        BillingMode::Provisioned
    } else {
        BillingMode::PayPerRequest
    };
    let mut request = request
        .table_name(spec.name())
        .set_attribute_definitions(Some(definitions(schema.attributes())?))
        .set_key_schema(Some(keys(&schema.hash, &schema.range)?))
        .billing_mode(mode)
        .set_provisioned_throughput(throughput.clone())
        .set_stream_specification(stream.transpose()?)
        .set_sse_specification(encryption(spec))
        .deletion_protection_enabled(spec.protection());
    if let Some(index) = &schema.index {
        let index = GlobalSecondaryIndex::builder()
            .index_name(index.name)
            .set_key_schema(Some(keys(&index.hash, &index.range)?))
            .projection(projection(index.projection))
            .set_provisioned_throughput(throughput)
            .build()?;
        request = request.global_secondary_indexes(index);
    }
    for (key, value) in spec.tags() {
        request = request.tags(Tag::builder().key(key).value(value).build()?);
    }
    Ok(request)
}

pub(super) fn definitions<'a>(
    attributes: impl IntoIterator<Item = &'a Attribute>,
) -> Result<Vec<AttributeDefinition>, BuildError> {
    let definition = |attribute: &Attribute| {
        AttributeDefinition::builder()
            .attribute_name(attribute.name)
            .attribute_type(attribute.scalar.clone())
            .build()
    };
    attributes.into_iter().map(definition).collect()
}

pub(super) fn keys(hash: &Attribute, range: &Attribute) -> Result<Vec<KeySchemaElement>, BuildError> {
    let key = |attribute: &Attribute, role| {
        KeySchemaElement::builder()
            .attribute_name(attribute.name)
            .key_type(role)
            .build()
    };
    Ok(vec![key(hash, KeyType::Hash)?, key(range, KeyType::Range)?])
}

pub(super) fn projection(projected: Projected) -> Projection {
    let names = projected.included().iter().map(|name| (*name).to_owned());
    Projection::builder()
        .projection_type(projected.projection_type())
        .set_non_key_attributes(Some(names.collect()).filter(|names: &Vec<_>| !names.is_empty()))
        .build()
}

pub(super) fn throughput(billing: Billing) -> Result<Option<ProvisionedThroughput>, BuildError> {
    match billing {
        Billing::OnDemand => Ok(None),
        Billing::Provisioned { rcu, wcu } => ProvisionedThroughput::builder()
            .read_capacity_units(rcu.into())
            .write_capacity_units(wcu.into())
            .build()
            .map(Some),
    }
}

/// None leaves DynamoDB's own key, which is free and always on.
fn encryption(spec: &Spec) -> Option<SseSpecification> {
    spec.kms_key()?;
    let key = spec.kms_key_id().map(str::to_owned);
    Some(
        SseSpecification::builder()
            .enabled(true)
            .sse_type(SseType::Kms)
            .set_kms_master_key_id(key)
            .build(),
    )
}
