//! The bytes of the log and what they mean: header, entry framing, payloads.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(clippy::as_conversions)]

pub mod checksum;
pub mod fuzzing;
pub mod layout;

mod buffer;
mod cursor;
mod decode;
mod deletes;
mod entry;
mod error;
mod header;
mod labels_view;
mod resync;
mod run;
mod samples;
mod scan;
mod series;
mod word;

pub use buffer::{DecodedSamples, SampleBuffer};
pub use deletes::{DeletesIter, DeletesPayload, decode_deletes, encode_deletes, frame_deletes};
pub use entry::{Entry, EntryKind, Framed, Payload, frame_payload};
pub use error::{DecodeError, DecodeErrorKind, ItemTooLarge};
pub use header::{HeaderFault, SegmentHeader};
pub use labels_view::{LabelsView, LabelsViewIter, SeriesView};
pub use resync::{Found, Progress, Resync};
pub use samples::{SamplesIter, SamplesPayload, decode_samples, encode_samples, frame_samples};
pub use scan::{EntryEnd, EntryFault, Step, all_zero, frame_bytes, next_entry};
pub use series::{CheckedSeries, SeriesBuffer, SeriesIter, SeriesPayload, encode_series, frame_series};
