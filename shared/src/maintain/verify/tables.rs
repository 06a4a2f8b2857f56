//! Tables: what `table::verify` finds, and what their [`Spec`] asks for beyond it.

use super::report::Found;
use super::{Because, NotChecked};
use crate::table::{Difference, Error, Kind, Live, Severity, Spec, Tables, verify, verify_indexed};

pub(super) async fn check(tables: &Tables, spec: &Spec, expiry_index: bool, resource: &str) -> Found {
    let (live, unread) = match tables.read_what_it_may(spec.name()).await {
        Ok(read) => read,
        Err(Error::NotFound { .. }) => {
            let mut found = Found::looked();
            found.add(resource, [missing()]);
            return found;
        }
        Err(error) => return Found::unread(NotChecked::table(resource, &error)),
    };
    let mut found = Found::looked();
    found.add(resource, judge(spec, expiry_index, &live));
    let lacking = |warning: &crate::table::Warning| NotChecked {
        resource: resource.to_owned(),
        what: warning.operation,
        because: Because::Lacking,
        reason: warning.message.clone(),
    };
    found.not_checked.extend(live.warnings.iter().map(lacking));
    found
        .not_checked
        .extend(unread.iter().map(|error| NotChecked::table(resource, error)));
    found
}

fn missing() -> Difference {
    Difference::new(Severity::Broken, "table", "there is no such table")
        .so("whatever writes it or reads it fails; if it was deleted, so is what was in it")
        .remedy("check its name, the account and the region; restore it from a backup, or create it with `tidewatch table create`")
}

/// Every way in which a table is not what it must be. `expiry_index`: one of [`Kind::State`] must have that index.
pub(super) fn judge(spec: &Spec, expiry_index: bool, live: &Live) -> Vec<Difference> {
    let mut all = match spec.kind() {
        Kind::State if expiry_index => verify_indexed(live),
        kind => verify(kind, live),
    };
    for difference in &mut all {
        // What is asked for is more than advice.
        let asked = match difference.code {
            "recovery" => spec.recovery(),
            "deletion-protection" => spec.protection(),
            _ => false,
        };
        if asked {
            difference.severity = difference.severity.max(Severity::Degraded);
        }
    }
    all.extend(encryption(spec, live));
    all
}

fn encryption(spec: &Spec, live: &Live) -> Option<Difference> {
    let wanted = spec.kms_key()?;
    let found = match &live.kms_key_arn {
        Some(found) if is_key(wanted, found) => return None,
        Some(found) => format!("encrypted with {found}; must be with {wanted}"),
        None => format!("encrypted with DynamoDB's own key; must be with {wanted}"),
    };
    let difference = Difference::new(Severity::Degraded, "encryption", found)
        .so(
            "the policy of the key that is meant to keep others out keeps nobody out: whoever may read the table reads it, \
             and disabling that key stops nobody",
        )
        .remedy("set the key again (`aws dynamodb update-table --sse-specification`); reads and writes go on meanwhile");
    Some(difference)
}

/// Whether a key by its alias, id or ARN is the one that was found. Which key an alias stands for only KMS can tell, so
/// with one any named key is taken for it.
pub(super) fn is_key(wanted: &str, found: &str) -> bool {
    let id = |key: &str| key.rsplit('/').next().map(str::to_owned);
    wanted.contains("alias/") || found.contains("alias/") || id(wanted) == id(found)
}
