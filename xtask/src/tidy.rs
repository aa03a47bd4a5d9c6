//! `cargo xtask tidy`: the conventions of this repository, each checked by a function of text that has its own test.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Outcome, Repo, events, links, tables};

pub(crate) fn run(repo: &Repo, _: &[String]) -> Outcome {
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    let mut files = Vec::new();
    walk(&repo.root, Path::new(""), &mut files)?;
    for path in &files {
        let full = repo.root.join(path);
        let bytes = std::fs::read(&full).map_err(|e| format!("{}: {e}", full.display()))?;
        let name = path.to_string_lossy().into_owned();
        if name.contains("tests/data/") {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes);
        problems.extend(words(&name, &text));
        if name.ends_with(".rs") {
            problems.extend(source(&name, &text));
            if let Some(note) = long(&name, &text) {
                println!("    note: {note}");
            }
            sources.push(text.into_owned());
        } else if name.ends_with(".md") {
            let dir = full.parent().unwrap_or(&repo.root).to_path_buf();
            problems.extend(links::check(&name, &text, |target| dir.join(target).exists()));
        }
    }
    for document in ["docs/COMPAT.md", "docs/DURABILITY.md"] {
        match std::fs::read_to_string(repo.root.join(document)) {
            Ok(text) => problems.extend(tables::check(document, &text, &sources)),
            Err(e) => problems.push(format!("{document}: {e}")),
        }
    }
    let document = "docs/OPERATING.md";
    match std::fs::read_to_string(repo.root.join(document)) {
        Ok(text) => problems.extend(events::check(document, &text, &sources)),
        Err(e) => problems.push(format!("{document}: {e}")),
    }
    problems.extend(manifests(&repo.metadata, |path| path.exists()));
    println!("    {} files looked at, {} of them Rust", files.len(), sources.len());
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// The Markdown files, by name, with their text.
pub(crate) fn documents(repo: &Repo) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    walk(&repo.root, Path::new(""), &mut files)?;
    let read = |path: PathBuf| {
        let full = repo.root.join(&path);
        let text = std::fs::read_to_string(&full).map_err(|e| format!("{}: {e}", full.display()))?;
        Ok((path.to_string_lossy().into_owned(), text))
    };
    files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")).map(read).collect()
}

