//! What was tried, counted; and how many images were distinct over all histories.

use super::history::is_structural;
use super::run::Run;

/// Registers of the sketch that counts distinct images: the error is one part in a hundred or so.
const REGISTERS: usize = 1 << 14;

/// What was tried.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Moments of histories at which power was lost, and at how many of them in every way there is.
    pub moments: u64,
    pub moments_in_full: u64,
    /// Durable images that a log was opened on, gone on with and reopened; those of one history are distinct.
    pub states: u64,
    /// Of these, within a recovery or what follows it.
    pub nested: u64,
    /// Of these, from histories with rotation or truncation, or in need of repair.
    pub structural: u64,
    /// Processes that died while the machine went on.
    pub killed: u64,
    /// Logs opened.
    pub opened: u64,
    /// Recoveries that repaired something.
    pub repaired: u64,
    /// Recoveries that called a torn tail damage, as they may when no mark tells the two apart.
    pub called_damage: u64,
    sketch: Vec<u8>,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            moments: 0,
            moments_in_full: 0,
            states: 0,
            nested: 0,
            structural: 0,
            killed: 0,
            opened: 0,
            repaired: 0,
            called_damage: 0,
            sketch: vec![0; REGISTERS],
        }
    }
}

impl Totals {
    /// Counts one image that a run was made on.
    pub fn count(&mut self, run: &Run, history: &str, depth: usize) {
        self.states += 1;
        self.opened += 2;
        self.nested += u64::from(1 < depth);
        self.called_damage += run.called_damage;
        self.repaired += u64::from(run.repaired != 0);
        self.structural += u64::from(run.repaired != 0 || is_structural(history));
    }

    /// Remembers an image by its fingerprint, in a few bytes however many there are: the longest run of
    /// zeros of its hash, in one of many registers.
    pub fn image(&mut self, fingerprint: u64) {
        let hash = wal_sim::Rng::new(fingerprint).next_u64();
        let at = usize::try_from(hash % REGISTERS as u64).unwrap();
        let zeros = u8::try_from((hash / REGISTERS as u64).trailing_zeros().min(50)).unwrap() + 1;
        self.sketch[at] = self.sketch[at].max(zeros);
    }

    /// About how many images were distinct, whatever history they are from.
    #[allow(clippy::cast_possible_truncation)]
    pub fn distinct(&self) -> u64 {
        let m = REGISTERS as f64;
        let sum: f64 = self.sketch.iter().map(|zeros| 0.5_f64.powi(i32::from(*zeros))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty = self.sketch.iter().filter(|zeros| **zeros == 0).count() as f64;
        // Where many registers are empty, their number tells more.
        let small = raw <= 2.5 * m && empty != 0.0;
        (if small { m * (m / empty).ln() } else { raw }) as u64
    }

    pub fn add(&mut self, other: &Self) {
        self.moments += other.moments;
        self.moments_in_full += other.moments_in_full;
        self.states += other.states;
        self.nested += other.nested;
        self.structural += other.structural;
        self.killed += other.killed;
        self.opened += other.opened;
        self.repaired += other.repaired;
        self.called_damage += other.called_damage;
        for (mine, theirs) in self.sketch.iter_mut().zip(&other.sketch) {
            *mine = (*mine).max(*theirs);
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |part: u64| 100 * part / self.states.max(1);
        write!(
            f,
            "{} states ({} distinct over all histories, about), {} % nested, {} % structural, {} % repaired; \
             {} of {} moments in every way; {} kills; {} logs opened; {} unmarked holes called damage",
            self.states,
            self.distinct(),
            share(self.nested),
            share(self.structural),
            share(self.repaired),
            self.moments_in_full,
            self.moments,
            self.killed,
            self.opened,
            self.called_damage,
        )
    }
}
