//! What power loss may decide: one choice for every change that no sync has covered.

use crate::rng::Rng;

/// What became of one pending change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pick {
    /// The n-th state since the last sync survives: 0 is the durable one, the highest the newest.
    State(u8),
    /// The sector holds bytes that nobody wrote.
    Garbage,
}

/// A change that is not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What it is a change of.
    pub kind: UnitKind,
    /// How many states may survive: at least 2, unless garbage is the only other.
    pub states: u8,
    /// Whether garbage may survive too: only where the sector held no durable byte.
    pub garbage: bool,
}

/// What a pending change is a change of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A name: created, renamed or removed. The text says which.
    Name(String),
    /// The size of a file, which is named by its number on the disk.
    Size(u64),
    /// One sector of a file.
    Sector(u64, usize),
    /// All sectors of a file that were written with zeros and hold no durable byte.
    Zeros(u64),
}

impl Unit {
    /// All picks that the unit allows.
    fn picks(&self, with_garbage: bool) -> impl Iterator<Item = Pick> {
        let garbage = (with_garbage && self.garbage).then_some(Pick::Garbage);
        (0..self.states).map(Pick::State).chain(garbage)
    }

    fn count(&self, with_garbage: bool) -> usize {
        usize::from(self.states) + usize::from(with_garbage && self.garbage)
    }
}

/// How many ways of losing power at one moment are tried.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// Up to so many all of them are.
    pub all_up_to: usize,
    /// Else so many are drawn.
    pub drawn: usize,
    /// Whether sectors may hold garbage.
    pub garbage: bool,
}

impl Ways {
    /// The picks to try for these units: everything when there are few, else nothing lost, everything
    /// lost, and draws of several kinds.
    pub fn of(&self, units: &[Unit], rng: &mut Rng) -> Vec<Vec<Pick>> {
        let product = self.count(units);
        if product <= self.all_up_to {
            return self.every(units, product);
        }
        let mut ways = Vec::with_capacity(self.drawn + 2);
        for draw in 0..self.drawn {
            let way = match draw {
                0 => units.iter().map(|_| Pick::State(0)).collect(),
                1 => units.iter().map(newest).collect(),
                _ => self.draw(units, rng),
            };
            ways.push(way);
        }
        ways
    }

    /// How many ways there are in all.
    #[must_use]
    pub fn count(&self, units: &[Unit]) -> usize {
        units.iter().fold(1, |product, unit| product.saturating_mul(unit.count(self.garbage)))
    }

    fn every(&self, units: &[Unit], product: usize) -> Vec<Vec<Pick>> {
        let mut ways = vec![Vec::with_capacity(units.len()); product];
        let mut repeat = 1;
        for unit in units {
            let picks: Vec<Pick> = unit.picks(self.garbage).collect();
            for (index, way) in ways.iter_mut().enumerate() {
                way.extend(picks.get(index / repeat % picks.len()));
            }
            repeat *= picks.len();
        }
        ways
    }

    /// One draw.
    pub fn draw(&self, units: &[Unit], rng: &mut Rng) -> Vec<Pick> {
        if units.is_empty() {
            return Vec::new();
        }
        // One coin for all would never lose a single sector out of fifty.
        let style = rng.below(5);
        let odd = rng.below(units.len());
        let each = units.iter().enumerate().map(|(index, unit)| {
            let any = |rng: &mut Rng| unit.picks(self.garbage).nth(rng.below(unit.count(self.garbage)));
            let pick = match style {
                0 if index != odd => Some(newest(unit)),
                1 if index != odd => Some(Pick::State(0)),
                2 if !rng.one_in(8) => Some(newest(unit)),
                3 if !rng.one_in(8) => Some(Pick::State(0)),
                _ => any(rng),
            };
            pick.unwrap_or(Pick::State(0))
        });
        each.collect()
    }
}

fn newest(unit: &Unit) -> Pick {
    Pick::State(unit.states.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(states: u8, garbage: bool) -> Unit {
        Unit { kind: UnitKind::Size(1), states, garbage }
    }

    #[test]
    fn few_units_are_enumerated_without_repetition() {
        let ways = Ways { all_up_to: 12, drawn: 3, garbage: true };
        let mut all = ways.of(&[unit(2, true), unit(2, false), unit(2, false)], &mut Rng::new(1));
        assert_eq!(all.len(), 12);
        all.sort_by_key(|way| format!("{way:?}"));
        all.dedup();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn many_units_are_drawn_with_both_extremes() {
        let ways = Ways { all_up_to: 8, drawn: 5, garbage: false };
        let units = vec![unit(2, true); 10];
        let drawn = ways.of(&units, &mut Rng::new(1));
        assert_eq!(drawn.len(), 5);
        assert_eq!(drawn[0], vec![Pick::State(0); 10]);
        assert_eq!(drawn[1], vec![Pick::State(1); 10]);
        assert!(drawn.iter().flatten().all(|pick| *pick != Pick::Garbage));
    }
}
