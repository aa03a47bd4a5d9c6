//! Runs fuzz targets two at a time, reads what libFuzzer prints, and makes one table of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Outcome;

/// When a run has done enough, unless it finds something before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) executions: u64,
    pub(crate) time: Duration,
}

/// One target that is to be run.
pub(crate) struct Plan {
    pub(crate) target: String,
    /// Its program, with the fuzzer in it.
    pub(crate) program: PathBuf,
    /// Whether the address sanitizer is in it.
    pub(crate) sanitized: bool,
    /// The directory of corpora, regressions, dictionaries and artifacts.
    pub(crate) fuzz: PathBuf,
    /// A place for what need not be kept.
    pub(crate) scratch: PathBuf,
    pub(crate) goal: Goal,
    /// Whether finding nothing is what must not happen.
    pub(crate) must_fail: bool,
}

/// What came of a run.
#[derive(Debug, Default, PartialEq)]
struct Report {
    executions: u64,
    corpus: u64,
    coverage: u64,
    /// What the target said when it failed.
    finding: Option<String>,
}

/// Runs all of them, two side by side; fails if one finds something, or the one that must find something does
/// not.
pub(crate) fn all(plans: &[Plan]) -> Outcome {
    let next = Mutex::new(plans.iter());
    println!("    {HEADER}");
    let work = || {
        let mut judged = Vec::new();
        while let Some(plan) = { next.lock().ok().and_then(|mut plans| plans.next()) } {
            let began = Instant::now();
            judged.push(run(plan).and_then(|report| {
                println!("    {}", line(&plan.target, &report, began.elapsed()));
                judge(plan, &report)
            }));
        }
        judged
    };
    let judged: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    if judged.len() < plans.len() {
        return Err(format!("of {} targets only {} ran to an end", plans.len(), judged.len()));
    }
    let failures: Vec<String> = judged.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Runs one target with its output here. Files instead of options are run once each.
pub(crate) fn in_the_foreground(plan: &Plan, given: &[OsString], only_files: bool) -> Outcome {
    let mut command = command(plan)?;
    if !only_files {
        command.args(folders(plan)?);
    }
    println!("    $ {} ...", plan.program.display());
    let status = command.args(given).status().map_err(|e| format!("{}: {e}", plan.program.display()))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", plan.target)) }
}

/// The program with the options that every run of the target has.
fn command(plan: &Plan) -> Result<Command, String> {
    let mut command = if plan.sanitized {
        Command::new(&plan.program)
    } else {
        // The fuzzer limits single allocations only where a sanitizer tells it of them. What is reserved and not
        // touched counts here too.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("ulimit -v {ADDRESS_SPACE_KIB} && exec \"$0\" \"$@\"")])
            .arg(&plan.program);
        shell
    };
    command.current_dir(&plan.fuzz).stdin(Stdio::null());
    let artifacts = artifacts(plan);
    make(&artifacts)?;
    // The slash at the end makes it a directory and not the beginning of a name.
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-max_len={}", bytes_max(&plan.target)));
    command.args(["-timeout=20", "-rss_limit_mb=1024", "-malloc_limit_mb=64", "-print_final_stats=1"]);
    let dictionary = plan.fuzz.join("dictionaries").join(&plan.target);
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // Two run side by side, and memory that was given back need not be kept for long.
    command.env("ASAN_OPTIONS", "quarantine_size_mb=16:detect_leaks=0:handle_abort=1");
    Ok(command)
}

/// Where the corpus lies, and what is read beside it. The canary begins anew each time: a corpus that holds the
/// planted bug already would show nothing.
fn folders(plan: &Plan) -> Result<Vec<PathBuf>, String> {
    let mut folders = vec![plan.fuzz.join("corpus").join(&plan.target)];
    if plan.must_fail {
        let fresh = plan.scratch.join("corpus");
        let _ = fs::remove_dir_all(&fresh);
        folders.insert(0, fresh);
    }
    make(&folders[0])?;
    let regressions = plan.fuzz.join("regressions").join(&plan.target);
    if regressions.is_dir() {
        folders.push(regressions);
    }
    Ok(folders)
}

fn artifacts(plan: &Plan) -> PathBuf {
    if plan.must_fail { plan.scratch.join("found") } else { plan.fuzz.join("artifacts").join(&plan.target) }
}

fn run(plan: &Plan) -> Result<Report, String> {
    make(&plan.scratch)?;
    let log = plan.scratch.join("log");
    let file = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut command = command(plan)?;
    command.arg(format!("-runs={}", plan.goal.executions));
    command.arg(format!("-max_total_time={}", plan.goal.time.as_secs()));
    command.args(folders(plan)?);
    let errors = file.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
    let status = command.stdout(file).stderr(errors).status();
    let status = status.map_err(|e| format!("{}: {e}", plan.program.display()))?;
    let text = fs::read(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut report = read(&String::from_utf8_lossy(&text));
    if !status.success() && report.finding.is_none() {
        report.finding = Some(format!("ended with {status}"));
    }
    if status.success() {
        report.finding = None;
    }
    add_up(plan, report.executions)?;
    Ok(report)
}

/// Whether this is how the run must end.
fn judge(plan: &Plan, report: &Report) -> Outcome {
    let log = plan.scratch.join("log");
    match (&report.finding, plan.must_fail) {
        (None, false) => Ok(()),
        (Some(found), true) if found.contains(PLANTED) => Ok(()),
        (None, true) => Err(format!(
            "{}: the planted bug was not found in {} executions, so finding nothing elsewhere means nothing; \
             see {}",
            plan.target,
            report.executions,
            log.display()
        )),
        (Some(found), _) => Err(format!(
            "{}: {found}\n  the input is in {}; log: {}\n  next: `cargo xtask fuzz {} FILE` runs it again; \
             keep it in fuzz/regressions/{}",
            plan.target,
            newest(&artifacts(plan)).unwrap_or_else(|| artifacts(plan)).display(),
            log.display(),
            plan.target,
            plan.target
        )),
    }
}

/// What libFuzzer printed. Its last line of progress counts; a run that was stopped has no other.
fn read(text: &str) -> Report {
    let mut report = Report::default();
    let mut after_panic = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let behind = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.split('/').next()?.parse::<u64>().ok()
        };
        if let Some(count) = words.first().and_then(|word| word.strip_prefix('#')?.parse().ok()) {
            report.executions = count;
            report.coverage = behind("cov:").unwrap_or(report.coverage);
            report.corpus = behind("corp:").unwrap_or(report.corpus);
        }
        if let Some(count) = behind("stat::number_of_executed_units:") {
            report.executions = count;
        }
        // The place of a panic, and the line below it, which says why.
        if report.finding.is_none() && line.contains("panicked at") {
            report.finding = Some(line.trim().to_owned());
            after_panic = true;
        } else if std::mem::take(&mut after_panic)
            && let Some(finding) = &mut report.finding
        {
            *finding = format!("{finding} {}", line.trim());
        } else if report.finding.is_none() && line.contains("ERROR: ") {
            report.finding = Some(line.trim().to_owned());
        }
    }
    report
}

