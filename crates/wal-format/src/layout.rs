//! Every number of the format, and the relations between them. The twin of docs/FORMAT.md, which explains them.

/// The first four bytes of a segment, as a big-endian number.
pub const MAGIC: u32 = 0x43AF_00EF;

/// The only version of the format: the fifth byte of a segment.
pub const VERSION: u8 = 1;

/// Bytes of a segment before its first entry: magic, version, three reserved bytes.
pub const HEADER_BYTES: usize = 8;

/// Bytes of an entry before its payload: kind, flag, payload length.
pub const FRAME_HEADER_BYTES: usize = 6;

/// Bytes of an entry behind its payload: CRC-32C over everything before it in the entry.
pub const CHECKSUM_BYTES: usize = 4;

/// Bytes of an entry that are not payload.
pub const ENTRY_OVERHEAD_BYTES: usize = 10;

/// Where in an entry the payload length stands.
pub const LENGTH_AT: usize = 2;

/// The flag byte of every entry we write; readers ignore the flag.
pub const FLAG_DEFAULT: u8 = 1;

/// Where an entry's kind should be, this says that nothing was ever written from here on.
pub const END_MARK: u8 = 0;

/// Bytes at the front of a samples payload: the reference and the time that differences are taken from.
pub const SAMPLES_BASE_BYTES: usize = 16;

/// The fewest bytes a sample takes: two one-byte differences and the value.
pub const SAMPLE_BYTES_MIN: usize = 10;

/// The most bytes a sample takes: two ten-byte differences and the value.
pub const SAMPLE_BYTES_MAX: usize = 28;

/// The fewest bytes a row of a deletes payload takes: the reference and two one-byte times.
pub const DELETE_ROW_BYTES_MIN: usize = 10;

/// The most bytes a row of a deletes payload takes: the reference and two ten-byte times.
pub const DELETE_ROW_BYTES_MAX: usize = 28;

/// The fewest bytes a series takes: the reference and a label count of zero.
pub const SERIES_ITEM_BYTES_MIN: usize = 9;

/// The fewest bytes a label takes: two lengths of zero.
pub const LABEL_BYTES_MIN: usize = 2;

/// The longest payload that the length field can tell.
pub const PAYLOAD_BYTES_MAX: u32 = u32::MAX;

/// The longest entry that is written unless an option says otherwise.
pub const ENTRY_BYTES_MAX_DEFAULT: u32 = 64 << 20;

const FIXED_BYTES: usize = 8;
const VARINT_BYTES_MIN: usize = 1;
const VARINT_BYTES_MAX: usize = wal_types::varint::UVARINT_BYTES_MAX;

const _: () = assert!(HEADER_BYTES == size_of_val(&MAGIC) + size_of_val(&VERSION) + 3);
const _: () = assert!(FRAME_HEADER_BYTES == LENGTH_AT + size_of_val(&PAYLOAD_BYTES_MAX));
const _: () = assert!(CHECKSUM_BYTES == size_of::<u32>());
const _: () = assert!(ENTRY_OVERHEAD_BYTES == FRAME_HEADER_BYTES + CHECKSUM_BYTES);
const _: () = assert!(SAMPLES_BASE_BYTES == 2 * FIXED_BYTES);
const _: () = assert!(SAMPLE_BYTES_MIN == 2 * VARINT_BYTES_MIN + FIXED_BYTES);
const _: () = assert!(SAMPLE_BYTES_MAX == 2 * VARINT_BYTES_MAX + FIXED_BYTES);
const _: () = assert!(DELETE_ROW_BYTES_MIN == FIXED_BYTES + 2 * VARINT_BYTES_MIN);
const _: () = assert!(DELETE_ROW_BYTES_MAX == FIXED_BYTES + 2 * VARINT_BYTES_MAX);
const _: () = assert!(SERIES_ITEM_BYTES_MIN == FIXED_BYTES + VARINT_BYTES_MIN);
const _: () = assert!(LABEL_BYTES_MIN == 2 * VARINT_BYTES_MIN);
// The first byte of a header must not read as an entry, or a header in the wrong place would.
const _: () = assert!(MAGIC.to_be_bytes()[0] > 4);
