//! `wal truncate`: removes what is older than a time, keeping the series asked for.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use wal_engine::{ErrorKind, RecoveryMode, Wal, WalOptions};
use wal_types::SeriesRef;

use crate::args::TruncateArgs;
use crate::exit::{self, Failure, Outcome};
use crate::{faults, foreign, place, progress};

/// Which series stay.
enum Keep {
    All,
    Only(HashSet<SeriesRef>),
    AllBut(HashSet<SeriesRef>),
}

/// Truncates the log and prints the report.
pub(crate) fn run(args: &TruncateArgs) -> Result<Outcome, Failure> {
    let dir = &args.dir;
    place::log_dir(dir)?;
    foreign::refuse_above(dir)?;
    // Before the log is opened: a mistake in the list must not cost a recovery.
    let keep = match (&args.keep_refs, &args.drop_refs) {
        (Some(file), _) => Keep::Only(refs(file)?),
        (None, Some(file)) => Keep::AllBut(refs(file)?),
        (None, None) => Keep::All,
    };
    let options = WalOptions::default().recovery_mode(RecoveryMode::TolerateTornTail);
    let engine = |error| Failure::engine(dir, &error);
    let (wal, recovery) =
        progress::replay(Wal::open(dir, options).map_err(engine)?, &mut ()).map_err(engine)?;
    faults::say_trimmed(dir, &recovery);
    let truncated = progress::truncate(&wal, args.mint, |series_ref| match &keep {
        Keep::All => true,
        Keep::Only(refs) => refs.contains(&series_ref),
        Keep::AllBut(refs) => !refs.contains(&series_ref),
    });
    let closed = wal.close();
    let report = truncated.map_err(engine)?;
    match closed {
        // The repair that opening put off finds no room yet, which is no failure of the truncation.
        Err(error) if recovery.pending && error.kind() == ErrorKind::DiskFull => {
            exit::warn(format_args!("{}: not repaired yet: {error}", dir.display()));
        }
        other => other.map_err(engine)?,
    }
    for fault in &report.damaged {
        exit::warn(format_args!("left as it is: {}", faults::fault(dir, fault)));
    }
    place::print(|out| writeln!(out, "{}", report.to_string().trim_end()))?;
    Ok(Outcome::Done)
}

/// Reads series references separated by white space.
fn refs(file: &Path) -> Result<HashSet<SeriesRef>, Failure> {
    let bytes = fs::read(file).map_err(|error| Failure::file(file, &error))?;
    let mut refs = HashSet::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        for word in line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            let word = String::from_utf8_lossy(word);
            let Ok(series_ref) = word.parse() else {
                return Err(Failure::bad_input(format_args!(
                    "{}: line {}: `{word}` is no series reference\n  \
                     next: write whole numbers from 0 to {}, separated by spaces or line ends",
                    file.display(),
                    index + 1,
                    u64::MAX
                )));
            };
            refs.insert(SeriesRef(series_ref));
        }
    }
    Ok(refs)
}
