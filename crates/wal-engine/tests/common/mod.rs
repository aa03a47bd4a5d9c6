//! What the integration tests share: a sink that remembers, small batches, a failing disk.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod crowd;
pub mod disk;
pub mod image;
pub mod naive;

use std::path::Path;

use wal_engine::{
    DecodeError, Labels, Position, RecoveryReport, ReplaySink, Sample, Series, SeriesPayload, SeriesRef,
    StoneRow, Wal, WalOptions,
};

/// One entry, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Series(Vec<(u64, String)>),
    Samples(Vec<Sample>),
    Deletes(Vec<StoneRow>),
}

/// Remembers everything it is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    pub items: Vec<Item>,
    pub at: Vec<Position>,
    pub malformed: Vec<Position>,
}

impl ReplaySink for Memory {
    fn series(&mut self, at: Position, batch: &SeriesPayload<'_>) {
        let series = batch.iter().map(|s| (s.series_ref.0, s.labels.to_labels().to_string())).collect();
        self.items.push(Item::Series(series));
        self.at.push(at);
    }

    fn samples(&mut self, at: Position, batch: &[Sample]) {
        self.items.push(Item::Samples(batch.to_vec()));
        self.at.push(at);
    }

    fn deletes(&mut self, at: Position, batch: &[StoneRow]) {
        self.items.push(Item::Deletes(batch.to_vec()));
        self.at.push(at);
    }

    fn malformed(&mut self, at: Position, _: &DecodeError) {
        self.malformed.push(at);
    }
}

impl Memory {
    /// All sample times, in order.
    pub fn times(&self) -> Vec<i64> {
        let samples = self.items.iter().filter_map(|item| match item {
            Item::Samples(samples) => Some(samples),
            _ => None,
        });
        samples.flatten().map(|sample| sample.time_ms).collect()
    }

    /// All sample values, in order.
    pub fn values(&self) -> Vec<f64> {
        let samples = self.items.iter().filter_map(|item| match item {
            Item::Samples(samples) => Some(samples),
            _ => None,
        });
        samples.flatten().map(|sample| sample.value).collect()
    }

    /// All series references, in order.
    pub fn refs(&self) -> Vec<u64> {
        let series = self.items.iter().filter_map(|item| match item {
            Item::Series(series) => Some(series),
            _ => None,
        });
        series.flatten().map(|(series_ref, _)| *series_ref).collect()
    }

    /// All delete rows, in order.
    pub fn rows(&self) -> Vec<StoneRow> {
        let rows = self.items.iter().filter_map(|item| match item {
            Item::Deletes(rows) => Some(rows),
            _ => None,
        });
        rows.flatten().copied().collect()
    }
}

/// Small segments and buffers, so that a few entries rotate.
pub fn small() -> WalOptions {
    WalOptions::default().segment_bytes_max(512).buffer_bytes(4096).window_bytes(4096)
}

pub fn open(dir: &Path, options: WalOptions) -> (Wal, Memory, RecoveryReport) {
    let mut memory = Memory::default();
    let (wal, report) = Wal::open(dir, options).unwrap().replay(&mut memory).unwrap();
    (wal, memory, report)
}

pub fn sample(value: u32) -> Sample {
    Sample { series_ref: SeriesRef(1), time_ms: i64::from(value), value: f64::from(value) }
}

pub fn series(series_ref: u64) -> Series {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "node"), ("i", &series_ref.to_string())]);
    Series { series_ref: SeriesRef(series_ref), labels }
}

/// Logs the values one entry each, and returns the position behind the last.
pub fn log_values(wal: &Wal, values: std::ops::Range<u32>) -> Position {
    let mut end = wal.end();
    for value in values {
        end = wal.log_samples(&[sample(value)]).unwrap();
    }
    end
}

/// The values as a log gives them back.
pub fn values(range: std::ops::Range<u32>) -> Vec<f64> {
    range.map(f64::from).collect()
}

/// A fresh log of the values, closed.
pub fn written(dir: &Path, range: std::ops::Range<u32>, options: WalOptions) {
    let (wal, ..) = open(dir, options);
    log_values(&wal, range);
    wal.close().unwrap();
}

/// Segment files by name, with their sizes.
pub fn segments(dir: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .collect();
    found.sort();
    found
}

/// All files below a directory with their bytes: for saying that nothing changed.
pub fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Copies the files of a folder, not its folders.
pub fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// Changes one byte of a file.
pub fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0xff;
    std::fs::write(path, bytes).unwrap();
}