/// Every file that could be committed, relative to the root, in a stable order. Build output is not.
fn walk(root: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Outcome {
    let dir = root.join(below);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))? {
        let entry = entry.map_err(|e| format!("{}: {e}", dir.display()))?;
        let kind = entry.file_type().map_err(|e| format!("{}: {e}", dir.display()))?;
        // What a link points to is looked at where it lies.
        if !kind.is_symlink() {
            names.push((entry.file_name(), kind.is_dir()));
        }
    }
    names.sort();
    for (name, is_dir) in names {
        let path = below.join(&name);
        if IGNORED.iter().any(|ignored| path == Path::new(ignored)) {
            continue;
        }
        if is_dir {
            walk(root, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Words that no committed file may hold.
fn words(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in numbered(text) {
        for needle in NO_WORDS {
            if line.contains(needle) {
                problems.push(format!("{name}:{number}: holds `{needle}`"));
            }
        }
    }
    problems
}

/// What every Rust file keeps to.
fn source(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.starts_with("//!") {
        problems.push(format!("{name}:1: the first line must be a //! line that says what the file is for"));
    }
    let count = text.lines().count();
    if count > HARD_LINES {
        problems.push(format!("{name}: {count} lines; split it, {HARD_LINES} is the limit"));
    }
    // House rule: tests stand last, so all behind the first mark is test code.
    let mut in_tests = name.split('/').any(|part| part == "tests");
    for (number, line) in numbered(text) {
        let code = line.split("//").next().unwrap_or("");
        in_tests |= code.contains("#[cfg(test)]");
        if !line.is_ascii() {
            problems.push(format!("{name}:{number}: not ASCII; write \\u{{...}}"));
        }
        for needle in NO_MACROS {
            if code.contains(needle) {
                problems.push(format!("{name}:{number}: `{needle}` is left over"));
            }
        }
        if in_tests && code.contains(SLEEP) {
            problems.push(format!("{name}:{number}: a test may not sleep; wait for what it waits for"));
        }
        if has_word(code, UNSAFE) && name != UNSAFE_FILE {
            problems.push(format!("{name}:{number}: `{UNSAFE}` is allowed only in {UNSAFE_FILE}"));
        }
    }
    problems
}

/// A file worth splitting, which is no failure yet.
fn long(name: &str, text: &str) -> Option<String> {
    let count = text.lines().count();
    let watched = name.contains("/src/") && !name.contains("/tests");
    (watched && SOFT_LINES < count).then(|| format!("{name} has {count} lines; at {SOFT_LINES} ask"))
}

/// What crates.io shows of every crate that we publish.
fn manifests(metadata: &Value, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let none = Vec::new();
    for package in metadata["packages"].as_array().unwrap_or(&none) {
        let name = package["name"].as_str().unwrap_or("?");
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or(""));
        if !manifest.to_string_lossy().contains("/crates/") {
            continue;
        }
        for key in ["description", "license"] {
            if package[key].as_str().is_none_or(str::is_empty) {
                problems.push(format!("{name}: its manifest has no {key}"));
            }
        }
        if !exists(&manifest.with_file_name("README.md")) {
            problems.push(format!("{name}: it has no README.md"));
        }
    }
    problems
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// `word` with nothing of an identifier on either side.
fn has_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

const HARD_LINES: usize = 600;
const SOFT_LINES: usize = 400;
const UNSAFE_FILE: &str = "crates/wal-segment/src/map.rs";
const IGNORED: [&str; 7] = [
    ".git",
    "target",
    "fuzz/target",
    "benches/peers/target",
    "fuzz/corpus",
    "fuzz/artifacts",
    "fuzz/coverage",
];

// Put together here, so that this file does not hold what it looks for.
const UNSAFE: &str = concat!("un", "safe");
const SLEEP: &str = concat!("sle", "ep(");
const NO_MACROS: [&str; 3] = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")];
const NO_WORDS: [&str; 3] = [concat!("/wo", "rk/"), concat!("TO", "DO"), concat!("FIX", "ME")];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn count(name: &str, text: &str) -> usize {
        source(name, text).len()
    }

    #[test]
    fn a_tidy_file_passes() {
        let text = "//! Why.\n#![forbid(unsafe_code)]\nfn f() {} // an ordinary line\n";
        assert_eq!(source("crates/a/src/lib.rs", text), [""; 0]);
    }

    #[test]
    fn a_file_without_its_first_line_is_reported() {
        assert_eq!(count("crates/a/src/lib.rs", "use std::io;\n"), 1);
    }

    #[test]
    fn text_beyond_ascii_is_reported_with_its_line() {
        let problems = source("a.rs", "//! Why.\n// caf\u{e9}\n");
        assert!(problems[0].starts_with("a.rs:2:"), "{problems:?}");
    }

    #[test]
    fn a_file_over_the_limit_is_reported_and_a_long_one_noted() {
        let lines = |count: usize| format!("//! Why.\n{}", "\n".repeat(count - 1));
        assert_eq!(count("crates/a/src/lib.rs", &lines(600)), 0);
        assert_eq!(count("crates/a/src/lib.rs", &lines(601)), 1);
        assert!(long("crates/a/src/lib.rs", &lines(401)).is_some());
        assert!(long("crates/a/src/lib.rs", &lines(400)).is_none());
        assert!(long("crates/a/tests/all.rs", &lines(401)).is_none());
    }

    #[test]
    fn left_over_macros_are_reported() {
        for needle in NO_MACROS {
            assert_eq!(count("a.rs", &format!("//! Why.\nfn f() {{ {needle}() }}\n")), 1, "{needle}");
            assert_eq!(count("a.rs", &format!("//! Why.\n// {needle} in words\n")), 0, "{needle}");
        }
    }

    #[test]
    fn sleeping_is_reported_in_tests_only() {
        let nap = format!("thread::{SLEEP}one_second);\n");
        assert_eq!(count("crates/a/tests/t.rs", &format!("//! Why.\n{nap}")), 1);
        assert_eq!(count("crates/a/src/l.rs", &format!("//! Why.\n{nap}")), 0);
        assert_eq!(count("crates/a/src/l.rs", &format!("//! Why.\n#[cfg(test)]\nmod tests {{ {nap} }}")), 1);
    }

    #[test]
    fn the_one_file_may_do_what_others_may_not() {
        let text = format!("//! Why.\n{UNSAFE} {{ }}\n");
        assert_eq!(count("crates/a/src/lib.rs", &text), 1);
        assert_eq!(count(UNSAFE_FILE, &text), 0);
    }

    #[test]
    fn forbidden_words_are_reported_in_any_file() {
        for needle in NO_WORDS {
            assert_eq!(words("README.md", &format!("fine\nsee {needle} there\n")).len(), 1, "{needle}");
        }
        assert_eq!(words("README.md", "nothing of the kind\n"), [""; 0]);
    }

    #[test]
    fn a_crate_without_page_description_or_license_is_reported() {
        let package = |description: Value| {
            json!({"packages": [{"name": "a", "manifest_path": "/r/crates/a/Cargo.toml",
                "license": "MIT", "description": description}]})
        };
        assert_eq!(manifests(&package(json!("what it is")), |_| true), [""; 0]);
        assert_eq!(manifests(&package(json!(null)), |_| true).len(), 1);
        assert_eq!(manifests(&package(json!("what it is")), |_| false).len(), 1);
    }
}
