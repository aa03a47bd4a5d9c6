//! Calls that fail, fall short, or lie.

use std::io;

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
