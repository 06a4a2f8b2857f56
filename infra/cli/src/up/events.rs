//! Events as Teleport emits them: one function a kind.

use serde_json::{Value, json};
use tidewatch::random::Random;

use super::json::Json;

/// What can run for a while under one session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ssh,
    Database,
    App,
}

/// A session in progress.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) kind: Kind,
    user: &'static str,
    server: String,
    /// The next event index.
    pub(super) next: u64,
    /// Events until it ends.
    pub(super) left: u64,
}

const USERS: [&str; 6] = [
    "alice",
    "bob@leaf.example.com",
    "користувач",
    "zoë@example.com",
    "名前",
    "dave",
];
const QUERIES: [&str; 4] = [
    "SELECT '{\"k\": 1}'::jsonb,\n\tnote FROM t -- ünï",
    "UPDATE accounts SET balance = balance - 10 WHERE id = $1",
    "SELECT 1",
    "COPY orders TO STDOUT \\ \u{1}\u{1f}",
];
const COMMANDS: [&str; 4] = ["ls", "curl", "😀", "\u{202e}gnp.exe"];

/// A random UUID in Teleport's form.
pub(super) fn uuid(random: &Random) -> String {
    let (high, low) = (random.u64(), random.u64());
    let variant = 0x8000 | (low >> 48 & 0x3fff);
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xfff);
    format!(
        "{a:08x}-{b:04x}-4{c:03x}-{variant:04x}-{:012x}",
        low & 0xffff_ffff_ffff
    )
}

fn pick<T: Copy>(random: &Random, from: &[T], otherwise: T) -> T {
    let place = usize::try_from(random.below(from.len() as u64)).unwrap_or_default();
    from.get(place).copied().unwrap_or(otherwise)
}

/// Adds what every event has.
fn event(random: &Random, kind: &str, code: &str, time: &str, rest: Value) -> Json {
    let mut event = Json::from(rest);
    event.set("event", kind);
    event.set("code", code);
    event.set("time", time);
    event.set("cluster_name", "prod.example.com");
    event.set("uid", uuid(random).as_str());
    if event.get("ei").is_none() {
        event.set("ei", Json::Number("0".to_owned()));
    }
    event
}

impl Session {
    pub(super) fn start(random: &Random) -> Self {
        let kind = pick(
            random,
            &[Kind::Ssh, Kind::Ssh, Kind::Database, Kind::App],
            Kind::Ssh,
        );
        let id = match kind {
            Kind::App => format!(
                "{:016x}{:016x}{:016x}{:016x}",
                random.u64(),
                random.u64(),
                random.u64(),
                random.u64()
            ),
            Kind::Ssh | Kind::Database => uuid(random),
        };
        let (user, server) = (pick(random, &USERS, "alice"), uuid(random));
        Self {
            id,
            kind,
            user,
            server,
            next: 0,
            left: 4 + random.below(20),
        }
    }

