//! The locks, threads and clock that a running log is built on: one door, so that a checker can stand behind it.
//!
//! Normally these are parking_lot and the standard library, under their own names. Built with `--cfg wal_loom` or
//! `--cfg wal_shuttle` they are those of the checker, which then decides who runs when: see docs/TESTING.md.
//! Counters ([`crate::metrics`]) and the threads of replay do not go through here: nobody waits for the
//! first, and the second end before the log runs.

#[cfg(any(wal_loom, wal_shuttle))]
mod model;
#[cfg(not(any(wal_loom, wal_shuttle)))]
mod real;

#[cfg(any(wal_loom, wal_shuttle))]
pub(crate) use model::*;
#[cfg(not(any(wal_loom, wal_shuttle)))]
pub(crate) use real::*;
