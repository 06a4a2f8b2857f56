//! What a search may ask of an event's members, as Teleport's `where` says it.
//!
//! ```text
//! equals(user, "alice") && !(contains(participants, "bob") || equals(session.login, "root"))
//! ```
//! A name is a member of the event, dots and all (`addr.remote`); `session.` before it means the same member, as in
//! Teleport. Values are texts in `"` or `'`, numbers, `true` and `false`. `!` binds closest, then `&&`, then `||`.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;

use super::value;

/// A condition on an event's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The member has this value.
    Equals(String, Value),
    /// The member is a list that holds this value, or a text that contains it.
    Contains(String, Value),
    /// Both hold.
    And(Box<Self>, Box<Self>),
    /// One holds, or both.
    Or(Box<Self>, Box<Self>),
    /// It does not hold; true also of an event that lacks the member.
    Not(Box<Self>),
}

/// What a member is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number, exactly as it is written.
    Number(String),
    /// True or false.
    Bool(bool),
}

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("condition, at character {at}: {due}")]
pub struct ConditionError {
    /// Which character, from 1.
    pub at: usize,
    /// What is due there.
    pub due: &'static str,
}

/// Levels of brackets and negations.
const MAX_DEPTH: usize = 32;
/// Operators and functions that DynamoDB takes in an expression.
const MAX_OPERATORS: usize = 300;
/// Bytes of the expression: DynamoDB takes 4 KB, with what a session's search and the types add.
const MAX_EXPRESSION: usize = 4_000;

/// Names and values of an expression, each with a placeholder of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Expression {
    pub(super) names: HashMap<String, String>,
    pub(super) values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn value(&mut self, value: AttributeValue) -> String {
        let name = format!(":c{}", self.values.len());
        self.values.insert(name.clone(), value);
        name
    }

    fn member(&mut self, member: &str) -> String {
        let name = format!("#c{}", self.names.len());
        self.names.insert(name.clone(), member.to_owned());
        format!("FieldsMap.{name}")
    }
}

impl Condition {
    /// The condition as DynamoDB filters by it.
    pub(super) fn write(&self, expression: &mut Expression) -> String {
        match self {
            Self::Equals(member, value) => {
                let member = expression.member(member);
                format!("{member} = {}", expression.value(value.attribute()))
            }
            Self::Contains(member, value) => {
                let member = expression.member(member);
                format!("contains({member}, {})", expression.value(value.attribute()))
            }
            Self::And(a, b) => format!("({} AND {})", a.write(expression), b.write(expression)),
            Self::Or(a, b) => format!("({} OR {})", a.write(expression), b.write(expression)),
            Self::Not(of) => format!("(NOT {})", of.write(expression)),
        }
    }
}

impl Value {
    fn attribute(&self) -> AttributeValue {
        match self {
            Self::Text(text) => AttributeValue::S(text.clone()),
            Self::Number(text) => AttributeValue::N(text.clone()),
            Self::Bool(value) => AttributeValue::Bool(*value),
        }
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let mut parser = Parser {
            left: text,
            all: text,
            depth: 0,
            operators: 0,
        };
        let condition = parser.or()?;
        if !parser.left.is_empty() {
            return Err(parser.due("&&, || or the end is due"));
        }
        if condition.write(&mut Expression::default()).len() > MAX_EXPRESSION {
            return Err(parser.due("before it, fewer comparisons were due: DynamoDB takes 4 KB"));
        }
        Ok(condition)
    }
}

struct Parser<'t> {
    left: &'t str,
    all: &'t str,
    depth: usize,
    operators: usize,
}

/// A name or a value.
enum Operand {
    Member(String),
    Value(Value),
}

