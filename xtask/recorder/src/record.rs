//! The record: writes and flushes in the order in which they reached the disk, and what a crash may leave of them.

use std::str::FromStr;

use crate::disk::Disk;

/// What a disk may tear a write into.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
enum Event {
    Write(u64, Vec<u8>),
    /// Answered with yes: every write before it is durable.
    Flush,
}

/// What becomes of writes that no flush has covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All are lost.
    None,
    /// All are there.
    All,
    /// Each by a draw: there, lost, or torn.
    Mixed,
    /// All are there but one that is lost.
    ButOne,
    /// All are lost but one that is there.
    OnlyOne,
    /// All before one are there, it is torn, and all behind it are lost.
    Cut,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "all" => Ok(Self::All),
            "mixed" => Ok(Self::Mixed),
            "but-one" => Ok(Self::ButOne),
            "only-one" => Ok(Self::OnlyOne),
            "cut" => Ok(Self::Cut),
            other => Err(format!("no kind of crash is called {other}")),
        }
    }
}

/// A disk and how it came to be what it is.
#[derive(Debug)]
pub(crate) struct Record {
    before: Disk,
    now: Disk,
    events: Vec<Event>,
    /// Whether writes fail.
    pub(crate) refuse: bool,
    refused: u64,
}

impl Record {
    pub(crate) fn new(bytes: u64) -> Self {
        let disk = Disk::new(bytes);
        Self { before: disk.clone(), now: disk, events: Vec::new(), refuse: false, refused: 0 }
    }

    /// The record begins with the disk as it is.
    pub(crate) fn start(&mut self) {
        self.before = self.now.clone();
        self.events.clear();
    }

    pub(crate) fn now(&self) -> &Disk {
        &self.now
    }

    /// Takes a write, unless writes fail.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> bool {
        if self.refuse {
            self.refused += 1;
            return false;
        }
        self.now.write(offset, data);
        self.events.push(Event::Write(offset, data.to_vec()));
        true
    }

    pub(crate) fn flush(&mut self) {
        self.events.push(Event::Flush);
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn counts(&self) -> String {
        let (mut writes, mut bytes) = (0_usize, 0);
        for event in &self.events {
            if let Event::Write(_, data) = event {
                writes += 1;
                bytes += data.len();
            }
        }
        let (flushes, refused) = (self.events.len() - writes, self.refused);
        format!("{writes} {bytes} {flushes} {refused}")
    }

    /// What the disk may be if power fails after the first `point` events.
    pub(crate) fn image(&self, point: usize, kind: Kind, seed: u64) -> Result<Disk, String> {
        let events = self.events.get(..point).ok_or_else(|| format!("no point {point} in {}", self.len()))?;
        let flushed = events.iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        let mut disk = self.before.clone();
        let mut open = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if let Event::Write(offset, data) = event {
                if index < flushed { disk.write(*offset, data) } else { open.push((*offset, &**data)) }
            }
        }
        let mut draw = Draw(seed);
        let one = draw.below(open.len());
        for (index, (offset, data)) in open.into_iter().enumerate() {
            let fate = match kind {
                Kind::None => Fate::Lost,
                Kind::All => Fate::There,
                Kind::Mixed => draw.fate(),
                Kind::ButOne => Fate::there(index != one),
                Kind::OnlyOne => Fate::there(index == one),
                Kind::Cut if index == one => Fate::Torn,
                Kind::Cut => Fate::there(index < one),
            };
            match fate {
                Fate::Lost => {}
                Fate::There => disk.write(offset, data),
                Fate::Torn => {
                    for (sector, part) in data.chunks(SECTOR_BYTES).enumerate() {
                        if draw.below(2) == 0 {
                            disk.write(offset + (sector * SECTOR_BYTES) as u64, part);
                        }
                    }
                }
            }
        }
        Ok(disk)
    }
}

enum Fate {
    Lost,
    There,
    Torn,
}

impl Fate {
    fn there(there: bool) -> Self {
        if there { Self::There } else { Self::Lost }
    }
}

/// Draws from a seed, equal on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (end.max(1) as u64)).unwrap_or(0)
    }

    fn fate(&mut self) -> Fate {
        match self.below(5) {
            0 | 1 => Fate::Lost,
            2 | 3 => Fate::There,
            _ => Fate::Torn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [&str; 6] = ["none", "all", "mixed", "but-one", "only-one", "cut"];

    /// Two blocks flushed, then three that are not.
    fn record() -> Record {
        let mut record = Record::new(8 * 4096);
        record.write(0, &[9; 4096]);
        record.start();
        for block in 0..5_u8 {
            if block == 2 {
                record.flush();
            }
            record.write(4096 * u64::from(block), &[block + 1; 4096]);
        }
        record
    }

    #[test]
    fn what_was_flushed_is_in_every_image_whatever_the_draw() {
        let record = record();
        for kind in KINDS {
            for seed in 0..50 {
                let image = record.image(record.len(), kind.parse().unwrap(), seed).unwrap();
                assert_eq!(image.read(0, 8192), [[1; 4096], [2; 4096]].concat(), "{kind} {seed}");
            }
        }
    }

    #[test]
    fn a_point_before_the_flush_knows_nothing_of_it() {
        let record = record();
        let image = record.image(2, Kind::None, 0).unwrap();
        assert_eq!(image.read(0, 8192), [[9; 4096], [0; 4096]].concat());
        assert!(record.image(7, Kind::None, 0).is_err());
    }

    #[test]
    fn torn_writes_mix_old_and_new_sectors_and_nothing_else() {
        let record = record();
        let mut torn = 0;
        for seed in 0..50 {
            let image = record.image(record.len(), Kind::Mixed, seed).unwrap();
            for (block, new) in [(2, 3_u8), (3, 4), (4, 5)] {
                let sectors: Vec<u8> = (0..8)
                    .map(|sector| {
                        let found = image.read(block * 4096 + sector * 512, 512);
                        assert!(found == vec![0; 512] || found == vec![new; 512]);
                        found[0]
                    })
                    .collect();
                torn += usize::from(sectors.contains(&0) && sectors.contains(&new));
            }
        }
        assert!(10 < torn, "{torn}");
    }

    #[test]
    fn extremes_keep_none_all_or_one() {
        let record = record();
        let kept = |kind| {
            let image = record.image(record.len(), kind, 3).unwrap();
            (2..5).filter(|block| image.read(block * 4096, 1) != [0]).count()
        };
        let found: Vec<usize> = [Kind::None, Kind::OnlyOne, Kind::ButOne, Kind::All].map(kept).into();
        assert_eq!(found, [0, 1, 2, 3]);
    }

    #[test]
    fn a_refused_write_leaves_nothing() {
        let mut record = record();
        let len = record.len();
        record.refuse = true;
        assert!(!record.write(0, &[7; 512]));
        assert_eq!((record.len(), record.now().read(0, 1)), (len, vec![1]));
        assert_eq!(record.counts(), "5 20480 1 1");
    }
}
