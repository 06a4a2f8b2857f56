//! The marked event.

use std::time::SystemTime;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Canary;
use crate::audit::log::{EmitError, Log};

/// Its code.
const CODE: &str = "TWC00I";

impl Canary<'_> {
    /// Emits the event of this second, and answers its uid. Whoever emits that of the same second emits the same.
    pub(super) async fn emit(&self, now: SystemTime) -> Result<String, EmitError> {
        let at = OffsetDateTime::from(now);
        let at = at.replace_nanosecond(0).unwrap_or(at);
        let time = at.format(&Rfc3339).unwrap_or_default();
        let event = json!({
            "event": Self::EVENT, "code": CODE, "sid": Self::EVENT, "ei": at.unix_timestamp(), "time": time,
        });
        let kept = self.log.with_retention(Self::RETENTION);
        let log = Log::new([kept.into()], self.log.clock().clone(), self.log.random().clone());
        log.emit(&event.to_string()).await.map(|emitted| emitted.uid)
    }
}
