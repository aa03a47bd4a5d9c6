//! Models of the running log: its own code, with threads that a checker lets run in every order.
//!
//! `cargo xtask models` runs them; docs/TESTING.md says how to read and replay what they find. A model
//! starts the log without recovery, which has no threads, on a disk that knows what a sync has covered.

mod defects;
mod disk;
#[cfg(wal_loom)]
mod exhaustive;
mod histories;
#[cfg(wal_shuttle)]
mod pausing;
#[cfg(wal_shuttle)]
mod random;
#[cfg(wal_shuttle)]
mod whole;
