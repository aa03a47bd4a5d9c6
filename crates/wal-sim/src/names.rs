//! The directories of the simulated disk: names now, names for good, and the changes in between.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use wal_segment::Folder;
use wal_segment::os::QUARANTINE_FOLDER;

use crate::choice::{Pick, Unit, UnitKind};

/// The name of the log directory itself.
const LOG: &str = "";
/// What a directory is instead of a file's number.
pub(crate) const FOLDER_ID: u64 = 0;

/// One change of names, which is there as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Put { name: String, id: u64 },
    Remove { name: String },
    Move { from: String, to: String },
}

impl Change {
    fn names(&self) -> [&str; 2] {
        match self {
            Self::Put { name, .. } | Self::Remove { name } => [name, name],
            Self::Move { from, to } => [from, to],
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Put { name, .. } => format!("create {name:?}"),
            Self::Remove { name } => format!("remove {name:?}"),
            Self::Move { from, to } => format!("rename {from:?} {to:?}"),
        }
    }

    /// Whether this one can only be there when `earlier` is: both change the same name, or the earlier
    /// one made the directory that this one happened in.
    fn needs(&self, earlier: &Self) -> bool {
        self.names().iter().any(|mine| {
            earlier.names().iter().any(|theirs| {
                mine == theirs || (*theirs == QUARANTINE_FOLDER && folder_of(mine) == Folder::Quarantine)
            })
        })
    }

    fn apply(&self, map: &mut BTreeMap<String, u64>) {
        match self {
            Self::Put { name, id } => {
                map.insert(name.clone(), *id);
            }
            Self::Remove { name } => {
                map.remove(name);
            }
            Self::Move { from, to } => {
                if let Some(id) = map.remove(from) {
                    map.insert(to.clone(), id);
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Pending {
    change: Change,
    /// Folders that must still be synced before it is durable.
    waits_for: Vec<Folder>,
}

/// All names below and including the log directory. A missing log directory has no name "".
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) live: Arc<BTreeMap<String, u64>>,
    durable: Arc<BTreeMap<String, u64>>,
    pending: Vec<Pending>,
}

impl Names {
    pub(crate) fn get(&self, name: &str) -> io::Result<u64> {
        self.live.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.live.contains_key(name)
    }

    pub(crate) fn has_log(&self) -> bool {
        self.has(LOG)
    }

    pub(crate) fn put(&mut self, name: &str, id: u64) {
        self.change(Change::Put { name: name.to_owned(), id });
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.change(Change::Remove { name: name.to_owned() });
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        if from != to {
            self.change(Change::Move { from: from.to_owned(), to: to.to_owned() });
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.live));
        let mut waits_for: Vec<Folder> = change.names().map(folder_of).to_vec();
        waits_for.dedup();
        self.pending.push(Pending { change, waits_for });
    }

    /// What happened in the folder is durable, as far as what it rests on is.
    pub(crate) fn sync(&mut self, folder: Folder) {
        for pending in &mut self.pending {
            pending.waits_for.retain(|other| *other != folder);
        }
        let mut left: Vec<Pending> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let rests_on = left.iter().any(|earlier| pending.change.needs(&earlier.change));
            if rests_on || !pending.waits_for.is_empty() {
                left.push(pending);
            } else {
                pending.change.apply(Arc::make_mut(&mut self.durable));
            }
        }
        self.pending = left;
    }

    pub(crate) fn units(&self, units: &mut Vec<Unit>) {
        for pending in &self.pending {
            let kind = UnitKind::Name(pending.change.text());
            units.push(Unit { kind, states: 2, garbage: false });
        }
    }

    /// The names after power loss; takes as many picks as there were units.
    pub(crate) fn after(&self, picks: &mut impl Iterator<Item = Pick>) -> Self {
        let mut map = Arc::clone(&self.durable);
        let mut undone: Vec<&Change> = Vec::new();
        for pending in &self.pending {
            let wanted = picks.next().is_some_and(|pick| pick != Pick::State(0));
            if !wanted || undone.iter().any(|earlier| pending.change.needs(earlier)) {
                undone.push(&pending.change);
            } else {
                pending.change.apply(Arc::make_mut(&mut map));
            }
        }
        if !map.contains_key(LOG) {
            map = Arc::default();
        }
        Self { live: Arc::clone(&map), durable: map, pending: Vec::new() }
    }
}

/// The folder whose sync makes a change of this name durable.
pub(crate) fn folder_of(name: &str) -> Folder {
    if name == LOG {
        Folder::Parent
    } else if name.strip_prefix(QUARANTINE_FOLDER).is_some_and(|rest| rest.starts_with('/')) {
        Folder::Quarantine
    } else {
        Folder::Log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Pick = Pick::State(1);
    const LOST: Pick = Pick::State(0);

    fn log() -> Names {
        let mut names = Names::default();
        names.put(LOG, FOLDER_ID);
        names.sync(Folder::Parent);
        names
    }

    fn after(names: &Names, picks: &[Pick]) -> Vec<String> {
        let map = names.after(&mut picks.iter().copied()).live;
        map.keys().filter(|name| *name != LOG).cloned().collect()
    }

    #[test]
    fn changes_of_different_names_survive_in_any_order() {
        let mut names = log();
        names.put("a", 1);
        names.put("b", 2);
        assert_eq!(after(&names, &[LOST, KEPT]), ["b"]);
        assert_eq!(after(&names, &[KEPT, LOST]), ["a"]);
        assert!(after(&names, &[LOST, LOST]).is_empty());
    }

    #[test]
    fn changes_of_one_name_survive_in_their_order() {
        let mut names = log();
        names.put("a", 1);
        names.rename("a", "b");
        assert!(after(&names, &[LOST, KEPT]).is_empty());
        assert_eq!(after(&names, &[KEPT, LOST]), ["a"]);
        assert_eq!(after(&names, &[KEPT, KEPT]), ["b"]);
    }

    #[test]
    fn a_move_between_folders_needs_both_synced() {
        let mut names = log();
        names.put("a", 1);
        names.put(QUARANTINE_FOLDER, FOLDER_ID);
        names.sync(Folder::Log);
        names.rename("a", "quarantine/b");
        names.sync(Folder::Quarantine);
        assert_eq!(after(&names, &[LOST]), ["a", "quarantine"]);
        names.sync(Folder::Log);
        assert_eq!(after(&names, &[]), ["quarantine", "quarantine/b"]);
    }

    #[test]
    fn names_in_a_folder_that_is_lost_are_lost() {
        let mut names = log();
        names.put(QUARANTINE_FOLDER, FOLDER_ID);
        names.put("quarantine/b", 1);
        names.sync(Folder::Quarantine);
        assert!(after(&names, &[LOST, KEPT]).is_empty());
        names.sync(Folder::Log);
        assert_eq!(after(&names, &[]), ["quarantine", "quarantine/b"]);
        let mut fresh = Names::default();
        fresh.put(LOG, FOLDER_ID);
        fresh.put("a", 1);
        fresh.sync(Folder::Log);
        assert!(after(&fresh, &[LOST, KEPT]).is_empty());
    }
}
