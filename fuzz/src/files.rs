//! A log directory as a few bytes: what the target `directory` is given, and its mutator takes apart.

use wal_engine::intent::{INTENT_FILE, rewrite_name};
use wal_engine::mark::MARK_FILE;
use wal_format::SegmentHeader;
use wal_segment::dir::{segment_name, temporary_name};
use wal_segment::{Folder, Storage};
use wal_sim::SimDisk;

/// One file: a byte that says which, two of length, and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which file, and what is added to its bytes.
    pub code: u8,
    /// What is in it, less what the code adds.
    pub bytes: Vec<u8>,
}

/// A directory, and how it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Bits that choose how the directory is opened and gone on with.
    pub settings: u8,
    /// Its files.
    pub pieces: Vec<Piece>,
}

/// Added to a code: the segment's header stands before the bytes.
pub const WITH_HEADER: u8 = 0x80;
/// Added to a code: zeros stand behind the bytes.
pub const WITH_ZEROS: u8 = 0x40;
/// The code of the mark's file, whose bytes are two halves, one for each slot.
pub const MARK: u8 = 8;
/// The code of the intent's file.
pub const INTENT: u8 = 9;
/// Segments have the codes below this one.
pub const SEGMENTS: u8 = 8;

const PIECES_MAX: usize = 12;
const PIECE_HEAD_BYTES: usize = 3;
const SLOT_BYTES: usize = 512;
const ZEROS: usize = 600;

impl Files {
    /// Takes bytes for a directory. Any bytes are one.
    pub fn parse(data: &[u8]) -> Self {
        let Some((settings, mut rest)) = data.split_first() else { return Self::default() };
        let mut pieces = Vec::new();
        while let [code, high, low, behind @ ..] = rest
            && pieces.len() < PIECES_MAX
        {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
            let (bytes, next) = behind.split_at(length);
            pieces.push(Piece { code: *code, bytes: bytes.to_vec() });
            rest = next;
        }
        Self { settings: *settings, pieces }
    }

    /// The bytes that [`parse`](Self::parse) takes for this directory, at most so many of them.
    pub fn compose(&self, bytes_max: usize) -> Vec<u8> {
        let mut data = vec![self.settings];
        for piece in &self.pieces {
            if bytes_max < data.len() + PIECE_HEAD_BYTES {
                break;
            }
            let room = (bytes_max - data.len() - PIECE_HEAD_BYTES).min(usize::from(u16::MAX));
            let bytes = &piece.bytes[..piece.bytes.len().min(room)];
            data.push(piece.code);
            data.extend(u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
            data.extend(bytes);
        }
        data
    }

    /// The directory on a disk, all of it durable. Of two files with one name the first counts.
    pub fn disk(&self) -> SimDisk {
        let sim = SimDisk::new(wal_sim::Disk::new());
        let made = (|| -> std::io::Result<()> {
            sim.create_log_folder()?;
            sim.sync_folder(Folder::Parent)?;
            for piece in &self.pieces {
                let name = piece.name();
                if name.contains('/') {
                    sim.create_quarantine()?;
                }
                match sim.create_new(&name) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                    file => {
                        let file = file?;
                        file.write_at(&piece.contents(), 0)?;
                        file.sync()?;
                    }
                }
            }
            sim.sync_folder(Folder::Log)?;
            let quarantine = sim.sync_folder(Folder::Quarantine);
            quarantine.or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        })();
        made.unwrap_or_else(|error| panic!("the simulated disk refused a file: {error}"));
        sim
    }
}

impl Piece {
    /// The name of the file.
    pub fn name(&self) -> String {
        match self.code & 0x3f {
            6 => "7".to_owned(),
            7 => segment_name(u64::MAX),
            MARK => MARK_FILE.to_owned(),
            INTENT => INTENT_FILE.to_owned(),
            code @ 10..=13 => rewrite_name(u64::from(code) - 9),
            14 => temporary_name("other"),
            15 => "quarantine/000001-000001-8.cut".to_owned(),
            16 => "quarantine/000009-18446744073709551615-0.cut".to_owned(),
            17 => "quarantine/notes".to_owned(),
            18 => "notes.txt".to_owned(),
            19 => "compact.tmp".to_owned(),
            20 => "reserve".to_owned(),
            21 => "000007".to_owned(),
            22 => "00000000000000000000".to_owned(),
            23 => segment_name(u64::MAX - 1),
            code => segment_name(u64::from(code % 6) + 1),
        }
    }

    /// Everything in the file.
    pub fn contents(&self) -> Vec<u8> {
        let mut contents = Vec::new();
        if self.code & 0x3f == MARK {
            let (first, second) = self.bytes.split_at(self.bytes.len() / 2);
            for slot in [first, second] {
                contents.extend(&slot[..slot.len().min(SLOT_BYTES)]);
                contents.resize(contents.len().next_multiple_of(SLOT_BYTES), 0);
            }
            return contents;
        }
        if self.code & WITH_HEADER != 0 {
            contents.extend(SegmentHeader::CURRENT.to_bytes());
        }
        contents.extend(&self.bytes);
        if self.code & WITH_ZEROS != 0 {
            contents.resize(contents.len() + ZEROS, 0);
        }
        contents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_back_from_its_bytes() {
        let piece = |code, bytes: &[u8]| Piece { code, bytes: bytes.to_vec() };
        let files =
            Files { settings: 5, pieces: vec![piece(0x81, b"abc"), piece(MARK, b""), piece(9, b"x")] };
        assert_eq!(Files::parse(&files.compose(1000)), files);
        let cut = Files::parse(&files.compose(6));
        assert_eq!(cut.pieces, [piece(0x81, b"ab")]);
        assert_eq!(Files::parse(&[1, 0x81, 255, 255, 7]).pieces, [piece(0x81, &[7])]);
    }

    #[test]
    fn the_disk_holds_what_the_pieces_say() {
        let piece = |code, bytes: &[u8]| Piece { code, bytes: bytes.to_vec() };
        let pieces =
            vec![piece(WITH_HEADER, b"e"), piece(MARK, b"12"), piece(15, b"cut"), piece(0, b"second")];
        let disk = Files { settings: 0, pieces }.disk().disk();
        let header = SegmentHeader::CURRENT.to_bytes();
        assert_eq!(disk.contents("000001"), Some([&header[..], b"e"].concat()));
        let mark = disk.contents("durable").unwrap_or_default();
        assert_eq!((mark.len(), mark[0], mark[SLOT_BYTES]), (2 * SLOT_BYTES, b'1', b'2'));
        assert_eq!(disk.contents("quarantine/000001-000001-8.cut").as_deref(), Some(&b"cut"[..]));
        assert!(disk.units().is_empty(), "all of it is durable");
    }
}
