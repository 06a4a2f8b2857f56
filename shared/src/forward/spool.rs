//! Where records wait for a sink that is down: one queue a sink, of immutable objects
//! `<sink>/<first SequenceNumber, 40 digits>-<content hash>.ndjson`, raw stream records, one a line.
//!
//! While anything of a sink waits, everything for it follows, so that nothing is overtaken; the task
//! [`drain`](super::drain) takes the lowest name first and is the only one to call the sink meanwhile. A name comes from
//! the content, so whoever writes the same rest again changes nothing, and another rest has another name.
//!
//! The place must keep no versions and must not expire objects.

use super::plant::Plant;
use crate::objects::{self, Listed, Objects, ObjectsError, PAGE};

/// The queues of all sinks.
#[derive(Debug)]
pub struct Spool {
    objects: Objects,
    #[cfg(test)]
    plant: Option<Plant>,
    #[cfg(test)]
    asked: std::sync::Mutex<std::collections::HashMap<String, bool>>,
}

/// Written at start and nowhere else; no sink has a dot in its name.
const PROBE: &str = ".probe";

impl Spool {
    /// The queues that stand here.
    pub fn new(objects: Objects) -> Self {
        Self {
            objects,
            #[cfg(test)]
            plant: None,
            #[cfg(test)]
            asked: std::sync::Mutex::default(),
        }
    }

    /// The same with a mistake in it.
    #[cfg(all(test, feature = "dynamodb", feature = "s3"))]
    pub(crate) fn planted(self, plant: Option<Plant>) -> Self {
        Self { plant, ..self }
    }

    #[cfg(test)]
    fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    const fn has(&self, _: Plant) -> bool {
        false
    }

    /// Shows that objects can be written and listed. One PUT and one LIST.
    pub(crate) async fn probe(&self) -> Result<(), ObjectsError> {
        self.objects.replace(PROBE, Vec::new()).await?;
        self.objects.list("", None, 1).await.map(drop)
    }

    /// Whether anything waits for a sink. One LIST; never remembered, since another environment or the drain may have
    /// changed it since.
    pub(crate) async fn holds(&self, sink: &str) -> Result<bool, ObjectsError> {
        #[cfg(test)]
        if self.has(Plant::AskedOnce)
            && let Some(held) = self.asked.lock().ok().and_then(|asked| asked.get(sink).copied())
        {
            return Ok(held);
        }
        let held = self.lowest(sink).await?.is_some();
        #[cfg(test)]
        if let Ok(mut asked) = self.asked.lock() {
            asked.insert(sink.to_owned(), held);
        }
        Ok(held)
    }

    /// The object of a sink whose turn it is. One LIST.
    pub(super) async fn lowest(&self, sink: &str) -> Result<Option<Listed>, ObjectsError> {
        let page = self.objects.list(&format!("{sink}/"), None, 1).await?;
        Ok(page.objects.into_iter().next())
    }

    /// Appends raw records to a sink's queue, as one object. One PUT.
    pub(crate) async fn append(&self, sink: &str, object: &Parked) -> Result<(), ObjectsError> {
        let body = object.body.clone();
        if self.has(Plant::NamedByNumber) || self.has(Plant::Overwritten) {
            let number = object.name.split('-').next().unwrap_or_default();
            let name = format!("{sink}/{number}.ndjson");
            return if self.has(Plant::Overwritten) {
                self.objects.replace(&name, body).await
            } else {
                self.objects.put(&name, body).await
            };
        }
        self.objects.put(&format!("{sink}/{}", object.name), body).await
    }

    /// The raw records of an object; none if it is gone. One GET.
    pub(super) async fn read(&self, name: &str) -> Result<Option<String>, ObjectsError> {
        let Some(object) = self.objects.get(name).await? else {
            return Ok(None);
        };
        let text = String::from_utf8(object.body).map_err(|_| ObjectsError {
            place: self.objects.place(name),
            reason: "is not UTF-8; nothing of ours writes that".to_owned(),
        })?;
        Ok(Some(text))
    }

    /// Removes this object, all of whose records are delivered. One DELETE.
    pub(super) async fn remove(&self, name: &str) -> Result<(), ObjectsError> {
        if self.has(Plant::DeletedByRange) {
            let sink = name.split('/').next().unwrap_or_default();
            let page = self.objects.list(&format!("{sink}/"), None, PAGE).await?;
            // As a range of numbers would have it: whatever begins where this one does, too.
            let number = name.split('-').next().unwrap_or_default();
            for object in page.objects {
                if object.name.as_str() <= name || object.name.starts_with(number) {
                    self.objects.delete(&object.name).await?;
                }
            }
        }
        self.objects.delete(name).await
    }

    /// Sinks for which anything waits. One LIST a sink and one more.
    pub(super) async fn sinks(&self) -> Result<Vec<String>, ObjectsError> {
        let (mut sinks, mut after) = (Vec::new(), None);
        while sinks.len() < PAGE {
            let page = self.objects.list("", after.as_deref(), 1).await?;
            let Some(object) = page.objects.into_iter().next() else {
                break;
            };
            // Names that begin with `-` stand before the probe.
            after = Some(match object.name.split_once('/') {
                Some((sink, _)) => {
                    sinks.push(sink.to_owned());
                    // The first name behind all that begin with `<sink>/`.
                    format!("{sink}0")
                }
                None => object.name,
            });
        }
        Ok(sinks)
    }

    /// A page of a sink's objects. One LIST.
    pub(super) async fn page(&self, sink: &str, after: Option<&str>) -> Result<objects::Page, ObjectsError> {
        self.objects.list(&format!("{sink}/"), after, PAGE).await
    }
}

/// Records on their way to a spool.
#[derive(Debug)]
pub(crate) struct Parked {
    name: String,
    body: Vec<u8>,
}

impl Parked {
    /// Of raw records and the `SequenceNumber` of the first.
    pub(crate) fn new<'a>(first: &str, raws: impl Iterator<Item = &'a str>) -> Self {
        let mut body = Vec::new();
        for raw in raws {
            // JSON has line ends only between its tokens.
            body.extend(
                raw.bytes()
                    .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }),
            );
            body.push(b'\n');
        }
        let name = objects::name(first, &body, "ndjson");
        Self { name, body }
    }
}
