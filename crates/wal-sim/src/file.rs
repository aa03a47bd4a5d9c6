//! A file of the simulated disk: what readers see, and every state that the disk may hold of it.

use std::io;

use crate::block::{Content, SECTOR_BYTES, content, cut, mix, same, written};
use crate::choice::{Pick, Unit, UnitKind};
use crate::rng::Rng;

/// A sector: what is shown, and what may be on the disk instead.
#[derive(Clone, Debug, Default)]
struct Sector {
    live: Content,
    /// States that power loss may bring back, the durable one first. Empty when `live` is durable.
    older: Vec<Content>,
    /// The next sync makes it durable. Not so after a failed sync that forgot the page.
    dirty: bool,
    /// Bytes were written here, be they zeros: no hole.
    written: bool,
    /// Space is reserved here, which reads as zeros until it is written.
    reserved: bool,
    /// The next sync says yes and does nothing for it.
    unsure: bool,
}

impl Sector {
    fn change(&mut self, to: Content) {
        if !same(&self.live, &to) {
            self.older.push(std::mem::replace(&mut self.live, to));
            self.dirty = true;
        } else if !self.older.is_empty() {
            self.dirty = true;
        }
    }

    fn states(&self) -> u8 {
        u8::try_from(self.older.len() + 1).unwrap_or(u8::MAX - 1)
    }

    fn state(&self, pick: usize) -> &Content {
        self.older.get(pick).unwrap_or(&self.live)
    }
}

/// A file's contents. Names are the directory's matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    sectors: Vec<Sector>,
    len: usize,
    older_lens: Vec<usize>,
    len_dirty: bool,
    /// Whether anything may be lost, so that clean files are passed over.
    pending: bool,
    /// The first bytes in a reserved sector are not made durable by the next sync.
    distrusted: bool,
}

