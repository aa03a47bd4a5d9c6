//! The body of the fuzz target `import` over golden lines, over these cut at every length, and over these with
//! bytes changed.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use wal_cli::fuzzing::import;

/// One line of each kind of every golden directory; long ones would only be slow.
fn golden_lines() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wal-engine/tests/data/golden");
    let mut lines = Vec::new();
    for case in golden.read_dir().unwrap() {
        let text = std::fs::read_to_string(case.unwrap().path().join("expect.ndjson")).unwrap();
        lines.extend(text.lines().filter(|line| line.len() < 400).map(|line| line.as_bytes().to_vec()));
    }
    lines.sort();
    lines.dedup();
    assert!(20 < lines.len(), "{} lines", lines.len());
    lines
}

#[test]
fn golden_lines_come_back_whole_and_cut_anywhere() {
    let mut entries = 0;
    for line in golden_lines() {
        entries += import(&line);
        for length in 0..line.len() {
            assert_eq!(import(&line[..length]), 0, "half a line is no entry");
        }
    }
    assert!(20 < entries, "{entries} lines were entries");
}

#[test]
fn golden_lines_with_any_byte_changed_are_refused_or_come_back() {
    for line in golden_lines() {
        let mut changed = line.clone();
        for at in 0..line.len() {
            for byte in [b'"', b'\\', b'9', b'{', 0x80, line[at] ^ 1] {
                changed[at] = byte;
                import(&changed);
            }
            changed[at] = line[at];
        }
    }
}
