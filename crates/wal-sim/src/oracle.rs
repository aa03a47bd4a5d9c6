//! What a log may hold after power loss. A few lines that share nothing with the log's own reader.

use std::fmt::Debug;

use crate::block::mix;

/// What was appended, and how much of it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Story<T> {
    entries: Vec<T>,
    durable: usize,
}

/// The promise P0: every durable entry comes back, in order, once, unchanged; later ones only as an
/// unbroken run behind them; nothing else.
///
/// While a truncation is under way there are two stories, the old log and the new one, and exactly
/// one of them must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oracle<T> {
    stories: Vec<Story<T>>,
    /// So many of the stories, the last ones, are what a truncation makes of the others if all goes well.
    complete: usize,
}

impl<T> Default for Oracle<T> {
    fn default() -> Self {
        Self { stories: vec![Story { entries: Vec::new(), durable: 0 }], complete: 1 }
    }
}

impl<T: Clone + PartialEq + Debug> Oracle<T> {
    /// A log of which exactly these entries must come back.
    #[must_use]
    pub fn exactly(entries: Vec<T>) -> Self {
        let durable = entries.len();
        Self { stories: vec![Story { entries, durable }], complete: 1 }
    }

    /// An entry is about to be appended.
    pub fn append(&mut self, entry: &T) {
        for story in &mut self.stories {
            story.entries.push(entry.clone());
        }
    }

    /// The entry that was about to be appended was refused.
    pub fn refuse(&mut self) {
        for story in &mut self.stories {
            story.entries.pop();
        }
    }

    /// Everything appended so far was acknowledged.
    pub fn acknowledge(&mut self) {
        for story in &mut self.stories {
            story.durable = story.entries.len();
        }
    }

    /// From now on the log may be this one instead: what is left of the entries, each kept, changed or
    /// dropped. What was durable stays so.
    pub fn may_become(&mut self, change: impl Fn(&T) -> Option<T>) {
        self.may_become_one_of(std::slice::from_ref(&change));
    }

    /// The same where something may be left half done, as a truncation may be on a full disk: from now on
    /// the log may be any of these. The last one is the whole.
    pub fn may_become_one_of(&mut self, changes: &[impl Fn(&T) -> Option<T>]) {
        let mut fresh: Vec<Story<T>> = Vec::new();
        for change in changes {
            fresh.extend(self.stories.iter().map(|story| story.changed(change)));
        }
        self.complete = self.stories.len();
        self.stories.append(&mut fresh);
    }

    /// The log is what it could become last.
    pub fn has_become(&mut self) {
        self.stories.drain(..self.stories.len().saturating_sub(self.complete));
    }

    /// These entries came back, and are what the log holds now; nothing more of them is durable than was.
    pub fn came_back(&mut self, entries: Vec<T>) {
        let durable = self.stories.iter().map(|story| story.durable).min().unwrap_or(0);
        self.stories = vec![Story { durable: durable.min(entries.len()), entries }];
        self.complete = 1;
    }

    /// All entries, of the last of the stories.
    #[must_use]
    pub fn entries(&self) -> &[T] {
        self.stories.last().map_or(&[], |story| &story.entries)
    }

    /// Whether everything appended is durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.stories.iter().all(|story| story.durable == story.entries.len())
    }

    /// Judges what came back.
    ///
    /// # Errors
    /// What was lost, changed or invented.
    pub fn check(&self, found: &[T]) -> Result<(), String> {
        self.one_tells(|story| story.check(found))
    }

    /// The same where the log was told to go on behind damage, and no mark could tell it that a crash was
    /// none: what was not durable may be missing anywhere.
    ///
    /// # Errors
    /// What was durable and is lost, or what was changed or invented.
    pub fn check_with_gaps(&self, found: &[T]) -> Result<(), String> {
        self.one_tells(|story| story.check_with_gaps(found))
    }

    fn one_tells(&self, judge: impl Fn(&Story<T>) -> Result<(), String>) -> Result<(), String> {
        let mut problems = Vec::new();
        for story in &self.stories {
            match judge(story) {
                Ok(()) => return Ok(()),
                Err(problem) => problems.push(problem),
            }
        }
        Err(problems.join("; or "))
    }

    /// A number that tells this oracle from another of the same history, for one that visits each disk once.
    #[must_use]
    pub fn shape_number(&self) -> u64 {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let each = self.stories.iter();
        each.fold(0, |hash, story| mix(mix(hash, number(story.entries.len())), number(story.durable)))
    }
}

