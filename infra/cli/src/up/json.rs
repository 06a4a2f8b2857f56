//! The generator's own JSON: exact text and DynamoDB's typed form, sharing nothing with the decoder it checks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A JSON value whose numbers are kept as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Plain decimal text, as DynamoDB stores it
    Number(String),
    /// A string
    Text(String),
    /// An array
    List(Vec<Self>),
    /// An object, keys sorted
    Map(BTreeMap<String, Self>),
}

impl Json {
    /// The text that must come out: keys sorted, no spaces, numbers as they are.
    pub fn text(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(truth) => truth.to_string(),
            Self::Number(digits) => digits.clone(),
            Self::Text(text) => quoted(text),
            Self::List(list) => format!("[{}]", joined(list.iter().map(Self::text))),
            Self::Map(map) => {
                format!(
                    "{{{}}}",
                    joined(
                        map.iter()
                            .map(|(key, value)| format!("{}:{}", quoted(key), value.text()))
                    )
                )
            }
        }
    }

    /// DynamoDB's typed form.
    pub fn dynamo(&self) -> Value {
        match self {
            Self::Null => json!({"NULL": true}),
            Self::Bool(truth) => json!({"BOOL": truth}),
            Self::Number(digits) => json!({"N": digits}),
            Self::Text(text) => json!({"S": text}),
            Self::List(list) => json!({"L": list.iter().map(Self::dynamo).collect::<Vec<_>>()}),
            Self::Map(map) => {
                json!({"M": map.iter().map(|(key, value)| (key.clone(), value.dynamo())).collect::<BTreeMap<_, _>>()})
            }
        }
    }

    /// Sets a key of an object; anything else stays as it is.
    pub fn set(&mut self, key: &str, value: impl Into<Self>) {
        if let Self::Map(map) = self {
            map.insert(key.to_owned(), value.into());
        }
    }

    /// A key of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            _ => None,
        }
    }

    /// A string's text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// For templates; numbers must be such that serde_json prints them as plain decimals.
impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(truth),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(text) => Self::Text(text),
            Value::Array(list) => Self::List(list.into_iter().map(Self::from).collect()),
            Value::Object(map) => {
                Self::Map(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_value() {
        let mut value = Json::from(json!({"b": [1, "x\n\"é", null, false, {}], "a": -0.5}));
        value.set("n", Json::Number("1000000000000000000000".to_owned()));
        assert_eq!(
            value.text(),
            r#"{"a":-0.5,"b":[1,"x\n\"é",null,false,{}],"n":1000000000000000000000}"#
        );
        assert_eq!(
            value.dynamo(),
            json!({"M": {"a": {"N": "-0.5"}, "n": {"N": "1000000000000000000000"},
                "b": {"L": [{"N": "1"}, {"S": "x\n\"é"}, {"NULL": true}, {"BOOL": false}, {"M": {}}]}}})
        );
    }
}
