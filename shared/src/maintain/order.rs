//! What asks for a run: the event of a schedule.

use std::time::Duration;

use super::Task;
use crate::config::{ExpireConfig, Fault, Node, Section};

/// A run that is asked for.
///
/// As JSON: `{"task": "expire", "every": "5s", "dry_run": true}`, of which the task is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Which task.
    pub task: Task,
    /// Look, and change nothing.
    pub dry_run: bool,
    /// Repeat it so often until the time is over, whatever the configuration says. Of `expire` only.
    pub every: Option<Duration>,
}

/// Everything that is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event is none of a schedule: {}", list(.0))]
pub struct OrderError(pub Vec<Fault>);

fn list(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    faults.join("; ")
}

impl Order {
    /// A run of a task as it is configured.
    pub fn of(task: Task) -> Self {
        Self {
            task,
            dry_run: false,
            every: None,
        }
    }

    /// Reads an event.
    ///
    /// # Errors
    /// Every fault there is, each with its place.
    pub fn parse(event: &str) -> Result<Self, OrderError> {
        let mut faults = Vec::new();
        let node = Node::parse(event, "event", &mut faults);
        let mut section = Section::new(node, "", &mut faults);
        let task = section.setting("task", str::parse::<Task>);
        if task.is_none() && section.is_clean("task") {
            let names: Vec<&str> = Task::ALL.into_iter().map(Task::name).collect();
            section.fault("task", format!("is required: one of {}", names.join(", ")));
        }
        let dry_run = section.truth("dry_run");
        let every = section.setting("every", ExpireConfig::parse_every);
        if every.is_some() && task.is_some_and(|task| task != Task::Expire) {
            section.fault("every", "only expire repeats itself");
        }
        section.end();
        match (task, faults.is_empty()) {
            (Some(task), true) => Ok(Self {
                task,
                dry_run: dry_run.unwrap_or_default(),
                every,
            }),
            _ => Err(OrderError(faults)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_a_task_and_how() {
        let order = Order::parse(r#"{"task": "expire", "every": "5s", "dry_run": true}"#).unwrap();
        let wanted = Order {
            task: Task::Expire,
            dry_run: true,
            every: Some(Duration::from_secs(5)),
        };
        assert_eq!(order, wanted);
        for task in Task::ALL {
            let event = format!("{{\"task\":\"{task}\"}}");
            assert_eq!(Order::parse(&event).unwrap(), Order::of(task));
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let error = Order::parse(r#"{"task": "sweep", "dry_run": "perhaps", "every": "1h", "prefix": "/x"}"#);
        let error = error.unwrap_err();
        let paths: Vec<&str> = error.0.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["task", "dry_run", "every", "prefix"]);
        let text = error.to_string();
        assert!(text.contains("expire, locks, watch-log"), "{text}");
        // What stood there may be anything.
        assert!(!text.contains("perhaps") && !text.contains("/x"), "{text}");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for event in [
            "",
            "null",
            "{}",
            "[]",
            "7",
            "{",
            r#"{"Records": []}"#,
            r#"{"task": ["drain"]}"#,
        ] {
            assert!(Order::parse(event).is_err(), "{event}");
        }
        let error = Order::parse(r#"{"task": "drain", "every": "5s"}"#).unwrap_err();
        assert!(error.to_string().contains("only expire"), "{error}");
    }
}
