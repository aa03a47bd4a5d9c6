//! What the crash tests share: entries that prove themselves, histories, and the driver.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod driver;
pub mod entry;
pub mod faulty;
pub mod history;
pub mod kept;
pub mod rot;
pub mod run;
pub mod totals;
