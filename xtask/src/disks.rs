//! `cargo xtask disks`: the real tool on small ext4, xfs and btrfs that are full, over quota or read-only.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cmd::Answer;
use crate::crash::{self, Plan};
use crate::crash_oracle::{self, Oracle};
use crate::disks_mount::{self, Disk, Kind};
use crate::{Outcome, Repo, cmd, disks_full, disks_ro};

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    if let Some(arg) = args.first() {
        return Err(format!("`{arg}`? disks takes no arguments"));
    }
    disks_mount::need()?;
    disks_mount::own_mounts()?;
    let (scratch, memory) = disks_mount::scratch(repo, "disks")?;
    let plan = Plan::new(repo.wal_tool()?, memory.clone());
    crash::every(Kind::ALL.len(), |_, index| {
        let kind = *Kind::ALL.get(index).ok_or("no such file system")?;
        let start = Instant::now();
        let done = on(&plan, kind, &scratch).map_err(|why| format!("{}: {why}", kind.name()))?;
        println!("    {}, {} s: {done}", kind.name(), start.elapsed().as_secs());
        Ok(())
    })?;
    disks_mount::tidy_up(&scratch, &memory)
}

/// Everything on one kind of file system; what was done. The image is kept in `evidence` if something is wrong.
fn on(plan: &Plan, kind: Kind, evidence: &Path) -> Result<String, String> {
    let disk = Disk::make(&plan.scratch, kind, &[])?;
    let neighbour = Neighbour::beside(&disk.at)?;
    let done = (|| {
        let full = disks_full::run(plan, &disk)?;
        full.enough(kind)?;
        let more = match kind {
            Kind::Ext4 => disks_full::inodes(plan)?,
            Kind::Btrfs => disks_full::quota(plan, &disk)?,
            Kind::Xfs | Kind::BtrfsMixed => String::new(),
        };
        let read_only = disks_ro::run(plan, &disk)?;
        neighbour.is_untouched()?;
        Ok(format!("{full}{more}{read_only}"))
    })();
    done.map_err(|why: String| match disk.keep(evidence) {
        Ok(()) => format!("{why}\n  its image is in {}", evidence.display()),
        Err(lost) => format!("{why}\n  its image is lost: {lost}"),
    })
}

/// A file that is none of the log's business.
struct Neighbour(PathBuf);

const NEIGHBOUR_TEXT: &str = "not yours\n";

impl Neighbour {
    fn beside(dir: &Path) -> Result<Self, String> {
        let path = dir.join("neighbour");
        fs::write(&path, NEIGHBOUR_TEXT).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    fn is_untouched(&self) -> Outcome {
        match fs::read_to_string(&self.0) {
            Ok(text) if text == NEIGHBOUR_TEXT => Ok(()),
            other => Err(format!("{} holds {other:?}", self.0.display())),
        }
    }
}

/// A log, and what is known about it from outside.
pub(crate) struct Log<'a> {
    plan: &'a Plan,
    pub(crate) dir: PathBuf,
    /// What the tool is fed, on a disk that has room.
    input: PathBuf,
    pub(crate) oracle: Oracle,
}

impl<'a> Log<'a> {
    /// A log that is not there yet.
    pub(crate) fn at(plan: &'a Plan, dir: PathBuf) -> Self {
        let name: Vec<_> = dir.iter().rev().take(3).map(|part| part.to_string_lossy()).collect();
        let input = plan.scratch.join(format!("{}.input", name.join("-")));
        Self { plan, dir, input, oracle: Oracle::default() }
    }

    /// The same log on another disk.
    pub(crate) fn copied(&self, dir: PathBuf) -> Self {
        Self { oracle: self.oracle.clone(), ..Self::at(self.plan, dir) }
    }