    /// The session's next event; the caller counts.
    pub(super) fn event(&self, random: &Random, time: &str) -> Json {
        let (first, last) = (self.next == 0, self.left == 1);
        let (kind, code, mut rest) = match (self.kind, first, last) {
            (Kind::Ssh, true, _) => (
                "session.start",
                "T2000I",
                json!({
                    "addr.local": "10.1.2.3:3022", "addr.remote": "[2001:db8::7]:51454", "initial_command": ["bash", "-l"],
                    "invited": [], "login": "ubuntu", "namespace": "default", "proto": "ssh", "reason": "",
                    "roles": ["access", "editor"], "server_hostname": "web-1", "session_recording": "node", "size": "80:25",
                    "server_labels": {"env": "prod", "teleport.dev/origin": "dynamic", "emoji 😀": "🏳️‍🌈", "#name": ":value"},
                }),
            ),
            (Kind::Ssh, _, true) => (
                "session.end",
                "T2004I",
                json!({
                    "interactive": true, "login": "ubuntu", "participants": [self.user, "bob"], "session_start": time,
                    "session_stop": time, "enhanced_recording": true,
                }),
            ),
            (Kind::Ssh, _, _) if random.below(8) == 0 => (
                "exec",
                "T3002I",
                json!({
                    "command": "echo \"hi\" > /tmp/é", "exitCode": "0", "login": "root", "addr.remote": "192.0.2.44:41106",
                }),
            ),
            (Kind::Ssh, _, _) => (
                "session.command",
                "T4000I",
                json!({
                    "argv": ["-c", "exit 1", "tab\tcr\rlf\n", "<script>&amp;</script>"], "cgroup_id": 4_294_968_064_u64,
                    "path": "/bin/sh", "pid": random.below(65_536), "ppid": 1, "return_code": -2, "login": "ubuntu",
                    "program": pick(random, &COMMANDS, "ls"),
                }),
            ),
            (Kind::Database, true, _) => (
                "db.session.start",
                "TDB00I",
                json!({
                    "db_name": "orders", "db_protocol": "postgres", "db_service": "pg-primary", "db_user": "reader",
                    "db_labels": {"env": "prod", "nested": {"a": [1, "2", null, {"b": false}]}}, "success": true,
                }),
            ),
            (Kind::Database, _, true) => (
                "db.session.end",
                "TDB01I",
                json!({"db_name": "orders", "db_user": "reader"}),
            ),
            (Kind::Database, ..) => (
                "db.session.query",
                "TDB02I",
                json!({
                    "db_name": "orders", "db_protocol": "postgres", "db_query": pick(random, &QUERIES, "SELECT 1"),
                    "db_query_parameters": ["1", "", "\\x00"], "db_aws_region": "", "db_user": "reader", "success": true,
                }),
            ),
            (Kind::App, true, _) => (
                "app.session.start",
                "T2007I",
                json!({
                    "app_name": "grafana", "app_uri": "http://localhost:3000", "public_addr": "grafana.example.com",
                }),
            ),
            (Kind::App, ..) => (
                "app.session.chunk",
                "T2008I",
                json!({
                    "app_name": "grafana", "session_chunk_id": uuid(random), "session_recording": "off",
                }),
            ),
        };
        if let Value::Object(rest) = &mut rest {
            rest.insert("sid".to_owned(), self.id.as_str().into());
            rest.insert("ei".to_owned(), self.next.into());
            rest.insert("user".to_owned(), self.user.into());
            rest.insert("server_id".to_owned(), self.server.as_str().into());
        }
        event(random, kind, code, time, rest)
    }
}

/// An event of no session.
pub(super) fn single(random: &Random, time: &str) -> Json {
    let user = pick(random, &USERS, "alice");
    match random.below(4) {
        0 => event(
            random,
            "user.login",
            "T1000I",
            time,
            json!({
                "addr.remote": "203.0.113.9:60123", "applied_login_rules": ["rule-1"], "method": "oidc", "success": true,
                "attributes": {"auth_time": 1_795_170_932, "email_verified": true, "groups": ["staff", "платформа"]},
                "user": user, "user_agent": "Mozilla/5.0 (X11; Linux x86_64)", "user_kind": 1,
            }),
        ),
        1 => event(
            random,
            "cert.create",
            "TC000I",
            time,
            json!({
                "cert_type": "user", "identity": {"user": user, "roles": ["access"], "traits": {"logins": ["root", ""]},
                    "expires": "2026-11-21T10:15:32.5Z", "prev_identity_expires": null}, "user": user,
            }),
        ),
        2 => event(
            random,
            "sftp",
            "TS003I",
            time,
            json!({
                "action": 3, "flags": 0, "login": "root", "path": "/srv/data/réport.csv", "sid": "", "user": user,
                "working_directory": "/home/bob", "addr.local": "[::1]:3022",
            }),
        ),
        _ => future(random, time),
    }
}

/// An event of a type that nobody knows yet, with numbers that floats would spoil and no uid.
fn future(random: &Random, time: &str) -> Json {
    let mut event = event(
        random,
        "some.future.event",
        "TZZ99I",
        time,
        json!({
            "labels": {}, "list": [], "none": null, "deep": {"a": {"b": {"c": [[], [{}], [[null, "", 0, false]]]}}},
            "n_frac": -123_456.789, "trace": uuid(random),
        }),
    );
    for (key, digits) in [
        ("n_1e21", "1000000000000000000000"),
        ("n_1e38", "100000000000000000000000000000000000000"),
        ("n_maxint64", "9223372036854776000"),
        ("n_odd", "9007199254740993"),
        ("n_small", "0.0000001"),
    ] {
        event.set(key, Json::Number(digits.to_owned()));
    }
    event.set("uid", "");
    event
}

/// An event that is close to the limit of 400 KB an item.
pub(super) fn oversize(random: &Random, time: &str) -> Json {
    let query = format!("SELECT {}", "'ünï', ".repeat(43_000));
    event(
        random,
        "db.session.query",
        "TDB02I",
        time,
        json!({"db_query": query, "user": "alice"}),
    )
}
