//! `cargo xtask coverage`: branches of decoding and of recovery that the tests take, with a floor under both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Outcome, Repo, cmd};

/// What may be left out, in percent of the branches of each group.
const COVERED_PERCENT_MIN: usize = 95;

/// Test code that has to stand beside the product, so that fuzzers reach it.
const NOT_PRODUCT: &str = "crates/wal-format/src/fuzzing.rs";

/// The verdict table and recovery.
pub(crate) const RECOVERY: [&str; 8] = [
    "crates/wal-engine/src/decide.rs",
    "crates/wal-engine/src/plan.rs",
    "crates/wal-engine/src/recovery.rs",
    "crates/wal-engine/src/mark.rs",
    "crates/wal-engine/src/scan.rs",
    "crates/wal-engine/src/repair.rs",
    "crates/wal-engine/src/intent.rs",
    "crates/wal-engine/src/view.rs",
];

/// What of reading a segment recovery rests on.
const READING: [&str; 3] = [
    "crates/wal-segment/src/reader.rs",
    "crates/wal-segment/src/header.rs",
    "crates/wal-segment/src/verdict.rs",
];

/// What is measured: a name, and lists of its files. A folder stands for all of its files.
const GROUPS: [(&str, &[&[&str]]); 2] =
    [("decode", &[&["crates/wal-format/src/"]]), ("recovery", &[&RECOVERY, &READING])];

/// Runs the tests of the three crates with counters in them, and prints what they reached.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let [] = args else { return Err("coverage takes nothing".to_owned()) };
    cmd::need("cargo-llvm-cov", "--version", "cargo install --locked cargo-llvm-cov")?;
    let tools = tools()?;
    let report = repo.target.join("coverage.json");
    let mut command = cmd::cargo(&repo.root);
    command.args(["llvm-cov", "--branch", "--locked", "--lib", "--tests", "--json", "--output-path"]);
    command.arg(&report).args(["--package", "wal-format", "--package", "wal-segment"]);
    command.args(["--package", "wal-engine"]);
    // Branches are a compiler switch that stable has, but keeps locked.
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_LLVM_COV_SETUP", "no");
    command.env("LLVM_COV", tools.join("llvm-cov")).env("LLVM_PROFDATA", tools.join("llvm-profdata"));
    cmd::run(&mut command)?;
    let text = std::fs::read_to_string(&report).map_err(|e| format!("{}: {e}", report.display()))?;
    let json: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", report.display()))?;
    let mut files = BTreeMap::new();
    for (path, counts) in counts(&json)? {
        let Ok(inside) = Path::new(&path).strip_prefix(&repo.root) else { continue };
        if inside == Path::new(NOT_PRODUCT) {
            continue;
        }
        let source = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        files.insert(inside.to_string_lossy().into_owned(), counts.sum(first_test_line(&source)));
    }
    judge(&files)
}

/// Where the tools of the compiler's own LLVM are: no other version reads what it writes.
fn tools() -> Result<PathBuf, String> {
    let ask = |args: &[&str]| cmd::output(std::process::Command::new("rustc").args(args));
    let version = ask(&["-vV"])?;
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let (host, llvm) = (field("host: "), field("LLVM version: "));
    let major = llvm.split('.').next().unwrap_or_default();
    let own = Path::new(ask(&["--print", "sysroot"])?.trim()).join("lib/rustlib").join(host).join("bin");
    let debian = PathBuf::from(format!("/usr/lib/llvm-{major}/bin"));
    [own, debian].into_iter().find(|dir| dir.join("llvm-profdata").is_file()).ok_or_else(|| {
        format!(
            "llvm-cov and llvm-profdata {major} are missing; install them: apt-get install llvm-{major}, \
             or rustup component add llvm-tools"
        )
    })
}

/// The line of a file behind which its unit tests stand, which are not what is measured.
fn first_test_line(source: &str) -> u64 {
    let at = source.lines().position(|line| line == "#[cfg(test)]");
    at.and_then(|at| u64::try_from(at).ok()).map_or(u64::MAX, |at| at + 1)
}

/// How often each place of one file was reached, by where it starts and ends.
#[derive(Default)]
struct Counts {
    /// Both outcomes of a condition.
    branches: BTreeMap<[u64; 4], [u64; 2]>,
    regions: BTreeMap<[u64; 4], u64>,
}

/// What is in a file, and how much of it was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    branches: usize,
    branches_taken: usize,
    regions: usize,
    regions_reached: usize,
}

impl Counts {
    fn sum(&self, first_test_line: u64) -> Sum {
        let product = |place: &[u64; 4]| place[0] < first_test_line;
        let outcomes = self.branches.iter().filter(|(place, _)| product(place)).flat_map(|(_, both)| both);
        let regions = self.regions.iter().filter(|(place, _)| product(place)).map(|(_, count)| count);
        Sum {
            branches: outcomes.clone().count(),
            branches_taken: outcomes.filter(|count| **count != 0).count(),
            regions: regions.clone().count(),
            regions_reached: regions.filter(|count| **count != 0).count(),
        }
    }
}

