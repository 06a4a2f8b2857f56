//! The plan: what a run takes in, and what its outputs are called.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{LakeError, Limits};
use crate::clock::Clock;
use crate::forward::sinks::lake::STAGING;
use crate::objects::{Objects, PAGE, Tag};
use crate::random::Random;

/// The one name of a plan.
pub(super) const PLAN: &str = "_lake/plan.json";

/// How a plan is to be carried out. One that another version of the program has made in another way is left alone.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    version: u32,
    /// A UUID that names every output; no two plans have the same.
    pub(super) id: String,
    /// When it was made, in milliseconds since 1970: when a line arrived that does not say so itself.
    planned: i64,
    /// Names of staged objects.
    pub(super) inputs: Vec<String>,
}

/// What staging holds that a plan would take, and what no plan takes.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) names: Vec<String>,
    pub(super) too_large: u64,
}

impl Plan {
    /// The plan that there is. One GET.
    pub(super) async fn find(objects: &Objects) -> Result<Option<(Self, Tag)>, LakeError> {
        let Some(object) = objects.get(PLAN).await? else {
            return Ok(None);
        };
        let plan: Self = serde_json::from_slice(&object.body)
            .ok()
            .filter(|plan: &Self| plan.version == VERSION && Uuid::try_parse(&plan.id).is_ok())
            .ok_or_else(|| LakeError::Plan(objects.place(PLAN)))?;
        Ok(Some((plan, object.tag)))
    }

    /// Plans what is staged. The id sorts by time, as names of Teleport's own do.
    pub(super) fn new(inputs: Vec<String>, clock: &Clock, random: &Random) -> Self {
        let now = clock.now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut bytes = [0; 10];
        for (to, from) in bytes.iter_mut().zip(random.uuid().as_bytes().iter().rev()) {
            *to = *from;
        }
        let millis = u64::try_from(since.as_millis()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid();
        Self {
            version: VERSION,
            id: id.to_string(),
            planned: i64::try_from(millis).unwrap_or(i64::MAX),
            inputs,
        }
    }

    /// When it was made.
    pub(super) fn planned(&self) -> OffsetDateTime {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.planned) * 1_000_000);
        at.unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Writes the plan, unless there is one. One PUT.
    pub(super) async fn create(&self, objects: &Objects) -> Result<bool, LakeError> {
        let body = serde_json::to_vec(self).map_err(|error| LakeError::Encode(error.to_string()))?;
        Ok(objects.create(PLAN, body).await?)
    }
}

/// The first of what is staged, by name, as much as a plan may take. One LIST for 1,000 objects.
pub(super) async fn staged(objects: &Objects, limits: Limits) -> Result<Staged, LakeError> {
    let mut staged = Staged::default();
    let mut bytes = 0;
    let mut after = None;
    loop {
        let page = objects.list(STAGING, after.as_deref(), PAGE).await?;
        for object in page.objects {
            after = Some(object.name.clone());
            if object.size > limits.bytes {
                staged.too_large += 1;
            } else if staged.names.len() >= limits.inputs || bytes + object.size > limits.bytes {
                return Ok(staged);
            } else {
                bytes += object.size;
                staged.names.push(object.name);
            }
        }
        if !page.more {
            return Ok(staged);
        }
    }
}
