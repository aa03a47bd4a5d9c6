//! `cargo xtask interop`: a real Prometheus migrates logs that we wrote and answers queries from them, sample by sample.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::expectation::{Expectation, LabelSet, name_of};
use crate::prom::{self, Prometheus};
use crate::{Outcome, Repo, cmd, golden, synthetic};

/// Small, so that a log of a few hundred kilobytes has several segments.
const SEGMENT_BYTES: &str = "65536";
const SEED: u64 = 20_180_301;

pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    prom::need()?;
    let tool = repo.wal_tool()?;
    // Recent, as a server would find it after an upgrade; all else follows from the seed.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| format!("the clock: {e}"))?;
    let end_ms = i64::try_from(now.as_millis()).map_err(|e| format!("the clock: {e}"))? - 60_000;
    let plan = synthetic::Plan { seed: SEED, series: 600, rounds: 120, end_ms };
    println!("    synthetic log, seed {SEED}, ending at {end_ms}");
    round_trip(&tool, &synthetic::log(&plan)).map_err(|why| format!("synthetic log: {why}"))?;
    for dir in repo.cases("real")? {
        println!("    {}", dir.file_name().unwrap_or_default().to_string_lossy());
        let dump = cmd::answer(Command::new(&tool).arg("dump").arg(dir.join("wal")))?;
        if dump.code != 0 {
            return Err(format!("{}: dump exits with {}: {}", dir.display(), dump.code, dump.stderr));
        }
        round_trip(&tool, &dump.stdout).map_err(|why| format!("{}: {why}", dir.display()))?;
    }
    Ok(())
}

/// Writes the entries with our tool, hands the directory to Prometheus, and compares all that it answers.
fn round_trip(tool: &Path, entries: &str) -> Outcome {
    let expected = Expectation::of(entries)?;
    let scratch = tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?;
    let log = scratch.path().join("log");
    import(tool, &log, entries)?;
    let data = scratch.path().join("data");
    // Prometheus replaces the directory, so it gets a copy, with all that our writer leaves in it.
    golden::copy(&log, &data.join("wal"))?;
    let segments = segments(&log)?;
    if segments < 2 {
        return Err(format!("the log has {segments} segment, several were wanted"));
    }
    let server = Prometheus::start(&data, scratch.path())?;
    let compared = compare(&server, &expected);
    let complaints = server.complaints();
    server.stop()?;
    let series = compared?;
    if !complaints.is_empty() {
        return Err(format!("prometheus complained:\n{}", complaints.join("\n")));
    }
    println!(
        "    {segments} segments: {} samples of {series} series came back equal, {} deleted ones did not \
         ({} markers of staleness not asked for)",
        expected.sample_count(),
        expected.deleted,
        expected.stale
    );
    Ok(())
}

fn import(tool: &Path, log: &Path, entries: &str) -> Outcome {
    let mut command = Command::new(tool);
    command.arg("import").arg(log).args(["--segment-size", SEGMENT_BYTES]).stdin(Stdio::piped());
    let mut child =
        command.spawn().map_err(|e| format!("`{}` cannot be started: {e}", cmd::line(&command)))?;
    let fed = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(entries.as_bytes()));
    let status = child.wait().map_err(|e| format!("import: {e}"))?;
    if !status.success() {
        return Err(format!("`{}` failed: {status}", cmd::line(&command)));
    }
    fed.map_err(|e| format!("import did not read all its input: {e}"))
}

/// Both ways: nothing missing, nothing different, nothing that should be gone. Returns the number of series.
fn compare(server: &Prometheus, expected: &Expectation) -> Result<usize, String> {
    let span = (expected.min_time_ms, expected.max_time_ms);
    let listed = server.series(span)?;
    if let Some(missing) = expected.samples.keys().find(|set| !listed.contains(*set)) {
        return Err(format!("series {missing:?} is not listed"));
    }
    let mut names: Vec<&str> = expected.names();
    // A series deleted whole may still be listed; asked for its samples it must answer with none.
    names.extend(listed.iter().filter_map(name_of));
    names.sort_unstable();
    names.dedup();
    let mut series = 0;
    for name in names {
        let got = server.samples(name, span)?;
        series += got.len();
        for (set, want) in expected.samples.iter().filter(|(set, _)| name_of(set) == Some(name)) {
            let have = got.get(set).ok_or_else(|| format!("no samples of {set:?}"))?;
            for (t, bits) in want {
                match have.get(t) {
                    Some(found) if same(*found, *bits) => {}
                    other => return Err(format!("{set:?} at {t}: {other:x?} instead of {bits:x}")),
                }
            }
            if let Some(t) = have.keys().find(|t| !want.contains_key(t)) {
                return Err(format!("{set:?} has a sample at {t} that was deleted or never logged"));
            }
        }
        if let Some(unknown) = got.keys().find(|set: &&LabelSet| !expected.samples.contains_key(*set)) {
            return Err(format!("{unknown:?} has samples that were deleted or never logged"));
        }
    }
    if series != expected.samples.len() {
        return Err(format!("{series} series answered, {} expected", expected.samples.len()));
    }
    Ok(series)
}

/// By bits; of a NaN the API shows only that it is one.
fn same(got: u64, want: u64) -> bool {
    got == want || (f64::from_bits(got).is_nan() && f64::from_bits(want).is_nan())
}

fn segments(log: &Path) -> Result<usize, String> {
    let names = std::fs::read_dir(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let numbered = |name: &str| name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit());
    Ok(names.flatten().filter(|entry| entry.file_name().to_str().is_some_and(numbered)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_differ_unless_their_bits_agree_or_both_are_nan() {
        assert!(same(1.0f64.to_bits(), 1.0f64.to_bits()));
        assert!(!same(0.0f64.to_bits(), (-0.0f64).to_bits()));
        assert!(same(f64::NAN.to_bits(), 0x7ff8_0000_0000_0001));
    }
}
