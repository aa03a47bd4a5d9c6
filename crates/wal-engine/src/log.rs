//! The log as a trait: what a database needs of it, and a log that does nothing.

use wal_segment::Position;
use wal_types::{Sample, Series, SeriesRef, Stone};

use crate::error::Result;
use crate::truncate::TruncateReport;
use crate::wal::Wal;

/// The verbs of a log, for code that works with or without one.
///
/// Implemented by [`Wal`], where each method says what it does, and by [`NopWal`].
pub trait Log: Send + Sync {
    /// Logs series; returns the position to commit.
    ///
    /// # Errors
    /// See [`Wal::log_series`].
    fn log_series(&self, batch: &[Series]) -> Result<Position>;

    /// Logs samples; returns the position to commit.
    ///
    /// # Errors
    /// See [`Wal::log_samples`].
    fn log_samples(&self, batch: &[Sample]) -> Result<Position>;

    /// Logs deletes; returns the position to commit.
    ///
    /// # Errors
    /// See [`Wal::log_deletes`].
    fn log_deletes(&self, batch: &[Stone]) -> Result<Position>;

    /// Makes everything before the position durable.
    ///
    /// # Errors
    /// See [`Wal::commit`].
    fn commit(&self, position: Position) -> Result<()>;

    /// Makes everything logged so far durable.
    ///
    /// # Errors
    /// See [`Wal::sync`].
    fn sync(&self) -> Result<()>;

    /// Drops what is older than `mint_ms`, but for the series that `keep` names.
    ///
    /// # Errors
    /// See [`Wal::truncate`].
    fn truncate(&self, mint_ms: i64, keep: &mut dyn FnMut(SeriesRef) -> bool) -> Result<TruncateReport>;

    /// Ends the log and says what failed.
    ///
    /// # Errors
    /// See [`Wal::close`].
    fn close(self: Box<Self>) -> Result<()>;
}

impl Log for Wal {
    fn log_series(&self, batch: &[Series]) -> Result<Position> {
        Self::log_series(self, batch)
    }

    fn log_samples(&self, batch: &[Sample]) -> Result<Position> {
        Self::log_samples(self, batch)
    }

    fn log_deletes(&self, batch: &[Stone]) -> Result<Position> {
        Self::log_deletes(self, batch)
    }

    fn commit(&self, position: Position) -> Result<()> {
        Self::commit(self, position)
    }

    fn sync(&self) -> Result<()> {
        Self::sync(self)
    }

    fn truncate(&self, mint_ms: i64, keep: &mut dyn FnMut(SeriesRef) -> bool) -> Result<TruncateReport> {
        Self::truncate(self, mint_ms, keep)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Self::close(*self)
    }
}

/// A log that keeps nothing and always says yes: for tests, and for databases told to run without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NopWal;

impl Log for NopWal {
    fn log_series(&self, _: &[Series]) -> Result<Position> {
        Ok(Position::default())
    }

    fn log_samples(&self, _: &[Sample]) -> Result<Position> {
        Ok(Position::default())
    }

    fn log_deletes(&self, _: &[Stone]) -> Result<Position> {
        Ok(Position::default())
    }

    fn commit(&self, _: Position) -> Result<()> {
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn truncate(&self, _: i64, _: &mut dyn FnMut(SeriesRef) -> bool) -> Result<TruncateReport> {
        Ok(TruncateReport::default())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
