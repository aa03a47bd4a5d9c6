//! What is wrong with a log, in words: file, offset, reason, next step.

use std::path::Path;

use wal_engine::{Fault, Gap, Position, RecoveryReport, Verdict};
use wal_format::DecodeError;

use crate::colour::Colour;
use crate::exit;
use crate::place::segment_file;

/// A fault: the file, the offset, the verdict and the reason.
pub(crate) fn fault(dir: &Path, fault: &Fault) -> String {
    let verdict = Colour::stderr().verdict(fault.verdict);
    let message = format!("{}: {verdict}: {}", at(dir, fault.at), fault.reason);
    match fault.entry_behind {
        Some(offset) => format!("{message}; a whole entry starts behind it, at offset {offset}"),
        None => message,
    }
}

/// A stretch of bytes that was passed over.
pub(crate) fn gap(dir: &Path, gap: &Gap, fault: &Fault) -> String {
    let bytes = gap.to_offset.saturating_sub(gap.from.offset);
    let from = at(dir, gap.from);
    let verdict = Colour::stderr().verdict(fault.verdict);
    format!("{from}: {verdict}: {}; passed over {bytes} bytes, up to offset {}", gap.reason, gap.to_offset)
}

/// An entry that is whole but does not decode.
pub(crate) fn malformed(dir: &Path, position: Position, error: &DecodeError) -> String {
    format!("{}: malformed entry skipped: {error}", at(dir, position))
}

/// What to do about a fault, as the second line of its message.
pub(crate) fn next_step(dir: &Path, fault: &Fault) -> String {
    let dir = dir.display();
    match fault.verdict {
        Verdict::Unsupported => {
            "\n  next: read it with the program that wrote it; nothing was changed".to_owned()
        }
        _ => format!(
            "\n  next: run `wal repair {dir}` to see what a repair would do, `wal repair {dir} --apply` to do it"
        ),
    }
}

/// Says what opening a log for writing has trimmed, and where that is kept.
pub(crate) fn say_trimmed(dir: &Path, report: &RecoveryReport) {
    for line in trimmed(dir, report) {
        exit::warn(line);
    }
}

fn trimmed(dir: &Path, report: &RecoveryReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(cut) = report.cut_at {
        let reason = report.fault.as_ref().map_or_else(String::new, |fault| format!(" ({})", fault.reason));
        let done = if report.pending {
            "stays until there is room to keep a copy of it"
        } else {
            "was trimmed here"
        };
        lines.push(format!("{}: a torn tail {done}{reason}", at(dir, cut)));
    }
    // One without a name is not there yet.
    for kept in report.quarantined.iter().filter(|kept| !kept.name.is_empty()) {
        let (dir, name, bytes) = (dir.display(), &kept.name, kept.bytes);
        lines.push(format!("the {bytes} bytes cut are kept as {dir}/quarantine/{name}"));
    }
    lines
}

/// A place in a log as file and offset.
pub(crate) fn at(dir: &Path, position: Position) -> String {
    format!("{}: offset {}", segment_file(dir, position.segment).display(), position.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_engine::Quarantined;

    #[test]
    fn a_tail_that_could_not_be_kept_is_not_said_to_be_trimmed() {
        let said = |pending, name: &str| {
            let mut report = RecoveryReport::default();
            report.cut_at = Some(Position { segment: 2, offset: 100 });
            report.pending = pending;
            report.quarantined.push(Quarantined { name: name.to_owned(), segment: 2, offset: 100, bytes: 7 });
            trimmed(Path::new("/d"), &report).join("\n")
        };
        let done = said(false, "000002.1");
        assert!(done.contains("was trimmed") && done.contains("/d/quarantine/000002.1"), "{done}");
        let pending = said(true, "");
        assert!(pending.contains("stays until there is room"), "{pending}");
        assert!(!pending.contains("trimmed") && !pending.contains("quarantine"), "{pending}");
    }
}
