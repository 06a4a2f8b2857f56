//! Which events a sink gets: rules that allow and rules that deny.

use std::collections::BTreeMap;

use super::Section;

/// Which events a sink gets: those that some rule of `allow` matches, all where there is none, less those that some
/// rule of `deny` matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct FilterConfig {
    /// Rules of which one must match; all events where it is absent.
    #[cfg_attr(feature = "schema", schemars(default, extend("minItems" = 1)))]
    pub allow: Vec<RuleConfig>,
    /// Rules of which none may match.
    #[cfg_attr(feature = "schema", schemars(default, extend("minItems" = 1)))]
    pub deny: Vec<RuleConfig>,
}

/// A rule: it matches an event that meets all of its conditions, of which there is at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields, extend("minProperties" = 1)))]
pub struct RuleConfig {
    /// The event's type is one of these, such as session.*.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub types: Vec<Pattern>,
    /// The event's code is one of these, such as T2000I.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub codes: Vec<Pattern>,
    /// The event's user is one of these.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub users: Vec<Pattern>,
    /// Each of these values of the event is one of the texts beside it; a name leads into the event by dots, such as
    /// server_labels.env.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub labels: BTreeMap<String, Vec<Pattern>>,
}

/// A text, or with * at its end the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pattern(String);

impl Pattern {
    /// A pattern; none if it is empty or has a `*` anywhere but at its end.
    pub fn new(text: &str) -> Option<Self> {
        let start = text.strip_suffix('*').unwrap_or(text);
        (!text.is_empty() && !start.contains('*')).then(|| Self(text.to_owned()))
    }

    /// Whether a text is meant.
    pub fn matches(&self, text: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => self.0 == text,
        }
    }
}

impl FilterConfig {
    /// Whether every event passes.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            allow: rules(section, "allow"),
            deny: rules(section, "deny"),
        }
    }
}

fn rules(section: &mut Section<'_>, key: &str) -> Vec<RuleConfig> {
    let there = section.has(key);
    let mut rules = Vec::new();
    section.list(key, |section| rules.push(RuleConfig::read(section)));
    // An empty list may mean all or nothing.
    if there && rules.is_empty() && section.is_clean(key) {
        section.fault(key, "at least one rule is due, or no list");
    }
    rules
}

impl RuleConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let there = ["types", "codes", "users", "labels"]
            .iter()
            .any(|key| section.has(key));
        if !there {
            section.fault("", "a rule has types, codes, users or labels");
        }
        let (types, codes) = (patterns(section, "types"), patterns(section, "codes"));
        let users = patterns(section, "users");
        let labelled = section.has("labels");
        let labels = section.section("labels", |section| {
            let names = section.names();
            if labelled && names.is_empty() {
                section.fault("", "at least one name with a value is due");
            }
            names
                .into_iter()
                .map(|name| {
                    let patterns = patterns(section, &name);
                    (name, patterns)
                })
                .collect()
        });
        Self {
            types,
            codes,
            users,
            labels,
        }
    }
}

fn patterns(section: &mut Section<'_>, key: &str) -> Vec<Pattern> {
    let there = section.has(key);
    let texts = section.whole_texts(key).unwrap_or_default();
    if there && texts.is_empty() && section.is_clean(key) {
        section.fault(key, "at least one text is due");
    }
    let patterns: Vec<Pattern> = texts.iter().filter_map(|text| Pattern::new(text)).collect();
    if patterns.len() < texts.len() {
        section.fault(key, "a text is due, with * at its end at most");
    }
    patterns
}
