//! Many threads at one log, each of which goes on only when its batch is durable.
//!
//! `cargo run --release -p wal-engine --example writers -- data/wal [THREADS] [BATCHES]`. Prints how many syncs the
//! commits cost: those that wait at the same time share one.

use std::error::Error;
use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use wal_engine::{Labels, Sample, Series, Wal, WalOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: writers LOG-DIRECTORY [THREADS] [BATCHES]")?;
    let mut number = |or: u32| arguments.next().map_or(Ok(or), |text| text.parse::<u32>());
    let (threads, batches) = (number(8)?, number(500)?);

    let (wal, _) = Wal::open(dir, WalOptions::default())?.replay(&mut ())?;
    let syncs = wal.metrics().syncs;
    let began = Instant::now();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|writer| {
                scope.spawn({
                    let wal = &wal;
                    move || write(wal, writer, batches)
                })
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().unwrap_or_else(|_| panic!("a writer panicked")))
    })?;
    let commits = u64::from(threads) * u64::from(batches);
    writeln!(
        io::stdout(),
        "{commits} durable commits by {threads} threads in {:.2} s, with {} syncs",
        began.elapsed().as_secs_f64(),
        wal.metrics().syncs - syncs
    )?;
    Ok(wal.close()?)
}

fn write(wal: &Wal, writer: u32, batches: u32) -> wal_engine::Result<()> {
    // A series is logged before its first sample, so that a replay knows what the sample belongs to.
    let labels = Labels::from_pairs([("__name__", "writes_total"), ("writer", &writer.to_string())]);
    wal.log_series(&[Series::new(u64::from(writer), labels)])?;
    for batch in 0..batches {
        let samples: Vec<Sample> = (0..10)
            .map(|n| Sample::new(u64::from(writer), i64::from(batch) * 10 + n, f64::from(batch)))
            .collect();
        let end = wal.log_samples(&samples)?;
        // Only behind this line may anyone be told that the samples are safe.
        wal.commit(end)?;
    }
    Ok(())
}
