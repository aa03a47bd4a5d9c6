//! Many tasks under tokio, each logging a batch and awaiting that it is durable.
//!
//! `cargo run --release -p wal-engine --example tokio -- data/wal [TASKS] [BATCHES]`. Logging itself touches no
//! file and may be done in a task; only the wait for the disk is awaited, and all that wait share a sync.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use wal_engine::{Sample, Wal, WalOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: tokio LOG-DIRECTORY [TASKS] [BATCHES]")?;
    let mut number = |or: u32| arguments.next().map_or(Ok(or), |text| text.parse::<u32>());
    let (tasks, batches) = (number(64)?, number(100)?);

    // Opening reads the log and blocks; a server would give it to `spawn_blocking`.
    let (wal, _) = Wal::open(dir, WalOptions::default())?.replay(&mut ())?;
    let wal = Arc::new(wal);
    let syncs = wal.metrics().syncs;
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let wal = Arc::clone(&wal);
        running.spawn(async move {
            for batch in 0..batches {
                let sample = Sample::new(u64::from(task) + 1, i64::from(batch), f64::from(task));
                wal.commit_async(wal.log_samples(&[sample])?).await?;
            }
            Ok::<(), wal_engine::Error>(())
        });
    }
    while let Some(task) = running.join_next().await {
        task??;
    }
    let commits = u64::from(tasks) * u64::from(batches);
    writeln!(
        io::stdout(),
        "{commits} durable commits of {tasks} tasks in {:.2} s, with {} syncs",
        began.elapsed().as_secs_f64(),
        wal.metrics().syncs - syncs
    )?;
    Ok(Arc::into_inner(wal).ok_or("a task still holds the log")?.close()?)
}
