//! The same work done by this log, by other logs, and by bare loops, in one process and in interleaved rounds.
//!
//! `cargo xtask bench --peers` runs it. A peer gets the payloads that our codec makes, through its public interface,
//! and what its iterator gives goes to our decoder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::peer::Answer;
use crate::table::Report;

mod append;
mod durable;
mod floor;
mod machine;
mod ours;
mod peer;
mod peers;
mod table;
mod work;

/// What was asked for.
struct Args {
    /// Where logs are written.
    dir: PathBuf,
    /// A directory on a file system with a journal, for durable commits there as well.
    journal: Option<PathBuf>,
    /// Only finds out whether everything works.
    smoke: bool,
    /// The rows wanted, by their letters.
    rows: String,
}

/// How much of everything.
struct Plan {
    append: append::Plan,
    durable: durable::Plan,
}

const FULL: Plan = Plan {
    append: append::Plan { samples: 20_000_000, append_rounds: 3, replay_rounds: 3 },
    durable: durable::Plan {
        rounds: 3,
        warm_up: Duration::from_millis(50),
        window: Duration::from_millis(200),
    },
};
const SMOKE: Plan = Plan {
    append: append::Plan { samples: 20_000, append_rounds: 1, replay_rounds: 1 },
    durable: durable::Plan {
        rounds: 1,
        warm_up: Duration::from_millis(5),
        window: Duration::from_millis(20),
    },
};

fn main() -> ExitCode {
    match args().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("wal-peers: {why}");
            ExitCode::FAILURE
        }
    }
}

fn args() -> Answer<Args> {
    let mut args = Args { dir: std::env::temp_dir(), journal: None, smoke: false, rows: "AD".to_owned() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or(HELP);
        match word.as_str() {
            "--dir" => args.dir = next()?.into(),
            "--journal" => args.journal = Some(next()?.into()),
            "--rows" => args.rows = next()?,
            "--smoke" => args.smoke = true,
            _ => return Err(HELP.into()),
        }
    }
    Ok(args)
}

fn run(args: &Args) -> Answer<()> {
    let start = Instant::now();
    let plan = if args.smoke { SMOKE } else { FULL };
    let mut report = Report::default();
    let mut places: Vec<&Path> = vec![&args.dir];
    places.extend(args.journal.as_deref());
    let machine = machine::line(&places)?;
    if args.rows.contains('A') {
        for (size, replayed) in [(1000, true), (100, false), (10, true)] {
            append::row(&args.dir, size, replayed, &plan.append, &mut report)?;
        }
    }
    if args.rows.contains('D') {
        for place in places {
            durable::row(place, &machine::file_system(place)?, &plan.durable, &mut report)?;
        }
    }
    report.print(&machine, !args.smoke);
    println!("\nMeasured in {} s.", start.elapsed().as_secs());
    Ok(())
}

const HELP: &str =
    "wal-peers [--dir DIR] [--journal DIR] [--rows A|D|AD] [--smoke]: row A includes the replays of row F";
