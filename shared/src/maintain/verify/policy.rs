//! Whether a bucket's policy refuses what comes without TLS.

use serde_json::Value;

/// Whether one statement denies everybody everything on the objects of `bucket` where `aws:SecureTransport` is false. A
/// policy that says it in another way is not recognised.
pub(super) fn refuses_plain(policy: &str, bucket: &str) -> bool {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else {
        return false;
    };
    let Some(statements) = policy.get("Statement") else {
        return false;
    };
    each(statements).any(|statement| denies(statement, bucket))
}

/// One value, or each of several.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let (one, many) = match value {
        Value::Array(many) => (None, many.as_slice()),
        one => (Some(one), [].as_slice()),
    };
    one.into_iter().chain(many)
}

fn denies(statement: &Value, bucket: &str) -> bool {
    let has = |name: &str, wanted: &dyn Fn(&str) -> bool| {
        let value = statement.get(name);
        value.is_some_and(|value| each(value).any(|one| one.as_str().is_some_and(wanted)))
    };
    let principal = statement.get("Principal");
    let everybody = has("Principal", &|name| name == "*")
        || principal
            .and_then(|principal| principal.get("AWS"))
            .is_some_and(|names| each(names).any(|name| name == "*"));
    let objects = format!(":s3:::{bucket}/*");
    statement.get("Effect").is_some_and(|effect| effect == "Deny")
        && everybody
        && has("Action", &|action| matches!(action, "*" | "s3:*"))
        && has("Resource", &|resource| {
            resource == "*" || resource.ends_with(&objects)
        })
        && only_plain(statement.get("Condition"))
}

/// With a second condition it would not refuse all of it.
fn only_plain(condition: Option<&Value>) -> bool {
    let Some(Value::Object(operators)) = condition else {
        return false;
    };
    let [(operator, Value::Object(keys))] = operators.iter().collect::<Vec<_>>()[..] else {
        return false;
    };
    let [(key, value)] = keys.iter().collect::<Vec<_>>()[..] else {
        return false;
    };
    let is_false = |value: &Value| value == "false" || value == false;
    operator.eq_ignore_ascii_case("Bool")
        && key.eq_ignore_ascii_case("aws:SecureTransport")
        && each(value).any(is_false)
}
