//! State directories of the event-handler.

use std::path::Path;

use tidewatch::redrive::event_handler::{StateError, Stopped, stopped};

fn state(values: &[(&str, &str)]) -> (tempfile::TempDir, Result<Stopped, StateError>) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("teleport.example.com_443");
    std::fs::create_dir(&folder).unwrap();
    for (name, value) in values {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, value).unwrap();
    }
    let read = stopped(dir.path());
    (dir, read)
}

const NEW: &str = r#"{"date":"2026-11-20","iterator":"{\"CreatedAt\":1795170931,\"CreatedAtDate\":\"2026-11-20\",\"EventIndex\":1795170931001234567,\"SessionID\":\"a\"}"}"#;
const OLD: &str = r#"{"date":"2026-11-20","iterator":{"CreatedAt":{"N":"1795170931","S":null},"CreatedAtDate":{"S":"2026-11-20"},"EventIndex":{"N":"1795170931001234567"},"SessionID":{"S":"a"}},"event_key":"x"}"#;

#[test]
fn a_cursor_of_either_form_tells_where_it_stopped() {
    for cursor in [NEW, OLD] {
        let (_dir, stopped) = state(&[
            ("cursor", cursor),
            ("id", "5e3c7f60-0a4e-4c57-9f3e-2b5a6c7d8e9f\n"),
            ("window_time", "2026-11-19T00:00:00Z"),
            ("start_time", "2026-01-01T00:00:00Z"),
            ("session5e3c", "\u{1}"),
        ]);
        let stopped = stopped.unwrap();
        assert_eq!(
            (stopped.told_by.as_str(), stopped.at.as_str()),
            ("cursor", "2026-11-20T10:35:31Z")
        );
        assert_eq!(stopped.from, "2026-11-18T10:35:31Z");
        assert_eq!(
            stopped.id.as_deref(),
            Some("5e3c7f60-0a4e-4c57-9f3e-2b5a6c7d8e9f")
        );
        // The state itself may be named as well.
        assert_eq!(
            super::event_handler::stopped(&stopped.directory).unwrap(),
            stopped
        );
    }
}

#[test]
fn without_one_the_window_does_or_the_start() {
    let bulk = ("cursor_v2/2026-11-17/completed-chunks", "a\n");
    // Those that began later may be ahead of it.
    let later = ("cursor_v2/2026-11-20/completed-chunks", "a\n");
    let (window, start) = (
        ("window_time", "2026-11-19T00:00:00Z"),
        ("start_time", "2026-01-01T00:00:00Z"),
    );
    for (values, told_by, at) in [
        (
            vec![("cursor", ""), window, start],
            "window_time",
            "2026-11-19T00:00:00Z",
        ),
        (vec![start], "start_time", "2026-01-01T00:00:00Z"),
        (
            vec![later, bulk, window, start],
            "cursor_v2",
            "2026-11-17T00:00:00Z",
        ),
        (
            vec![("cursor", r#"{"date":"2026-11-16"}"#)],
            "cursor",
            "2026-11-16T00:00:00Z",
        ),
    ] {
        let (_dir, stopped) = state(&values);
        let stopped = stopped.unwrap();
        assert_eq!((stopped.told_by.as_str(), stopped.at.as_str()), (told_by, at));
    }
}

#[test]
fn what_is_no_state_is_refused() {
    let (dir, none) = state(&[("other", "x")]);
    assert!(matches!(none, Err(StateError::None(_))));
    for name in ["one_1", "two_2"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("cursor"), NEW).unwrap();
    }
    assert!(matches!(stopped(dir.path()), Err(StateError::Several(_))));
    assert!(matches!(
        stopped(Path::new("/nowhere/at/all")),
        Err(StateError::Read { .. })
    ));
    for values in [
        ("cursor", "no cursor"),
        ("start_time", "yesterday"),
        ("cursor", "{}"),
    ] {
        assert!(
            matches!(state(&[values]).1, Err(StateError::Wrong { .. })),
            "{values:?}"
        );
    }
}
