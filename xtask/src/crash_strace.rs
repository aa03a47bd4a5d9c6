//! Lets strace fail one system call of the tool, and reads what strace wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

/// A call, the errors it may answer with, and what else is left to say about it.
pub(crate) const CALLS: [(&str, &[&str]); 16] = [
    ("fdatasync", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"]),
    ("fsync", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"]),
    ("pwrite64", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"]),
    ("write", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"]),
    ("ftruncate", &["EIO", "ENOSPC", "EROFS", "EINTR"]),
    ("fallocate", &["EIO", "ENOSPC", "EDQUOT", "EINTR"]),
    ("openat", &["EIO", "ENOSPC", "EMFILE", "EROFS", "EACCES", "EINTR"]),
    ("rename", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES"]),
    ("renameat", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES"]),
    ("renameat2", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES"]),
    ("linkat", &["EIO", "ENOSPC", "EXDEV", "EPERM", "EMLINK"]),
    ("unlink", &["EIO", "EROFS", "EACCES"]),
    ("unlinkat", &["EIO", "EROFS", "EACCES"]),
    ("mkdir", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES"]),
    ("pread64", &["EIO", "EINTR"]),
    ("getdents64", &["EIO"]),
];

/// What strace does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not made and answers with an error.
    Errno { errno: &'static str, for_good: bool },
    /// The process dies instead of making it: SIGKILL before a call is carried out prevents it.
    KillBefore,
    /// The process dies as soon as it is made. SIGTERM, which the tool leaves to the kernel, waits until
    /// the call has ended, and then is as sudden.
    KillAfter,
}

/// One call: its name, which of a thread's calls on files of the log, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Injection {
    pub(crate) call: &'static str,
    pub(crate) index: usize,
    pub(crate) fault: Fault,
}

impl Injection {
    /// Death in the place of the call.
    pub(crate) fn kill(call: &'static str, index: usize) -> Self {
        Self { call, index, fault: Fault::KillBefore }
    }

    /// The error it answers with; empty for a kill.
    pub(crate) fn errno(&self) -> &'static str {
        if let Fault::Errno { errno, .. } = self.fault { errno } else { "" }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, index, fault } = self;
        match fault {
            Fault::Errno { errno, for_good } => {
                write!(f, "{call}:error={errno}:when={index}{}", if *for_good { "+" } else { "" })
            }
            Fault::KillBefore => write!(f, "{call}:signal=KILL:when={index}"),
            Fault::KillAfter => write!(f, "{call}:signal=TERM:when={index}"),
        }
    }
}

/// Strace around a command line, for runs that only watch: every call of the table is written down.
pub(crate) fn watch(trace: &Path) -> Command {
    let names: Vec<String> = CALLS.iter().map(|(name, _)| format!("?{name}")).collect();
    let mut command = strace(trace);
    command.args(["--seccomp-bpf", "-s", "16"]);
    command.args(["-e", &format!("trace={}", names.join(","))]);
    command
}

/// Strace with one call failing. Calls count only if they name one of these paths or a descriptor of one:
/// strace leaves all others alone, those of the loader and of standard output above all.
pub(crate) fn inject(trace: &Path, paths: &[String], stdout: &Path, injection: Injection) -> Command {
    let mut command = strace(trace);
    if let Fault::Errno { .. } = injection.fault {
        // Faster, as other calls do not stop the process; but a signal would never arrive.
        command.arg("--seccomp-bpf");
    }
    for path in paths {
        command.args(["-P", path]);
    }
    if injection.call == "write" {
        command.args(["-e", "trace=write"]);
    } else {
        // Acknowledgements are watched too, to know what was said after a failure.
        command.arg("-P").arg(stdout).args(["-e", &format!("trace={},write", injection.call)]);
    }
    command.args(["-e", &format!("inject={injection}")]);
    command
}

fn strace(trace: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--signal=KILL").arg(crate::crash::TIME_MAX.as_secs().to_string());
    command.args(["strace", "-f", "--quiet=attach,personality,exit,path-resolution", "-y", "-o"]).arg(trace);
    command
}

/// A call as strace wrote it down.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) thread: String,
    pub(crate) name: String,
    /// Arguments and answer.
    pub(crate) text: String,
    /// The lines where it began and ended.
    pub(crate) began: usize,
    pub(crate) ended: usize,
}

impl Call {
    /// Whether it was made to fail.
    pub(crate) fn failed(&self) -> bool {
        self.text.ends_with("(INJECTED)")
    }

    /// Whether it was made and answered well.
    pub(crate) fn succeeded(&self) -> bool {
        self.text.rsplit_once(" = ").is_some_and(|(_, answer)| !answer.starts_with(['-', '?']))
    }

    pub(crate) fn is_ack(&self) -> bool {
        self.name == "write" && self.text.contains("\"acked ")
    }

    pub(crate) fn is_sync(&self) -> bool {
        ["fsync", "fdatasync"].contains(&&*self.name)
    }

    /// The file behind its first descriptor.
    pub(crate) fn file(&self) -> Option<&str> {
        self.text.split_once('<')?.1.split_once('>').map(|(path, _)| path)
    }
}

/// All calls of a trace, in the order in which they began.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: BTreeMap<String, usize> = BTreeMap::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let begun = unfinished.remove(thread).and_then(|index| calls.get_mut(index));
            if let (Some(call), Some((_, text))) = (begun, resumed.split_once("resumed>")) {
                call.text += text;
                call.ended = number;
            }
        } else if let Some((name, text)) = rest.split_once('(') {
            let whole = text.strip_suffix("<unfinished ...>");
            if whole.is_some() {
                unfinished.insert(thread.to_owned(), calls.len());
            }
            let (thread, name) = (thread.to_owned(), name.to_owned());
            let text = whole.unwrap_or(text).trim().to_owned();
            calls.push(Call { thread, name, text, began: number, ended: number });
        }
    }
    calls
}

/// How often the busiest thread makes each call on a path that begins with `base`: the indices to try.
pub(crate) fn counts(calls: &[Call], base: &str) -> BTreeMap<String, usize> {
    let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.text.contains(base)) {
        *by_thread.entry((&call.name, &call.thread)).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in by_thread {
        let best: &mut usize = most.entry(name.to_owned()).or_default();
        *best = count.max(*best);
    }
    most
}

/// All paths that begin with `base`, as what follows it.
pub(crate) fn paths(calls: &[Call], base: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for call in calls {
        for (at, _) in call.text.match_indices(base) {
            let rest = &call.text[at + base.len()..];
            found.extend(rest.split(['"', '>']).next().map(str::to_owned));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"7  openat(AT_FDCWD</b>, "/etc/ld.so.cache", O_RDONLY) = 3</etc/ld.so.cache>
7  openat(AT_FDCWD</b>, "/b/log/000001", O_RDWR) = 3</b/log/000001>
7  fdatasync(3</b/log/000001>) = 0
7  write(1</b/out>, "acked 5\n", 8)  = 8
8  fdatasync(4</b/log/000002.wal-tmp> <unfinished ...>
7  fdatasync(3</b/log/000001> <unfinished ...>
8  <... fdatasync resumed>)          = 0
7  <... fdatasync resumed>)          = -1 EIO (Input/output error) (INJECTED)
8  +++ exited with 0 +++
"#;

    #[test]
    fn calls_count_by_thread_and_only_on_files_of_the_log() {
        let counts = counts(&calls(TRACE), "/b/log");
        assert_eq!(counts, BTreeMap::from([("fdatasync".to_owned(), 2), ("openat".to_owned(), 1)]));
    }

    #[test]
    fn a_call_that_another_thread_interrupts_is_put_together() {
        let calls = calls(TRACE);
        let failed: Vec<&Call> = calls.iter().filter(|call| call.failed()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].file(), failed[0].began, failed[0].ended), (Some("/b/log/000001"), 5, 7));
    }

    #[test]
    fn paths_are_those_below_the_base() {
        let expected = ["/log/000001", "/log/000002.wal-tmp", "/out"].map(str::to_owned);
        assert_eq!(
            paths(&calls(TRACE), "/b/").into_iter().map(|p| format!("/{p}")).collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn an_injection_is_spelled_as_strace_wants_it() {
        let as_told = |fault| Injection { call: "fsync", index: 3, fault }.to_string();
        assert_eq!(as_told(Fault::Errno { errno: "EIO", for_good: false }), "fsync:error=EIO:when=3");
        assert_eq!(as_told(Fault::Errno { errno: "EIO", for_good: true }), "fsync:error=EIO:when=3+");
        assert_eq!(as_told(Fault::KillBefore), "fsync:signal=KILL:when=3");
        assert_eq!(as_told(Fault::KillAfter), "fsync:signal=TERM:when=3");
    }

    #[test]
    fn a_call_that_failed_or_was_never_made_did_not_succeed() {
        let good = |text: &str| calls(&format!("7  mkdir(\"/b/log\", 0750) {text}\n"))[0].succeeded();
        assert!(good("= 0") && !good("= -1 EEXIST (File exists)") && !good("= ?"));
    }
}