/// Executions of all runs that this corpus has seen: a long run is the sum of its parts.
fn add_up(plan: &Plan, executions: u64) -> Outcome {
    let path = plan.fuzz.join("corpus").join(format!("{}.executions", plan.target));
    let before = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    let sum = before + executions;
    fs::write(&path, format!("{sum}\n")).map_err(|e| format!("{}: {e}", path.display()))
}

fn line(target: &str, report: &Report, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let verdict = if report.finding.is_some() { "finding" } else { "" };
    format!(
        "{target:<11}{:>13}{:>10.0}{seconds:>9.1}{:>8}{:>10}  {verdict}",
        report.executions,
        report.executions as f64 / seconds.max(0.001),
        report.corpus,
        report.coverage,
    )
    .trim_end()
    .to_owned()
}

fn newest(dir: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(dir).ok()?.flatten();
    files.max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok()).map(|file| file.path())
}

fn make(dir: &Path) -> Outcome {
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))
}

/// How long inputs grow. What can go wrong needs little room, and short inputs are quick.
fn bytes_max(target: &str) -> usize {
    match target {
        "operations" => 128,
        "round_trip" | "resync" | "import" | "canary" => 512,
        // Two slots of the mark, behind one byte.
        "control" => 1025,
        "directory" | "readers" => 2048,
        _ => 1024,
    }
}

