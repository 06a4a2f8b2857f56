//! What the clients of one history did and saw.

use std::fmt;
use std::time::Duration;

use tidewatch::state::ErrorKind;

/// The most keys of a history.
pub(crate) const KEYS: usize = 5;

/// A moment: the time since the history began, and the number of the event, which orders those of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    pub(crate) at: Duration,
    pub(crate) event: u32,
}

impl Stamp {
    pub(crate) const START: Self = Self {
        at: Duration::ZERO,
        event: 0,
    };
    pub(crate) const NEVER: Self = Self {
        at: Duration::MAX,
        event: u32::MAX,
    };

    /// Before every event of this time.
    pub(crate) fn before(at: Duration) -> Self {
        Self { at, event: 0 }
    }
}

/// What is stored under a key. Times are seconds since the history began; values and revisions are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) value: u32,
    pub(crate) expires: Option<i64>,
    pub(crate) revision: u32,
}

/// What a write puts under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: usize,
    pub(crate) value: u32,
    pub(crate) expires: Option<i64>,
}

/// One action of an atomic write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) key: usize,
    pub(crate) condition: Must,
    pub(crate) effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    Whatever,
    Exist,
    NotExist,
    Revision(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Put { value: u32, expires: Option<i64> },
    Delete,
    Nop,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Get(usize),
    Put(Write),
    Create(Write),
    Update(Write),
    CompareAndSwap(u32, Write),
    ConditionalUpdate(u32, Write),
    Delete(usize),
    ConditionalDelete(usize, u32),
    KeepAlive { key: usize, revision: u32, expires: i64 },
    AtomicWrite(Vec<Act>),
}

/// What the caller was told of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// That it was applied; what is stored, for a read.
    Applied,
    /// That its condition did not hold.
    Refused,
    /// That it was not applied: throttled, in conflict, credentials.
    NotApplied,
    /// Nothing.
    Nothing,
}

/// One request of a call, without those that only look what became of another.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) sent: Stamp,
    /// The second that the caller's own clock showed then.
    pub(crate) read: i64,
    pub(crate) told: Told,
    /// The same token makes several requests one.
    pub(crate) token: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It read this.
    Read(Stored),
    /// It was applied; with the revision that it wrote, if any.
    Applied(Option<u32>),
    /// A condition did not hold, or there was nothing to read.
    Refused(ErrorKind),
    /// It was not applied, for want of capacity, quiet or a connection.
    NotApplied(ErrorKind),
    /// Nobody knows.
    Unknown,
}

impl Outcome {
    /// How it is counted.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Read(_) => "read".to_owned(),
            Self::Applied(_) => "applied".to_owned(),
            Self::Refused(kind) | Self::NotApplied(kind) => format!("{kind:?}"),
            Self::Unknown => "unknown".to_owned(),
        }
    }
}

/// A call with all that its caller saw of it.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) client: usize,
    pub(crate) call: Call,
    pub(crate) called: Stamp,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) returned: Stamp,
    pub(crate) outcome: Outcome,
}

/// What all clients did, in the order in which it ended.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) operations: Vec<Operation>,
}

impl History {
    /// As far as it went by `end`: calls under way may be applied or not.
    pub(crate) fn until(&self, end: Stamp) -> Self {
        let mut operations = self.operations.clone();
        operations.retain(|operation| {
            operation.called <= end && (operation.returned <= end || !matches!(operation.call, Call::Get(_)))
        });
        for operation in operations.iter_mut().filter(|one| one.returned > end) {
            operation.attempts.retain(|attempt| attempt.sent <= end);
            for attempt in &mut operation.attempts {
                if attempt.told == Told::Applied {
                    attempt.told = Told::Nothing;
                }
            }
            operation.returned = Stamp::NEVER;
            operation.outcome = Outcome::Unknown;
        }
        Self {
            seed: self.seed,
            operations,
        }
    }
}

fn name(key: usize) -> char {
    char::from(b'a'.saturating_add(u8::try_from(key).unwrap_or(u8::MAX)))
}

struct Expiry(Option<i64>);

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |second| write!(f, " until {second}"))
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}{}", name(self.key), self.value, Expiry(self.expires))
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = name(self.key);
        match self.condition {
            Must::Whatever => {}
            Must::Exist => write!(f, "if {key} exists ")?,
            Must::NotExist => write!(f, "if {key} does not exist ")?,
            Must::Revision(revision) => write!(f, "if {key} is at r{revision} ")?,
        }
        match self.effect {
            Effect::Put { value, expires } => write!(f, "put {key}={value}{}", Expiry(expires)),
            Effect::Delete => write!(f, "delete {key}"),
            Effect::Nop => f.write_str("do nothing"),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(key) => write!(f, "get {}", name(*key)),
            Self::Put(write) => write!(f, "put {write}"),
            Self::Create(write) => write!(f, "create {write}"),
            Self::Update(write) => write!(f, "update {write}"),
            Self::CompareAndSwap(expected, write) => write!(f, "compare_and_swap {expected} by {write}"),
            Self::ConditionalUpdate(revision, write) => {
                write!(f, "conditional_update r{revision} by {write}")
            }
            Self::Delete(key) => write!(f, "delete {}", name(*key)),
            Self::ConditionalDelete(key, revision) => {
                write!(f, "conditional_delete {} at r{revision}", name(*key))
            }
            Self::KeepAlive {
                key,
                revision,
                expires,
            } => {
                write!(f, "keep_alive {} at r{revision} until {expires}", name(*key))
            }
            Self::AtomicWrite(acts) => {
                let acts: Vec<String> = acts.iter().map(ToString::to_string).collect();
                write!(f, "atomic_write {}", acts.join(", "))
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(stored) => {
                write!(
                    f,
                    "{}{} at r{}",
                    stored.value,
                    Expiry(stored.expires),
                    stored.revision
                )
            }
            Self::Applied(Some(revision)) => write!(f, "ok, r{revision}"),
            Self::Applied(None) => f.write_str("ok"),
            Self::Refused(kind) | Self::NotApplied(kind) => write!(f, "{kind:?}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// One call a line: from, to, client, call, outcome, and when its requests were sent (`-` not applied, `?` no answer).
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, seconds since its start:", self.seed)?;
        let mut operations: Vec<&Operation> = self.operations.iter().collect();
        operations.sort_by_key(|operation| operation.called);
        for operation in operations {
            let sent: Vec<String> = operation.attempts.iter().map(ToString::to_string).collect();
            let returned = match operation.returned {
                Stamp::NEVER => "     ".to_owned(),
                Stamp { at, .. } => format!("{:.3}", at.as_secs_f64()),
            };
            writeln!(
                f,
                "{:.3}-{returned} client {}: {} => {} (sent {})",
                operation.called.at.as_secs_f64(),
                operation.client,
                operation.call,
                operation.outcome,
                sent.join(" ")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = match self.told {
            Told::Applied | Told::Refused => "",
            Told::NotApplied => "-",
            Told::Nothing => "?",
        };
        write!(f, "{:.3}{told}", self.sent.at.as_secs_f64())
    }
}
