//! Which records a mapping's filter lets through.

use serde_json::Value;

/// Whether every record of this kind (`INSERT`, `MODIFY` or `REMOVE`) reaches the function. Without filters all do; with
/// several it is enough that one lets it through. A pattern that asks for more than the kind is taken for one that keeps
/// some out.
pub(super) fn passes(filters: &[String], kind: &str) -> bool {
    filters.is_empty() || filters.iter().any(|pattern| lets_through(pattern, kind))
}

fn lets_through(pattern: &str, kind: &str) -> bool {
    let Ok(Value::Object(pattern)) = serde_json::from_str(pattern) else {
        return false;
    };
    pattern.iter().all(|(name, allowed)| {
        name == "eventName" && matches!(allowed, Value::Array(kinds) if kinds.iter().any(|one| one == kind))
    })
}
