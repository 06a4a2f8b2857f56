//! Everything but keys and indexes: status, stream, time to live, recovery and protection.

use aws_sdk_dynamodb::types::{StreamViewType, TableStatus};

use super::super::{Kind, Live, Recovery, Schema, Ttl};
use super::{Difference, Severity};

pub(super) fn verify(schema: &Schema, live: &Live) -> Vec<Difference> {
    [
        status(live),
        stream(schema, live),
        ttl(schema, live),
        recovery(schema, live),
        protection(live),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn status(live: &Live) -> Option<Difference> {
    let of = |severity| {
        Difference::new(
            severity,
            "status",
            format!("the table is {}", live.status.as_str()),
        )
    };
    let difference = match live.status {
        TableStatus::Active => return None,
        TableStatus::Updating => of(Severity::Note)
            .so("it serves reads and writes; another change is refused until this one ends")
            .remedy("wait before `tidewatch table apply`"),
        TableStatus::Creating => of(Severity::Broken)
            .so("it serves nothing yet")
            .remedy("wait until it is ACTIVE and verify again"),
        TableStatus::InaccessibleEncryptionCredentials => of(Severity::Broken)
            .so("every read and write fails, and after seven days DynamoDB archives the table")
            .remedy("enable its KMS key, and allow DynamoDB to use it, at once"),
        _ => of(Severity::Broken)
            .so("every read and write fails")
            .remedy("see the table's page in the DynamoDB console; restore a backup if it is gone"),
    };
    Some(difference)
}

const NEW_STREAM: &str = "a stream's view cannot be edited: stop the readers when they have caught up, disable the \
     stream, enable it with NEW_AND_OLD_IMAGES, and give its new ARN to the event source mapping; what is written in \
     between is in no stream";

fn stream(schema: &Schema, live: &Live) -> Option<Difference> {
    if !schema.stream {
        live.stream.as_ref()?;
        let difference = Difference::new(
            Severity::Note,
            "other-stream",
            "a stream, which such a table need not have",
        )
        .so("nothing: it is free until something reads it")
        .remedy("keep it if something of yours reads it");
        return Some(difference);
    }
    let Some(stream) = &live.stream else {
        let consequence = match schema.kind {
            Kind::State => {
                "no watcher sees a change and nothing is forwarded; Teleport enables one (NEW_IMAGE) when it starts"
            }
            Kind::Partitioned | Kind::WatchLog => {
                "no watcher sees a change. What is written before it is enabled is in no stream"
            }
            Kind::Audit => {
                "no event is forwarded; Teleport never enables it. What is written before it is enabled is in no stream"
            }
        };
        let difference = Difference::new(Severity::Broken, "stream", "no stream")
            .so(consequence)
            .remedy("run `tidewatch table apply`");
        return Some(difference);
    };
    let found = format!("the stream's view is {}", stream.view.as_str());
    let difference = match stream.view {
        StreamViewType::NewAndOldImages => return None,
        StreamViewType::NewImage => Difference::new(Severity::Note, "stream-view", found)
            .so("what was deleted, and what an update replaced, is not in the stream: a removal tells its key only")
            .remedy(format!("nothing, if that is enough (Teleport's own choice); otherwise {NEW_STREAM}")),
        _ => Difference::new(Severity::Broken, "stream-view", found)
            .so("records carry no new image: no event can be forwarded, and watchers see changes without a value")
            .remedy(NEW_STREAM),
    };
    Some(difference)
}

fn ttl(schema: &Schema, live: &Live) -> Option<Difference> {
    let Some(must) = schema.ttl else {
        return ttl_unwanted(live);
    };
    match &live.ttl {
        Ttl::Unknown => None,
        Ttl::On(attribute) if attribute == must => None,
        Ttl::Off => {
            let off = format!("time to live is off; must be on for {must}");
            let difference = Difference::new(Severity::Degraded, "ttl", off)
                .so("expired items stay, are paid for and are read over; no watcher is told that they expired")
                .remedy("run `tidewatch table apply`");
            Some(difference)
        }
        Ttl::On(attribute) => Some(ttl_attribute(schema, must, attribute)),
    }
}

fn ttl_unwanted(live: &Live) -> Option<Difference> {
    let Ttl::On(attribute) = &live.ttl else {
        return None;
    };
    let found = format!("time to live is on for {attribute}; must be off");
    let difference = Difference::new(Severity::Degraded, "ttl-attribute", found)
        .so("if a segment has that attribute it may be deleted, the newest of a bucket too: numbers would start again, and \
             watchers take what follows for what they have seen")
        .remedy("disable it; `tidewatch watch-log compact` deletes what is old");
    Some(difference)
}

fn ttl_attribute(schema: &Schema, must: &str, attribute: &str) -> Difference {
    let remedy = format!(
        "disable it at once, and enable it for {must} when DynamoDB allows that (up to an hour later)"
    );
    let found = format!("time to live is on for {attribute}; must be {must}");
    if Some(attribute) == schema.written {
        return Difference::new(Severity::Broken, "ttl-attribute", found)
            .so(format!(
                "DynamoDB deletes live items: {attribute} is when they were written"
            ))
            .remedy(remedy);
    }
    let consequence = match schema.kind {
        Kind::Partitioned | Kind::WatchLog => "expired items stay until a sweep deletes them",
        Kind::Audit | Kind::State => {
            "expired items stay; Teleport does not notice, it looks only at whether time to live is on"
        }
    };
    Difference::new(Severity::Degraded, "ttl-attribute", found)
        .so(consequence)
        .remedy(remedy)
}

fn recovery(schema: &Schema, live: &Live) -> Option<Difference> {
    if !schema.recovery || live.recovery != Recovery::Off {
        return None;
    }
    let difference = Difference::new(Severity::Advice, "recovery", "point-in-time recovery is off")
        .so("what is deleted or overwritten by mistake is lost")
        .remedy("run `tidewatch table apply`; it is paid for by the size of the table");
    Some(difference)
}

fn protection(live: &Live) -> Option<Difference> {
    if live.protection {
        return None;
    }
    let difference = Difference::new(
        Severity::Advice,
        "deletion-protection",
        "deletion protection is off",
    )
    .so("one DeleteTable removes everything")
    .remedy("run `tidewatch table apply`; it is free");
    Some(difference)
}
