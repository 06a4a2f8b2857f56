//! What a function's answer means to the mapping.

use serde_json::Value;

use super::record::SequenceNumber;

/// What an answer says of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All records are done.
    Success,
    /// The record at this place and all after it come again; those before it are done.
    From(usize),
    /// The whole batch failed; the reason.
    Failure(String),
}

impl Verdict {
    /// Reads a function's answer to a batch of records with these numbers, in order.
    ///
    /// With `report` off any answer is success, as in Lambda.
    pub fn of(answer: &Result<String, String>, batch: &[&SequenceNumber], report: bool) -> Self {
        let text = match answer {
            Err(error) => return Self::Failure(error.clone()),
            Ok(_) if !report => return Self::Success,
            Ok(text) => text.trim(),
        };
        if text.is_empty() {
            return Self::Success;
        }
        let failures = match serde_json::from_str::<Value>(text) {
            Ok(Value::Null) => return Self::Success,
            Ok(Value::Object(mut answer)) => answer.remove("batchItemFailures").unwrap_or_default(),
            Ok(_) => return Self::failure("the answer is no JSON object"),
            Err(_) => return Self::failure("the answer is no JSON"),
        };
        let failures = match failures {
            Value::Null => return Self::Success,
            Value::Array(failures) => failures,
            _ => return Self::failure("batchItemFailures is no list"),
        };
        let mut lowest = None;
        for failure in &failures {
            let Some(named) = failure.get("itemIdentifier").and_then(Value::as_str) else {
                return Self::failure("an itemIdentifier is absent, null or no text");
            };
            let Some(place) = batch.iter().position(|number| number.as_str() == named) else {
                return Self::failure("an itemIdentifier is not of this batch");
            };
            lowest = Some(lowest.map_or(place, |lowest: usize| lowest.min(place)));
        }
        lowest.map_or(Self::Success, Self::From)
    }

    fn failure(reason: &str) -> Self {
        Self::Failure(reason.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(answer: &str) -> Verdict {
        let numbers: Vec<SequenceNumber> = ["9", "10", "11", "12"].into_iter().map(Into::into).collect();
        Verdict::of(&Ok(answer.to_owned()), &numbers.iter().collect::<Vec<_>>(), true)
    }

    #[test]
    fn nothing_named_is_complete_success() {
        for answer in [
            "",
            "null",
            "{}",
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
            r#"{"x":1}"#,
        ] {
            assert_eq!(verdict(answer), Verdict::Success, "{answer}");
        }
    }

    #[test]
    fn a_bad_identifier_fails_the_whole_batch() {
        for identifier in ["null", r#""""#, r#""99""#, "9"] {
            let answer = format!(
                r#"{{"batchItemFailures":[{{"itemIdentifier":"10"}},{{"itemIdentifier":{identifier}}}]}}"#
            );
            assert!(matches!(verdict(&answer), Verdict::Failure(_)), "{answer}");
        }
        for answer in [
            r#"{"batchItemFailures":[{"itemIdentifer":"10"}]}"#,
            r#"{"batchItemFailures":{}}"#,
            "[]",
            "7",
            "{",
        ] {
            assert!(matches!(verdict(answer), Verdict::Failure(_)), "{answer}");
        }
    }

    #[test]
    fn the_lowest_number_counts_whatever_the_order() {
        let answer = r#"{"batchItemFailures":[{"itemIdentifier":"12"},{"itemIdentifier":"10"},{"itemIdentifier":"11"}]}"#;
        assert_eq!(verdict(answer), Verdict::From(1));
    }

    #[test]
    fn without_reporting_any_answer_is_success_and_an_error_is_not() {
        let number = SequenceNumber::from("9");
        assert_eq!(
            Verdict::of(&Ok("{".to_owned()), &[&number], false),
            Verdict::Success
        );
        assert_eq!(
            Verdict::of(&Err("x".to_owned()), &[&number], false),
            Verdict::Failure("x".to_owned())
        );
    }
}
