//! A simulated disk below the storage seam, and what is needed to lose its power.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod block;
mod broken;
mod broken_file;
pub mod choice;
pub mod defects;
pub mod disk;
pub mod faults;
mod file;
mod handle;
mod names;
pub mod oracle;
pub mod rng;
pub mod schedule;
pub mod storage;

pub use choice::{Pick, Unit, UnitKind, Ways};
pub use defects::{Broken, Defect};
pub use disk::Disk;
pub use faults::{Call, Fault, Outcome};
pub use oracle::Oracle;
pub use rng::Rng;
pub use schedule::{Crash, Schedule};
pub use storage::SimDisk;
