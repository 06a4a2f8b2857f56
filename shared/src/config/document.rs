//! A configuration document as a tree of texts that know their place, and a reader that notes every fault.
//!
//! Documents are YAML 1.2, hence JSON too. Environment variables override single values of the tree.

use std::collections::BTreeMap;
use std::fmt;

use saphyr::{MarkedYamlOwned, ScalarStyle, YamlDataOwned, YamlLoader};
use saphyr_parser::Parser;

/// Everything that is wrong with a configuration, each with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.0))]
pub struct Faults(pub Vec<Fault>);

fn list(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
    format!(
        "the configuration has {} fault(s):\n{}",
        faults.len(),
        lines.join("\n")
    )
}

/// One thing that is wrong with a configuration. Never quotes a value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `file:line:column`, or the environment variable.
    pub place: String,
    /// Dotted path of the setting, such as `sinks.archive.uri`; empty for the document.
    pub path: String,
    /// What is wrong, and what is due instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    place: String,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Absent,
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    /// Parses a document, noting faults; `name` is what places are named after. Texts are kept as they are written:
    /// `012` stays `012`.
    pub(crate) fn parse(text: &str, name: &str, faults: &mut Vec<Fault>) -> Self {
        let empty = || Self {
            place: name.to_owned(),
            value: Value::Map(BTreeMap::new()),
        };
        let mut fault = |place: String, message: String| {
            faults.push(Fault {
                place,
                path: String::new(),
                message,
            })
        };
        let mut loader = YamlLoader::<MarkedYamlOwned>::default();
        loader.early_parse(false);
        let scanned = Parser::new_from_str(text).load(&mut loader, true);
        if let Some(error) = scanned.err().as_ref().or(loader.error()) {
            // The scanner's message names syntax, not contents.
            let marker = error.marker();
            fault(
                format!("{name}:{}:{}", marker.line(), marker.col() + 1),
                format!("not YAML: {}", error.info()),
            );
            return empty();
        }
        match loader.into_documents().as_slice() {
            [] => empty(),
            [document] => Self::convert(document, name, "", faults),
            _ => {
                fault(name.to_owned(), "holds several documents; one is due".to_owned());
                empty()
            }
        }
    }

    fn convert(node: &MarkedYamlOwned, name: &str, path: &str, faults: &mut Vec<Fault>) -> Self {
        let place = |node: &MarkedYamlOwned| {
            let start = node.span.start;
            format!("{name}:{}:{}", start.line(), start.col() + 1)
        };
        let mut fault = |node: &MarkedYamlOwned, path: &str, message: &str| {
            faults.push(Fault {
                place: place(node),
                path: path.to_owned(),
                message: message.to_owned(),
            });
        };
        let value = match &node.data {
            YamlDataOwned::Representation(text, ScalarStyle::Plain, None)
                if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") =>
            {
                Value::Absent
            }
            YamlDataOwned::Representation(text, _, None) => Value::Text(text.clone()),
            YamlDataOwned::Sequence(items) => {
                let items = items.iter().map(|item| Self::convert(item, name, path, faults));
                Value::List(items.collect())
            }
            YamlDataOwned::Mapping(members) => {
                let mut map = BTreeMap::new();
                for (key, member) in members {
                    let YamlDataOwned::Representation(text, _, None) = &key.data else {
                        faults.push(Fault {
                            place: place(key),
                            path: path.to_owned(),
                            message: "a key must be a text".to_owned(),
                        });
                        continue;
                    };
                    let path = if path.is_empty() {
                        text.clone()
                    } else {
                        format!("{path}.{text}")
                    };
                    map.insert(text.clone(), Self::convert(member, name, &path, faults));
                }
                Value::Map(map)
            }
            _ => {
                fault(node, path, "aliases, tags and malformed values are not accepted");
                Value::Absent
            }
        };
        Self {
            place: place(node),
            value,
        }
    }

    /// Whether it is a map with this key.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn has(&self, key: &str) -> bool {
        matches!(&self.value, Value::Map(members) if members.contains_key(key))
    }

    /// Sets the value at `path`, as the environment variable `name` says.
    pub(crate) fn set(&mut self, path: &[String], name: &str, text: &str) {
        let Some((first, rest)) = path.split_first() else {
            *self = Self {
                place: format!("environment variable {name}"),
                value: Value::Text(text.to_owned()),
            };
            return;
        };
        if !matches!(self.value, Value::Map(_)) {
            *self = Self {
                place: format!("environment variable {name}"),
                value: Value::Map(BTreeMap::new()),
            };
        }
        if let Value::Map(members) = &mut self.value {
            let absent = || Self {
                place: format!("environment variable {name}"),
                value: Value::Absent,
            };
            members
                .entry(first.clone())
                .or_insert_with(absent)
                .set(rest, name, text);
        }
    }
}

/// Reads the settings of one map, noting faults; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Section<'f> {
    path: String,
    place: String,
    members: BTreeMap<String, Node>,
    /// Of the settings that were read.
    places: BTreeMap<String, String>,
    faults: &'f mut Vec<Fault>,
}

