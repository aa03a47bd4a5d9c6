//! The words of a time-series write-ahead log: references, labels, samples, intervals, stones.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod varint;

mod interval;
mod label;
mod labels;
mod sample;
mod series;
mod series_ref;
mod stone;

pub use interval::{Interval, Intervals};
pub use label::Label;
pub use labels::{Labels, LabelsIter};
pub use sample::Sample;
pub use series::Series;
pub use series_ref::SeriesRef;
pub use stone::{Stone, StoneRow};