impl File {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether power loss can change anything about it.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    pub(crate) fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let wanted = buffer.len().min(self.len.saturating_sub(offset));
        let mut done = 0;
        while done < wanted {
            let at = offset + done;
            let within = at % SECTOR_BYTES;
            let size = (SECTOR_BYTES - within).min(wanted - done);
            let Some(to) = buffer.get_mut(done..done + size) else { break };
            match self.sectors.get(at / SECTOR_BYTES).and_then(|sector| sector.live.as_ref()) {
                Some(block) => to.copy_from_slice(block.bytes.get(within..within + size).unwrap_or(&[])),
                None => to.fill(0),
            }
            done += size;
        }
        done
    }

    pub(crate) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.grow_table(end);
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done;
            let within = at % SECTOR_BYTES;
            let size = (SECTOR_BYTES - within).min(bytes.len() - done);
            let from = bytes.get(done..done + size).unwrap_or(&[]);
            if let Some(sector) = self.sectors.get_mut(at / SECTOR_BYTES) {
                sector.change(written(&sector.live, within, from));
                sector.unsure |= self.distrusted && sector.reserved && !sector.written;
                sector.written = true;
            }
            done += size;
        }
        self.pending = true;
        if self.len < end {
            self.change_len(end);
        } else if self.older_lens.iter().any(|len| *len < end) {
            // Pages that are written again bring the size with them, also one that a failed sync forgot.
            self.len_dirty = true;
        }
    }

    /// Cuts or extends with a hole.
    pub(crate) fn set_len(&mut self, len: usize) {
        if len < self.len {
            for index in len / SECTOR_BYTES..self.sectors.len() {
                let keep = len.saturating_sub(index * SECTOR_BYTES).min(SECTOR_BYTES);
                if let Some(sector) = self.sectors.get_mut(index) {
                    let now = cut(&sector.live, keep);
                    sector.change(now);
                    sector.reserved &= keep != 0;
                }
            }
        }
        self.grow_table(len);
        self.pending = true;
        if len != self.len {
            self.change_len(len);
        }
    }

    /// Space for this range is there from now on.
    pub(crate) fn reserve(&mut self, from: usize, to: usize, distrusted: bool) {
        self.distrusted |= distrusted;
        let sectors = self.sectors.iter_mut().take(to.div_ceil(SECTOR_BYTES));
        sectors.skip(from / SECTOR_BYTES).for_each(|sector| sector.reserved = true);
    }

    /// Whether a sector takes space on the disk.
    pub(crate) fn takes(&self, index: usize) -> bool {
        index < self.len.div_ceil(SECTOR_BYTES)
            && self
                .sectors
                .get(index)
                .is_some_and(|sector| sector.written || sector.reserved || sector.live.is_some())
    }

    /// How many do.
    pub(crate) fn taken(&self) -> usize {
        (0..self.sectors.len()).filter(|index| self.takes(*index)).count()
    }

    /// Everything shown is durable, except what a failed sync made the cache forget.
    pub(crate) fn sync(&mut self) {
        if !self.pending {
            return;
        }
        let mut left = false;
        for sector in &mut self.sectors {
            if sector.dirty {
                if !std::mem::take(&mut sector.unsure) {
                    sector.older.clear();
                }
                sector.dirty = false;
            }
            left |= !sector.older.is_empty();
        }
        if self.len_dirty {
            self.older_lens.clear();
            self.len_dirty = false;
        }
        self.pending = left || !self.older_lens.is_empty();
        self.sectors.truncate(if self.pending { usize::MAX } else { self.len.div_ceil(SECTOR_BYTES) });
    }

    /// A failed sync: the pages are called clean, so that the next sync passes them over.
    pub(crate) fn forget(&mut self) {
        for sector in &mut self.sectors {
            sector.dirty = false;
        }
        self.len_dirty = false;
    }

    /// Whatever power loss may decide about this file.
    pub(crate) fn units(&self, id: u64, units: &mut Vec<Unit>) {
        if !self.pending {
            return;
        }
        if !self.older_lens.is_empty() {
            let states = u8::try_from(self.older_lens.len() + 1).unwrap_or(u8::MAX - 1);
            units.push(Unit { kind: UnitKind::Size(id), states, garbage: false });
        }
        let mut zeros = false;
        for (index, sector) in self.sectors.iter().enumerate() {
            let bare = self.durable_len() <= index * SECTOR_BYTES && sector.written;
            if !sector.older.is_empty() {
                let kind = UnitKind::Sector(id, index);
                units.push(Unit { kind, states: sector.states(), garbage: bare });
            } else {
                zeros |= bare;
            }
        }
        if zeros {
            units.push(Unit { kind: UnitKind::Zeros(id), states: 1, garbage: true });
        }
    }

    /// The file as the disk has it after power loss; takes as many picks as there were units.
    pub(crate) fn after(&self, id: u64, picks: &mut impl Iterator<Item = Pick>) -> Self {
        let mut next = || match picks.next() {
            Some(Pick::State(n)) => Some(usize::from(n)),
            Some(Pick::Garbage) => None,
            None => Some(0),
        };
        let mut len = self.len;
        if !self.older_lens.is_empty() {
            let pick = next().unwrap_or(0);
            len = self.older_lens.get(pick).copied().unwrap_or(self.len);
        }
        let mut sectors = Vec::with_capacity(self.sectors.len());
        let mut zeros = Vec::new();
        for (index, sector) in self.sectors.iter().enumerate() {
            let bare = self.durable_len() <= index * SECTOR_BYTES && sector.written;
            let live = if sector.older.is_empty() {
                zeros.extend(bare.then_some(index));
                sector.live.clone()
            } else {
                next().map_or_else(|| garbage(id, index), |pick| sector.state(pick).clone())
            };
            // What took space takes it still, so that a full disk is full after power loss.
            let Sector { written, reserved, .. } = *sector;
            sectors.push(Sector { live, written, reserved, ..Sector::default() });
        }
        if !zeros.is_empty() && next().is_none() {
            for index in zeros {
                if let Some(sector) = sectors.get_mut(index) {
                    sector.live = garbage(id, index);
                }
            }
        }
        sectors.resize(len.div_ceil(SECTOR_BYTES), Sector::default());
        if let Some(last) = sectors.last_mut().filter(|_| len % SECTOR_BYTES != 0) {
            last.live = cut(&last.live, len % SECTOR_BYTES);
        }
        Self { sectors, len, ..Self::default() }
    }

    pub(crate) fn fingerprint(&self, hash: u64) -> u64 {
        let mut hash = mix(hash, as_u64(self.len));
        for (index, sector) in self.sectors.iter().enumerate() {
            if let Some(block) = &sector.live {
                hash = mix(mix(hash, as_u64(index)), block.hash);
            }
        }
        hash
    }

    fn durable_len(&self) -> usize {
        self.older_lens.first().copied().unwrap_or(self.len)
    }

    fn change_len(&mut self, len: usize) {
        self.older_lens.push(std::mem::replace(&mut self.len, len));
        self.len_dirty = true;
    }

    fn grow_table(&mut self, len: usize) {
        let sectors = len.div_ceil(SECTOR_BYTES);
        if self.sectors.len() < sectors {
            self.sectors.resize(sectors, Sector::default());
        }
    }
}

/// Bytes that nobody wrote, always the same at the same place.
fn garbage(id: u64, index: usize) -> Content {
    let mut rng = Rng::new(mix(id, as_u64(index)));
    let mut bytes = [0_u8; SECTOR_BYTES];
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&rng.next_u64().to_le_bytes());
    }
    content(bytes)
}

/// A file offset as an index.
pub(crate) fn as_offset(n: u64) -> io::Result<usize> {
    // Far above any test, far below where vectors of sectors would eat the machine.
    usize::try_from(n)
        .ok()
        .filter(|n| *n <= 1 << 30)
        .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