/// What the planted bug says; `fuzz/src/canary.rs` has the same words.
const PLANTED: &str = "the planted bug of the canary";
/// What a program without the sanitizer may map. Threads reserve 64 MiB each and use little of it.
const ADDRESS_SPACE_KIB: u64 = 1 << 20;
const SIDE_BY_SIDE: usize = 2;
const HEADER: &str = "target        executions    exec/s  seconds  corpus  coverage";

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "INFO: seed corpus: files: 3\n#4\tINITED cov: 30 ft: 40 corp: 3/12b exec/s: 0\n\
        #2097152\tpulse  cov: 31 ft: 41 corp: 9/77Kb lim: 4096 exec/s: 60\n\
        #2500000\tDONE   cov: 32 ft: 44 corp: 12/80Kb lim: 4096\nstat::number_of_executed_units: 2500000\n";
    const FOUND: &str = "#8\tNEW    cov: 5 ft: 6 corp: 2/2b\nthread '<unnamed>' (7) panicked at src/canary.rs:9:5:\n\
        the planted bug of the canary\nstack backtrace:\n==7== ERROR: libFuzzer: deadly signal\n\
        stat::number_of_executed_units: 9\n";

    fn plan(must_fail: bool) -> Plan {
        let place = PathBuf::from("nowhere");
        let goal = Goal { executions: 1, time: Duration::from_secs(1) };
        Plan {
            target: "any".to_owned(),
            program: place.clone(),
            sanitized: false,
            fuzz: place.clone(),
            scratch: place,
            goal,
            must_fail,
        }
    }

    #[test]
    fn executions_corpus_and_coverage_are_those_of_the_last_line() {
        let report = read(CLEAN);
        assert_eq!((report.executions, report.corpus, report.coverage), (2_500_000, 12, 32));
        assert_eq!(report.finding, None);
        let stopped = CLEAN.split("#2500000").next().unwrap();
        assert_eq!(read(stopped).executions, 2_097_152);
    }

    #[test]
    fn a_finding_is_told_with_its_place_and_reason() {
        let report = read(FOUND);
        assert_eq!(report.executions, 9);
        let found = report.finding.as_deref().unwrap();
        assert!(found.contains("canary.rs:9:5") && found.contains(PLANTED), "{found}");
        let said = judge(&plan(false), &report).unwrap_err();
        assert!(said.contains("fuzz any FILE") && said.contains("fuzz/regressions/any"), "{said}");
    }

    #[test]
    fn a_canary_that_survives_fails_the_run_and_so_does_one_that_dies_of_something_else() {
        assert!(judge(&plan(true), &read(FOUND)).is_ok());
        assert!(judge(&plan(true), &read(CLEAN)).unwrap_err().contains("was not found"));
        let other = Report { finding: Some("ERROR: libFuzzer: timeout".to_owned()), ..Report::default() };
        assert!(judge(&plan(true), &other).is_err());
        assert!(judge(&plan(false), &read(CLEAN)).is_ok());
    }

    #[test]
    fn the_words_of_the_planted_bug_are_those_of_the_canary() {
        let canary = include_str!("../../fuzz/src/canary.rs");
        assert!(canary.contains(&format!("\"{PLANTED}\"")));
    }
}