impl<T: Clone> Story<T> {
    fn changed(&self, change: impl Fn(&T) -> Option<T>) -> Self {
        let (durable, later) = self.entries.split_at(self.durable.min(self.entries.len()));
        let mut entries: Vec<T> = durable.iter().filter_map(&change).collect();
        let durable = entries.len();
        entries.extend(later.iter().filter_map(&change));
        Self { entries, durable }
    }
}

impl<T: PartialEq + Debug> Story<T> {
    fn check_with_gaps(&self, found: &[T]) -> Result<(), String> {
        let mut left = found.iter().peekable();
        for (index, entry) in self.entries.iter().enumerate() {
            if left.next_if(|next| *next == entry).is_none() && index < self.durable {
                return Err(format!("lost: durable entry {index}: {entry:?}"));
            }
        }
        left.next().map_or(Ok(()), |entry| Err(format!("invented or reordered: {entry:?}")))
    }

    fn check(&self, found: &[T]) -> Result<(), String> {
        if found.len() < self.durable {
            let lost = &self.entries.get(found.len());
            return Err(format!(
                "lost: {} entries are durable, {} came back; the first lost: {lost:?}",
                self.durable,
                found.len()
            ));
        }
        for (index, entry) in found.iter().enumerate() {
            match self.entries.get(index) {
                None => return Err(format!("invented: entry {index} was never appended: {entry:?}")),
                Some(wanted) if wanted != entry => {
                    return Err(format!("reordered: entry {index} should be {wanted:?}, is {entry:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle() -> Oracle<u32> {
        let mut oracle = Oracle::default();
        for n in 1..=3 {
            oracle.append(&n);
        }
        oracle.acknowledge();
        oracle.append(&4);
        oracle
    }

    #[test]
    fn a_run_that_holds_everything_durable_passes() {
        assert!(oracle().check(&[1, 2, 3]).is_ok());
        assert!(oracle().check(&[1, 2, 3, 4]).is_ok());
    }

    #[test]
    fn lost_changed_repeated_reordered_and_invented_entries_fail() {
        let bad: [&[u32]; 6] =
            [&[1, 2], &[1, 9, 3], &[1, 2, 2, 3], &[1, 3, 2], &[1, 2, 3, 4, 5], &[1, 2, 3, 5]];
        for found in bad {
            assert!(oracle().check(found).is_err(), "{found:?}");
        }
    }

    #[test]
    fn a_truncation_is_there_as_a_whole_or_not_at_all() {
        let mut oracle = oracle();
        oracle.may_become(|n| (*n != 1 && *n != 2).then_some(*n));
        assert!(oracle.check(&[1, 2, 3]).is_ok());
        assert!(oracle.check(&[3, 4]).is_ok());
        assert!(oracle.check(&[2, 3]).is_err());
        assert!(oracle.check(&[1, 2, 3, 3]).is_err());
        oracle.has_become();
        assert!(oracle.check(&[1, 2, 3]).is_err());
        assert!(oracle.check(&[3]).is_ok());
    }

    #[test]
    fn a_truncation_that_may_stop_half_way_is_one_of_its_parts() {
        let mut oracle = oracle();
        let without = |gone: &'static [u32]| move |n: &u32| (!gone.contains(n)).then_some(*n);
        oracle.may_become_one_of(&[without(&[1]), without(&[2]), without(&[1, 2])]);
        for found in [[1, 2, 3].as_slice(), &[2, 3], &[1, 3, 4], &[3]] {
            assert!(oracle.check(found).is_ok(), "{found:?}");
        }
        assert!(oracle.check(&[1, 2]).is_err());
        oracle.has_become();
        assert_eq!(oracle.entries(), [3, 4]);
        assert!(!oracle.is_durable());
    }

    #[test]
    fn gaps_may_take_only_what_was_not_durable() {
        let mut oracle = oracle();
        oracle.append(&5);
        assert!(oracle.check_with_gaps(&[1, 2, 3, 5]).is_ok());
        assert!(oracle.check_with_gaps(&[1, 2, 3]).is_ok());
        let bad: [&[u32]; 4] = [&[1, 3, 4, 5], &[1, 2, 3, 5, 4], &[1, 2, 3, 3], &[1, 2, 3, 6]];
        for found in bad {
            assert!(oracle.check_with_gaps(found).is_err(), "{found:?}");
        }
    }
}