/// Adds up the copies of generic functions: a place counts as reached when one copy reached it.
fn counts(json: &Value) -> Result<BTreeMap<String, Counts>, String> {
    let mut files: BTreeMap<String, Counts> = BTreeMap::new();
    let functions = json["data"][0]["functions"].as_array().ok_or("the report lists no functions")?;
    for function in functions {
        let name = |file: &Value| {
            file.as_u64()
                .and_then(|file| usize::try_from(file).ok())
                .and_then(|file| function["filenames"][file].as_str())
                .map(str::to_owned)
                .ok_or("a function names no file")
        };
        for branch in function["branches"].as_array().into_iter().flatten() {
            let counts = files.entry(name(&branch[6])?).or_default();
            let both = counts.branches.entry(place(branch)?).or_default();
            both[0] += branch[4].as_u64().unwrap_or(0);
            both[1] += branch[5].as_u64().unwrap_or(0);
        }
        for region in function["regions"].as_array().into_iter().flatten() {
            if region[7].as_u64() == Some(CODE_REGION) {
                let counts = files.entry(name(&region[5])?).or_default();
                *counts.regions.entry(place(region)?).or_default() += region[4].as_u64().unwrap_or(0);
            }
        }
    }
    Ok(files)
}

/// First line and column, last line and column.
fn place(entry: &Value) -> Result<[u64; 4], String> {
    let mut place = [0; 4];
    for (index, number) in place.iter_mut().enumerate() {
        *number = entry[index].as_u64().ok_or("a place without numbers")?;
    }
    Ok(place)
}

/// Prints the table, and objects to a group below the floor, or to a file that nothing is known of.
fn judge(files: &BTreeMap<String, Sum>) -> Outcome {
    let mut problems = Vec::new();
    for (group, members) in GROUPS {
        println!("{group:<40}{:>16}{:>20}", "branches", "regions");
        let mut total = Sum::default();
        for member in members.iter().copied().flatten() {
            let mut of_member = files.iter().filter(|(path, _)| path.starts_with(member)).peekable();
            if of_member.peek().is_none() {
                problems.push(format!("{member} is not in the report"));
            }
            for (path, sum) in of_member {
                println!("{}", row(path, sum));
                total.branches += sum.branches;
                total.branches_taken += sum.branches_taken;
                total.regions += sum.regions;
                total.regions_reached += sum.regions_reached;
            }
        }
        println!("{}\n", row("together", &total));
        if total.branches_taken * 100 < total.branches * COVERED_PERCENT_MIN {
            problems.push(format!("{group}: below {COVERED_PERCENT_MIN} % of the branches"));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn row(name: &str, sum: &Sum) -> String {
    let share = |part: usize, whole: usize| {
        let per_mille = (part * 1000).checked_div(whole).unwrap_or(1000);
        format!("{part}/{whole} {:>3}.{} %", per_mille / 10, per_mille % 10)
    };
    let branches = share(sum.branches_taken, sum.branches);
    format!("{name:<40}{branches:>16}{:>20}", share(sum.regions_reached, sum.regions))
}

/// What the report calls a region that is code, and neither a gap nor an expansion.
const CODE_REGION: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn copies_of_a_generic_function_add_up_and_tests_do_not_count() {
        let function = |taken: u64, not_taken: u64| {
            json!({
                "filenames": ["a.rs"],
                "branches": [[3, 8, 3, 12, taken, not_taken, 0, 0, 4], [9, 8, 9, 12, 1, 1, 0, 0, 4]],
                "regions": [[3, 1, 5, 2, taken, 0, 0, 0], [4, 1, 4, 2, 0, 0, 0, 0], [3, 9, 3, 9, 1, 0, 0, 3]],
            })
        };
        let report = json!({ "data": [{ "functions": [function(2, 0), function(0, 0)] }] });
        let once = counts(&report).unwrap()["a.rs"].sum(8);
        assert_eq!(once, Sum { branches: 2, branches_taken: 1, regions: 2, regions_reached: 1 });
        let report = json!({ "data": [{ "functions": [function(2, 0), function(0, 7)] }] });
        assert_eq!(counts(&report).unwrap()["a.rs"].sum(8).branches_taken, 2);
        assert_eq!(first_test_line("//! A file.\n\n#[cfg(test)]\nmod tests {}\n"), 3);
    }

    #[test]
    fn a_group_below_the_floor_or_without_a_file_is_refused() {
        let sum = Sum { branches: 100, branches_taken: 95, regions: 1, regions_reached: 0 };
        let mut files: BTreeMap<String, Sum> =
            GROUPS.iter().flat_map(|group| group.1.concat()).map(|member| (member.to_owned(), sum)).collect();
        assert_eq!(judge(&files), Ok(()));
        files.insert("crates/wal-format/src/".to_owned(), Sum { branches_taken: 94, ..sum });
        assert!(judge(&files).unwrap_err().contains("decode: below"));
        files.remove("crates/wal-format/src/");
        assert!(judge(&files).unwrap_err().contains("wal-format/src/ is not in the report"));
    }
}