impl Parser<'_> {
    fn due(&self, due: &'static str) -> ConditionError {
        self.due_at(self.left.len(), due)
    }

    /// With so much left.
    fn due_at(&self, left: usize, due: &'static str) -> ConditionError {
        let read = self.all.len() - left;
        ConditionError {
            at: self.all.get(..read).unwrap_or_default().chars().count() + 1,
            due,
        }
    }

    fn skip(&mut self) {
        self.left = self.left.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip();
        match self.left.strip_prefix(token) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    fn count(&mut self) -> Result<(), ConditionError> {
        self.operators += 1;
        match self.operators > MAX_OPERATORS {
            true => Err(self.due("before it, fewer operators were due: DynamoDB takes 300")),
            false => Ok(()),
        }
    }

    fn or(&mut self) -> Result<Condition, ConditionError> {
        let mut condition = self.and()?;
        while self.take("||") {
            self.count()?;
            condition = Condition::Or(Box::new(condition), Box::new(self.and()?));
        }
        self.skip();
        Ok(condition)
    }

    fn and(&mut self) -> Result<Condition, ConditionError> {
        let mut condition = self.not()?;
        while self.take("&&") {
            self.count()?;
            condition = Condition::And(Box::new(condition), Box::new(self.not()?));
        }
        Ok(condition)
    }

    fn not(&mut self) -> Result<Condition, ConditionError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.due("fewer brackets are due"));
        }
        self.depth += 1;
        let condition = if self.take("!") {
            self.count()?;
            Condition::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let condition = self.or()?;
            if !self.take(")") {
                return Err(self.due(") is due"));
            }
            condition
        } else {
            self.call()?
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn call(&mut self) -> Result<Condition, ConditionError> {
        self.skip();
        self.count()?;
        let start = self.left.len();
        let equals = match self.word() {
            "equals" => true,
            "contains" => false,
            _ => return Err(self.due_at(start, "equals(name, value) or contains(name, value) is due")),
        };
        if !self.take("(") {
            return Err(self.due("( is due"));
        }
        let first = self.operand()?;
        if !self.take(",") {
            return Err(self.due(", and a second operand are due"));
        }
        let second = self.operand()?;
        if !self.take(")") {
            return Err(self.due(") is due"));
        }
        match (first, second) {
            (Operand::Member(member), Operand::Value(value)) if equals => {
                Ok(Condition::Equals(member, value))
            }
            (Operand::Value(value), Operand::Member(member)) if equals => {
                Ok(Condition::Equals(member, value))
            }
            (Operand::Member(member), Operand::Value(value)) => Ok(Condition::Contains(member, value)),
            _ => Err(self.due("before it, a name and a value were due")),
        }
    }

    fn word(&mut self) -> &str {
        let end = self
            .left
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+')))
            .unwrap_or(self.left.len());
        let (word, left) = self.left.split_at(end);
        self.left = left;
        word
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        self.skip();
        let start = self.left.len();
        const DUE: &str = "a name, a number or a text in quotes is due";
        if let Some(quote) = self.left.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            return self.text(quote).map(|text| Operand::Value(Value::Text(text)));
        }
        let word = self.word().to_owned();
        match word.as_str() {
            "" => return Err(self.due_at(start, DUE)),
            "true" | "false" => return Ok(Operand::Value(Value::Bool(word == "true"))),
            _ => {}
        }
        if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            let number = value::stored(&word).ok_or_else(|| self.due_at(start, DUE))?;
            return Ok(Operand::Value(Value::Number(number)));
        }
        let member = word.strip_prefix("session.").unwrap_or(&word);
        if member.is_empty() {
            return Err(self.due("before it, a name was due"));
        }
        Ok(Operand::Member(member.to_owned()))
    }

    fn text(&mut self, quote: char) -> Result<String, ConditionError> {
        let start = self.left.len();
        let mut text = String::new();
        let mut chars = self.left.chars();
        chars.next();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c) => text.push(c),
                    None => break,
                },
                c if c == quote => {
                    self.left = chars.as_str();
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        Err(self.due_at(start, "the text has no end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut expression = Expression::default();
        let mut written = text.parse::<Condition>().unwrap().write(&mut expression);
        for (name, member) in expression.names {
            written = written.replace(&name, &member);
        }
        for (name, value) in expression.values {
            let value = match value {
                AttributeValue::S(text) => format!("{text:?}"),
                AttributeValue::N(number) => number,
                other => format!("{other:?}"),
            };
            written = written.replace(&name, &value);
        }
        written
    }

    #[test]
    fn conditions_become_filters_of_the_fields() {
        assert_eq!(
            written(
                "equals(session.user, \"a\\\"b\") && !contains( participants , 'bob' ) || equals(1.50, n)"
            ),
            "((FieldsMap.user = \"a\\\"b\" AND (NOT contains(FieldsMap.participants, \"bob\"))) OR FieldsMap.n = 1.5)"
        );
        assert_eq!(
            written("equals(a, 1) || equals(b, 2) && equals(c, 3)"),
            "(FieldsMap.a = 1 OR (FieldsMap.b = 2 AND FieldsMap.c = 3))"
        );
        assert_eq!(
            written("!(equals(addr.remote, 'x'))"),
            "(NOT FieldsMap.addr.remote = \"x\")"
        );
    }

    #[test]
    fn what_is_no_condition_is_told_by_its_place() {
        for (text, at) in [
            ("", 1),
            ("user == 'x'", 1),
            ("equals(user, 'x", 14),
            ("equals(user)", 12),
            ("equals(user, 'x') and", 19),
            ("equals(user, login)", 20),
            ("contains('x', list)", 20),
            ("(equals(a, 1)", 14),
            ("equals(a, 1e999)", 11),
        ] {
            assert_eq!(text.parse::<Condition>().unwrap_err().at, at, "{text}");
        }
        // As many as DynamoDB takes, and not more; in a time that grows with the text only.
        let chain = |of: &str, count: usize| vec!["equals(a, 1)"; count].join(of);
        assert!(chain("&&", 100).parse::<Condition>().is_ok());
        for count in [151, 300_000] {
            assert!(chain("||", count).parse::<Condition>().is_err());
        }
        let error = chain("&&", 149).parse::<Condition>().unwrap_err();
        assert!(error.due.contains("4 KB"), "{error}");
        let error = "equals(session., 1)".parse::<Condition>().unwrap_err();
        assert!(error.due.contains("a name was due"), "{error}");
        let deep = format!("{}equals(a, 1){}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(deep.parse::<Condition>().is_err());
        assert!("!".repeat(100_000).parse::<Condition>().is_err());
    }
}