impl<'f> Section<'f> {
    pub(crate) fn new(node: Node, path: &str, faults: &'f mut Vec<Fault>) -> Self {
        let members = match node.value {
            Value::Map(members) => members,
            Value::Absent => BTreeMap::new(),
            Value::Text(_) | Value::List(_) => {
                let message = "settings by name are due here".to_owned();
                faults.push(Fault {
                    place: node.place.clone(),
                    path: path.to_owned(),
                    message,
                });
                BTreeMap::new()
            }
        };
        Self {
            path: path.to_owned(),
            place: node.place,
            members,
            places: BTreeMap::new(),
            faults,
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes a fault of a setting, at the section's place if it is not there, or of the section for an empty key.
    pub(crate) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let path = if key.is_empty() {
            self.path.clone()
        } else {
            self.path_of(key)
        };
        self.faults.push(Fault {
            place: self.places.get(key).unwrap_or(&self.place).clone(),
            path,
            message: message.into(),
        });
    }

    /// Whether no fault of the setting has been noted yet.
    pub(crate) fn is_clean(&self, key: &str) -> bool {
        let path = self.path_of(key);
        !self.faults.iter().any(|fault| fault.path.starts_with(&path))
    }

    /// A setting, parsed; a fault if it is not a text or the parser refuses it.
    pub(crate) fn setting<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.members.remove(key)?;
        self.places.insert(key.to_owned(), node.place.clone());
        let parsed = match &node.value {
            Value::Absent => return None,
            Value::Text(text) => parse(text).map_err(|error| error.to_string()),
            Value::List(_) | Value::Map(_) => Err("a single value is due here".to_owned()),
        };
        let path = self.path_of(key);
        parsed
            .map_err(|message| {
                self.faults.push(Fault {
                    place: node.place,
                    path,
                    message,
                })
            })
            .ok()
    }

    /// A setting that holds or not; a fault if it is neither `true` nor `false`.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn truth(&mut self, key: &str) -> Option<bool> {
        self.setting(key, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("true or false is due"),
        })
    }

    /// A list of texts, or one text with commas between them, as an environment variable can hold it. A
    /// fault for what is no text.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.texts_of(key, |text| {
            text.split(',').map(|item| item.trim().to_owned()).collect()
        })
    }

    /// A list of texts, or one text that may have commas in it. A fault for what is no text.
    pub(crate) fn whole_texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.texts_of(key, |text| vec![text.to_owned()])
    }

    fn texts_of(&mut self, key: &str, one: impl FnOnce(&str) -> Vec<String>) -> Option<Vec<String>> {
        let node = self.members.remove(key)?;
        self.places.insert(key.to_owned(), node.place.clone());
        let items = match node.value {
            Value::Absent => return None,
            Value::Text(text) => return Some(one(&text)),
            Value::List(items) => items,
            Value::Map(_) => {
                self.fault(key, "a list of texts is due");
                return None;
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.value {
                Value::Text(text) => texts.push(text),
                _ => self.fault(key, "a list of texts is due"),
            }
        }
        Some(texts)
    }

    /// Whether the setting is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.members
            .get(key)
            .is_some_and(|node| !matches!(node.value, Value::Absent))
    }

    /// Refuses a setting that this build cannot read.
    #[cfg(not(feature = "dynamodb"))]
    pub(crate) fn refuse(&mut self, key: &str, message: &str) {
        if let Some(node) = self.members.remove(key) {
            self.places.insert(key.to_owned(), node.place);
            self.fault(key, message);
        }
    }

    /// Passes over a section that is for another program: whether it is right is for that to say.
    #[cfg(not(feature = "dynamodb"))]
    pub(crate) fn pass_over(&mut self, key: &str) {
        self.members.remove(key);
    }

    /// The sections of a map from names to sections, each handed to `read`.
    pub(crate) fn sections(&mut self, key: &str, mut read: impl FnMut(&str, &mut Section<'_>)) {
        let Some(node) = self.members.remove(key) else {
            return;
        };
        let path = self.path_of(key);
        let names = Section::new(node, &path, self.faults);
        for (name, node) in names.members {
            let mut section = Section::new(node, &format!("{path}.{name}"), names.faults);
            read(&name, &mut section);
            section.end();
        }
    }

    /// The sections of a list, each handed to `read`.
    pub(crate) fn list(&mut self, key: &str, mut read: impl FnMut(&mut Section<'_>)) {
        let Some(node) = self.members.remove(key) else {
            return;
        };
        self.places.insert(key.to_owned(), node.place);
        let items = match node.value {
            Value::Absent => return,
            Value::List(items) => items,
            Value::Text(_) | Value::Map(_) => return self.fault(key, "a list is due here"),
        };
        let path = self.path_of(key);
        for (at, node) in items.into_iter().enumerate() {
            let mut section = Section::new(node, &format!("{path}[{at}]"), self.faults);
            read(&mut section);
            section.end();
        }
    }

    /// Names of the settings that nobody has asked for yet.
    pub(crate) fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// One section, handed to `read`; an empty one if it is absent.
    pub(crate) fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let absent = Node {
            place: self.place.clone(),
            value: Value::Absent,
        };
        let node = self.members.remove(key).unwrap_or(absent);
        let path = self.path_of(key);
        let mut section = Section::new(node, &path, self.faults);
        let value = read(&mut section);
        section.end();
        value
    }

    /// Settings that nobody asked for are another's; but what is merged in might have been asked for.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn pass_over_rest(&mut self) {
        const MERGE: &str = "<<";
        if let Some(node) = std::mem::take(&mut self.members).remove(MERGE) {
            self.places.insert(MERGE.to_owned(), node.place);
            self.fault(MERGE, "merged settings are not read: write them out");
        }
    }

    /// Every setting that nobody asked for is a fault.
    pub(crate) fn end(self) {
        for (key, node) in self.members {
            let path = if self.path.is_empty() {
                key
            } else {
                format!("{}.{key}", self.path)
            };
            let message = "unknown setting".to_owned();
            self.faults.push(Fault {
                place: node.place,
                path,
                message,
            });
        }
    }
}