    /// Appends so many lines in a life of its own, acknowledged every so many; the tool may end as it will, but what
    /// it says must be true, and is checked.
    pub(crate) fn import(&mut self, lines: u64, every: u64, args: &[&str]) -> Result<Answer, String> {
        let first = self.oracle.last() + 1;
        self.oracle.life += 1;
        let text = crash_oracle::lines(first, lines, self.oracle.life).concat();
        fs::write(&self.input, text).map_err(|e| format!("{}: {e}", self.input.display()))?;
        let every = every.to_string();
        let mut all = vec!["import", "--segment-size", SEGMENT_BYTES, "--sync-every", &every, "--ack"];
        all.extend(args);
        let input = fs::File::open(&self.input).map_err(|e| format!("{}: {e}", self.input.display()))?;
        let answer = cmd::answer_to(crash::tool(self.plan, &all, &self.dir).stdin(input))?;
        let acked = crash_oracle::acked(&answer.stdout);
        self.oracle.fed = self.oracle.fed.max(first - 1 + lines);
        self.oracle.acked = first - 1 + acked;
        if answer.code == 0 && acked != lines {
            return Err(format!("import says yes to {lines} lines and acknowledged {acked}"));
        }
        self.check().map_err(|why| format!("after import exits with {}: {why}", answer.code))?;
        Ok(answer)
    }

    /// Appends where nothing is in the way.
    pub(crate) fn grow(&mut self, lines: u64, args: &[&str]) -> Outcome {
        let answer = self.import(lines, lines.div_ceil(4), args)?;
        if answer.code == 0 {
            return Ok(());
        }
        Err(format!("appending exits with {}: {}", answer.code, answer.stderr.trim()))
    }

    /// Truncates up to the number that is so many parts of a hundred.
    pub(crate) fn truncate(&mut self, percent: u64) -> Result<Answer, String> {
        let mint = (self.oracle.last() * percent / 100).max(self.oracle.mint);
        let text = mint.to_string();
        // Whatever it answers, and however far it got: older samples may be gone, nothing else.
        self.oracle.mint = mint;
        let answer = self.tool(&["truncate", "--mint", &text, "--keep-all"])?;
        self.check().map_err(|why| format!("after truncate exits with {}: {why}", answer.code))?;
        Ok(answer)
    }

    /// Runs a command of the tool on the log.
    pub(crate) fn tool(&self, args: &[&str]) -> Result<Answer, String> {
        cmd::answer(&mut crash::tool(self.plan, args, &self.dir))
    }

    /// Reads everything and judges it. A log that was never made is as good as an empty one.
    pub(crate) fn check(&mut self) -> Outcome {
        let text = if self.dir.exists() { crash::dump(self.plan, &self.dir)? } else { String::new() };
        self.oracle.read(&text)
    }

    /// The contract for an error: it says why, on which file and what to do, and exits with 3.
    pub(crate) fn refused(&self, answer: &Answer, why: &[&str]) -> Outcome {
        let said = answer.stderr.trim();
        let dir = self.dir.to_string_lossy();
        let clear =
            said.contains(&*dir) && said.contains("next:") && why.iter().any(|why| said.contains(why));
        if answer.code == 3 && clear && !said.contains("panicked") {
            return Ok(());
        }
        Err(format!(
            "exit code {}, where 3 and a message with path, {why:?} and advice is due: {said}",
            answer.code
        ))
    }

    /// In the end the log is clean, holds only its own files and `strangers`, and is removed.
    pub(crate) fn close(mut self, strangers: &[&str]) -> Outcome {
        self.check()?;
        let verify = self.tool(&["verify", "--json"])?;
        if verify.code != 0 || !verify.stdout.contains("\"verdict\":\"clean\"") {
            return Err(format!("in the end verify exits with {}: {}", verify.code, verify.stdout.trim()));
        }
        let fail = |e: std::io::Error| format!("{}: {e}", self.dir.display());
        for entry in fs::read_dir(&self.dir).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name().to_string_lossy().into_owned();
            let is_segment = name.bytes().all(|byte| byte.is_ascii_digit());
            if !is_segment && !OWN_FILES.contains(&&*name) && !strangers.contains(&&*name) {
                return Err(format!("{name} is left behind in {}", self.dir.display()));
            }
        }
        for name in strangers {
            let found = fs::read_to_string(self.dir.join(name)).map_err(fail)?;
            if found != NEIGHBOUR_TEXT {
                return Err(format!("{name} is changed: {found:?}"));
            }
        }
        fs::remove_dir_all(&self.dir).map_err(fail)
    }

    /// A file in the log's directory that the log does not know.
    pub(crate) fn stranger(&self, name: &str) -> Outcome {
        let path = self.dir.join(name);
        fs::write(&path, NEIGHBOUR_TEXT).map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// Small, so that there is something to rotate and to truncate.
pub(crate) const SEGMENT_BYTES: &str = "8192";
const OWN_FILES: [&str; 5] = ["durable", "intent", "lock", "quarantine", "reserve"];
