//! What the settings of a bucket must be for what is kept in it.

use super::tables::is_key;
use super::{Holds, Place};
use crate::table::{Difference, Severity};

/// Whether a bucket keeps what is overwritten or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versioning {
    Never,
    On,
    /// Once on, and now off: the only way back there is.
    Suspended,
}

/// A rule that is enabled, as far as it takes current objects away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) id: String,
    /// Objects whose key begins so; all if empty.
    pub(super) prefix: String,
    /// Whether it is for objects with some tag, which ours have not.
    pub(super) tagged: bool,
    pub(super) expires: bool,
    /// The class of storage it moves objects to that must be brought back before they can be read.
    pub(super) archives: Option<String>,
}

/// How a bucket encrypts what does not say how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encryption {
    pub(super) algorithm: String,
    pub(super) key: Option<String>,
}

pub(super) fn versioning(found: Versioning, holds: Holds) -> Option<Difference> {
    let difference = |severity, found| Difference::new(severity, "versioning", found);
    match (holds, found) {
        (Holds::Spool, Versioning::Never) | (Holds::Events | Holds::Failures, Versioning::On) => None,
        (Holds::Spool, Versioning::On) => Some(
            difference(Severity::Degraded, "versions are kept; must not be")
                .so("what was delivered and deleted stays, is paid for, and is readable for whoever may read versions; the marks of what \
                     was deleted make every look at the spool slower")
                .remedy("drain it, and spool to a bucket that never kept versions"),
        ),
        (Holds::Spool, Versioning::Suspended) => Some(
            difference(Severity::Advice, "versions are not kept any more, but were")
                .so("older versions may still be readable, and each deletion leaves a mark that makes every look at the spool slower")
                .remedy("spool to a bucket that never kept versions, or let a lifecycle rule remove old versions and marks"),
        ),
        (Holds::Events | Holds::Failures, _) => Some(
            difference(Severity::Advice, "versions are not kept")
                .so("what is deleted or overwritten by mistake is lost")
                .remedy("enable versioning; a lifecycle rule can remove old versions"),
        ),
    }
}

/// Rules that take away what waits at a place, or put it out of reach. Versions that are not current, and uploads that were
/// never finished, are not waiting.
pub(super) fn lifecycle(rules: &[Rule], place: &Place) -> Vec<Difference> {
    let what = match place.holds {
        Holds::Spool => {
            "records that wait for a sink are deleted before they are delivered: they are lost to it"
        }
        Holds::Failures => {
            "what Lambda gave up, or the quarantine holds, is deleted before anybody brings it back: it is lost to the sinks"
        }
        Holds::Events => return Vec::new(),
    };
    let at = |rule: &&Rule| !rule.tagged && overlaps(&rule.prefix, &place.location.prefix);
    let mut all = Vec::new();
    for rule in rules.iter().filter(at) {
        if rule.expires {
            let found = format!("lifecycle rule {} deletes objects there", rule.id);
            all.push(
                Difference::new(Severity::Broken, "expiration", found)
                    .so(what)
                    .remedy("take the rule's expiration away, or keep it to other prefixes"),
            );
        }
        if let Some(class) = &rule.archives {
            let found = format!("lifecycle rule {} moves objects there to {class}", rule.id);
            all.push(
                Difference::new(Severity::Degraded, "archive", found)
                    .so("what it moved cannot be read until somebody restores it: nothing behind it is delivered")
                    .remedy("take the rule's transition away, or keep it to other prefixes"),
            );
        }
    }
    all
}

/// Whether objects below `place` may begin with `prefix`.
fn overlaps(prefix: &str, place: &str) -> bool {
    if place.is_empty() {
        return true;
    }
    let below = format!("{place}/");
    below.starts_with(prefix) || prefix.starts_with(&below)
}

/// `blocked` tells of each of the four ways of making a bucket public whether it is blocked.
pub(super) fn public_access(blocked: [bool; 4]) -> Option<Difference> {
    let open = blocked.iter().filter(|blocked| !**blocked).count();
    let difference = || {
        Difference::new(
            Severity::Degraded,
            "public-access",
            format!("{open} of 4 ways of making it public are open"),
        )
        .so("one policy or ACL set by mistake makes it readable by anybody, unless the account as a whole forbids that")
        .remedy("block all public access (`aws s3api put-public-access-block`)")
    };
    (open > 0).then(difference)
}

/// Objects that Lambda or a person puts there are encrypted as the bucket says; ours name their key, if they have one.
pub(super) fn encryption(found: Option<&Encryption>, place: &Place) -> Option<Difference> {
    let difference = |found: String| Difference::new(Severity::Degraded, "encryption", found);
    let Some(found) = found else {
        return Some(
            difference("it does not encrypt by default".to_owned())
                .so("what is written there without a word on encryption lies in plain for whoever gets at the storage")
                .remedy("set default encryption (`aws s3api put-bucket-encryption`)"),
        );
    };
    let wanted = place.location.sse_kms_key.as_deref()?;
    // Without a key, KMS's own for S3 is meant.
    let same = found.algorithm.starts_with("aws:kms")
        && found.key.as_deref().is_some_and(|found| is_key(wanted, found));
    if same || place.holds != Holds::Failures {
        return None;
    }
    let by = found.key.as_deref().unwrap_or(&found.algorithm);
    Some(
        difference(format!("it encrypts with {by} by default; must be with {wanted}"))
            .so("batches that Lambda gives up are readable for whoever may read the bucket, without that key")
            .remedy("set default encryption to that key (`aws s3api put-bucket-encryption`)"),
    )
}

pub(super) fn tls(policy: Option<&str>, bucket: &str) -> Option<Difference> {
    if policy.is_some_and(|policy| super::policy::refuses_plain(policy, bucket)) {
        return None;
    }
    let difference = Difference::new(
        Severity::Degraded,
        "tls",
        "no policy refuses requests without TLS",
    )
    .so("a client that is set up to use plain HTTP has what it reads and writes seen, and changed, by whoever is on its way")
    .remedy("deny s3:* where aws:SecureTransport is false, as the deployment template does");
    Some(difference)
}

pub(super) fn missing() -> Difference {
    Difference::new(Severity::Broken, "bucket", "there is no such bucket")
        .so("nothing can be written there or read from there; what it held is gone")
        .remedy("check its name and region; deploy it again")
}
