//! Calls that fail, fall short, or lie.

use std::fmt;
use std::io;
use std::str::FromStr;

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// Creating a directory.
    CreateFolder,
    /// Creating a file.
    CreateNew,
    /// Opening a file.
    Open,
    /// Listing a folder.
    List,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Cutting or extending.
    SetLen,
    /// Reserving space.
    Allocate,
    /// Making a file durable.
    Sync,
    /// Making a folder durable.
    SyncFolder,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
}

/// All kinds of calls.
pub const CALLS: [Call; 12] = [
    Call::CreateFolder,
    Call::CreateNew,
    Call::Open,
    Call::List,
    Call::Read,
    Call::Write,
    Call::SetLen,
    Call::Allocate,
    Call::Sync,
    Call::SyncFolder,
    Call::Rename,
    Call::Remove,
];

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It fails with this errno and does nothing. A sync may have written a part, as power loss decides.
    Errno(i32),
    /// A sync fails with this errno, and the pages are called clean: the next sync says yes and does
    /// nothing, while reads go on showing them.
    Forget(i32),
    /// A read or write handles at most so many bytes.
    Short(usize),
}

/// A rule: the n-th call of a kind goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of call.
    pub call: Call,
    /// Which one; 1 is the next.
    pub nth: u64,
    /// All later ones too.
    pub for_good: bool,
    /// How it goes wrong.
    pub outcome: Outcome,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, nth, for_good, outcome } = self;
        write!(f, "{call:?} {nth} {} ", if *for_good { "for-good" } else { "once" })?;
        match outcome {
            Outcome::Errno(errno) => write!(f, "errno {errno}"),
            Outcome::Forget(errno) => write!(f, "forget {errno}"),
            Outcome::Short(bytes) => write!(f, "short {bytes}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let [call, nth, times, what, number] = *text.split_whitespace().collect::<Vec<_>>() else {
                return None;
            };
            let call = CALLS.into_iter().find(|known| format!("{known:?}") == call)?;
            let for_good = match times {
                "once" => false,
                "for-good" => true,
                _ => return None,
            };
            let outcome = match what {
                "errno" => Outcome::Errno(number.parse().ok()?),
                "forget" => Outcome::Forget(number.parse().ok()?),
                "short" => Outcome::Short(number.parse().ok()?),
                _ => return None,
            };
            Some(Self { call, nth: nth.parse().ok()?, for_good, outcome })
        };
        parse().ok_or_else(|| format!("no fault: {text:?}"))
    }
}

/// The rules, and how many calls there were.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    counts: [u64; CALLS.len()],
    rules: Vec<Fault>,
    /// Which went wrong, and of what.
    pub(crate) met: Vec<(Call, String)>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        let nth = self.count(fault.call) + fault.nth;
        self.rules.push(Fault { nth, ..fault });
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn count(&self, call: Call) -> u64 {
        self.counts.get(index(call)).copied().unwrap_or(0)
    }

    /// Counts a call; says how it goes wrong, if it does.
    pub(crate) fn next(&mut self, call: Call) -> Option<Outcome> {
        let count = self.counts.get_mut(index(call))?;
        *count += 1;
        let n = *count;
        let hit = self
            .rules
            .iter()
            .find(|rule| rule.call == call && (rule.nth == n || (rule.for_good && rule.nth < n)));
        hit.map(|rule| rule.outcome)
    }
}

/// The error of an outcome, where it is one.
pub(crate) fn error_of(outcome: Option<Outcome>) -> io::Result<()> {
    match outcome {
        Some(Outcome::Errno(errno) | Outcome::Forget(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Some(Outcome::Short(_)) | None => Ok(()),
    }
}

fn index(call: Call) -> usize {
    CALLS.iter().position(|other| *other == call).unwrap_or(0)
}
