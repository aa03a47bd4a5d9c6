//! `cargo xtask images`: crash images of real file systems, built from the block writes and flushes that reached the disk.

use std::fmt;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use crate::crash::{self, Plan, Random};
use crate::crash_oracle::Oracle;
use crate::disks::Log;
use crate::disks_mount::{self, Disk, Kind};
use crate::images_disk::Recorded;
use crate::{Outcome, Repo, cmd, images_lie};

const HELP: &str = "images [--images N] [--fs ext4|xfs|btrfs] [--seed S] [--long]";
const IMAGES: u64 = 500;
const IMAGES_LONG: u64 = 10_000;
/// Of a hundred images; a mount of xfs or btrfs takes ten times as long as one of ext4.
const SHARES: [(Kind, u64); 3] = [(Kind::Ext4, 70), (Kind::Btrfs, 20), (Kind::Xfs, 10)];
/// So many images are drawn from one history.
const IMAGES_A_HISTORY: u64 = 250;
const CRASHES: [&str; 6] = ["none", "mixed", "cut", "but-one", "only-one", "all"];
/// Images of a writer that acknowledges what it has not synced.
const IMAGES_OF_LIES: u64 = 12;
const BATCHES: u64 = 24;
/// Where ext4 has its superblock, of two sectors.
const SUPERBLOCK_AT: u64 = 1024;
const SILENT: &str = "cut in silence";

/// What was asked for on the command line, and where things are.
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) recorder: PathBuf,
    evidence: PathBuf,
    seed: u64,
}

/// What was found, by its kind.
#[derive(Debug, Default, Clone)]
struct Counts {
    images: u64,
    /// Of a first commit cut short, which leaves no mark: nothing was acknowledged.
    damaged: u64,
    /// Mounted only after a check of the file system.
    mended: u64,
    /// With the file system or the log saying so, or without its directory.
    lost: u64,
    /// What was acknowledged is not there, and the log calls itself clean or torn.
    silent: u64,
    invented: u64,
    reordered: u64,
    panicked: u64,
    other: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, damaged, mended, lost, silent, invented, reordered, panicked, other } = self;
        write!(
            f,
            "{images} images: {lost} lost, {silent} cut in silence, {invented} invented, {reordered} reordered, \
             {panicked} panicked, {other} wrong otherwise; {damaged} of a first commit, called damaged; {mended} \
             mounted only after e2fsck"
        )
    }
}

impl Counts {
    fn add(&mut self, why: &str) {
        let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
        let count = if has(&["panicked"]) {
            &mut self.panicked
        } else if has(&[SILENT]) {
            &mut self.silent
        } else if has(&["missing:", "the log is \"damaged\""]) {
            &mut self.lost
        } else if has(&["stands behind"]) {
            &mut self.reordered
        } else if has(&["nobody logged", "never fed", "was gone before", "is of life"]) {
            &mut self.invented
        } else {
            &mut self.other
        };
        *count += 1;
    }
}

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let (mut images, mut only, mut seed) = (IMAGES, None, crash::SEED);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok()).ok_or(HELP);
        match arg {
            "--images" => images = number()?,
            "--seed" => seed = number()?,
            "--long" => images = IMAGES_LONG,
            "--fs" => {
                let name = args.next().ok_or(HELP)?;
                only = Some(SHARES.iter().find(|(kind, _)| kind.name() == name).ok_or(HELP)?.0);
            }
            _ => return Err(format!("`{arg}`? {HELP}")),
        }
    }
    disks_mount::need()?;
    cmd::need("strace", "--version", "apt-get install strace")?;
    disks_mount::own_mounts()?;
    cmd::run(cmd::cargo(&repo.root).args(["build", "--quiet", "--locked", "--package", "recorder"]))?;
    let (scratch, memory) = disks_mount::scratch(repo, "images")?;
    // A build meanwhile must not change what is tried.
    let tool = memory.join("wal");
    fs::copy(repo.wal_tool()?, &tool).map_err(|e| format!("{}: {e}", tool.display()))?;
    let run = Run {
        plan: Plan::new(tool, memory.clone()),
        recorder: repo.target.join("debug").join("recorder"),
        evidence: scratch.clone(),
        seed,
    };
    println!("    seed {seed}");
    let mut problems = Vec::new();
    for (kind, share) in SHARES {
        let count = match only {
            None => images * share / 100,
            Some(only) if only == kind => images,
            Some(_) => continue,
        };
        let named = |why| format!("{}: {why}", kind.name());
        problems.extend(images_lie::run(&run, kind).map_err(named).err());
        problems.extend(on(&run, kind, count).map_err(named).err());
    }
    if only.is_none_or(|only| only == Kind::Ext4) {
        problems.extend(a_torn_superblock_is_mended(&run).err());
        problems.extend(lies_are_noticed(&run).err());
    }
    if problems.is_empty() { disks_mount::tidy_up(&scratch, &memory) } else { Err(problems.join("\n")) }
}

/// So many images of histories on one kind of file system.
fn on(run: &Run, kind: Kind, images: u64) -> Outcome {
    let start = Instant::now();
    let counts = Mutex::new(Counts::default());
    let mut told = String::new();
    let mut outcome = Ok(());
    for history in 0..images.div_ceil(IMAGES_A_HISTORY) {
        let seed = run.seed.wrapping_add(history);
        let mut recorded = Recorded::make(&run.recorder, &run.plan.scratch, kind)?;
        let mut random = Random::new(seed, 0);
        history_of(run, &mut recorded, &mut random)?;
        told = recorded.ask("counts")?;
        recorded.unmount()?;
        let part = IMAGES_A_HISTORY.min(images - history * IMAGES_A_HISTORY);
        let recorded = Mutex::new(recorded);
        let part = usize::try_from(part).map_err(|e| e.to_string())?;
        outcome = crash::every(part, |worker, index| {
            let draw = Draw { seed, index: index as u64, kind };
            let judged = one(run, &recorded, worker, &draw);
            let mut counts = counts.lock().map_err(|e| e.to_string())?;
            counts.images += 1;
            match judged {
                Ok(Judged { is_damaged, is_mended }) => {
                    counts.damaged += u64::from(is_damaged);
                    counts.mended += u64::from(is_mended);
                }
                Err(why) => {
                    counts.add(&why);
                    return Err(format!("seed {seed}, image {index}: {why}"));
                }
            }
            Ok(())
        });
        if outcome.is_err() {
            break;
        }
    }
    let counts = counts.into_inner().map_err(|e| e.to_string())?;
    let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let rate = counts.images * 1000 / millis.max(1);
    let words: Vec<&str> = told.split(' ').collect();
    let [writes, bytes, flushes, _] = words.as_slice() else { return Err(format!("counts say {told}")) };
    println!(
        "    {}: {counts}; {} s, {rate} a second; the last history has {writes} writes of {bytes} bytes, {flushes} flushes",
        kind.name(),
        millis / 1000,
    );
    outcome
}

/// Appends in small segments, truncates, appends, truncates, with everything known written beside the record.
fn history_of(run: &Run, recorded: &mut Recorded, random: &mut Random) -> Outcome {
    let dir = recorded.at.join("log");
    let mut oracle = Oracle::default();
    for _ in 0..2 {
        let segment = ["1024", "4096", "16384"][usize::try_from(random.within(0, 2)).unwrap_or(0)];
        let command = crash::tool(&run.plan, &import(segment), &dir);
        let (code, said) = recorded.feed(command, &mut oracle, BATCHES, |_, _| Ok(()))?;
        if code != 0 {
            return Err(format!("import exits with {code}: {said}"));
        }
        oracle.read(&crash::dump(&run.plan, &dir)?)?;
        oracle.mint = random.within(oracle.mint, oracle.last());
        recorded.know(&oracle)?;
        let mint = oracle.mint.to_string();
        let answer =
            cmd::answer(&mut crash::tool(&run.plan, &["truncate", "--mint", &mint, "--keep-all"], &dir))?;
        if answer.code != 0 {
            return Err(format!("truncate exits with {}: {}", answer.code, answer.stderr));
        }
        oracle.read(&crash::dump(&run.plan, &dir)?)?;
        recorded.know(&oracle)?;
    }
    Ok(())
}

/// The tool's words for appending with an acknowledgement after each batch.
pub(crate) fn import(segment: &str) -> [&str; 6] {
    ["import", "--segment-size", segment, "--sync-every", "8", "--ack"]
}

/// Which image.
pub(crate) struct Draw {
    pub(crate) seed: u64,
    pub(crate) index: u64,
    pub(crate) kind: Kind,
}

/// An image with nothing wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    /// Of a first commit cut short, and called damaged.
    is_damaged: bool,
    /// Mounted only after a check of the file system.
    is_mended: bool,
}

/// Draws one image and judges it.
fn one(run: &Run, recorded: &Mutex<Recorded>, worker: usize, draw: &Draw) -> Result<Judged, String> {
    let mut random = Random::new(draw.seed, draw.index + 1);
    let crash = CRASHES[usize::try_from(draw.index % 6).unwrap_or(0)];
    let (point, known) = {
        let mut recorded = recorded.lock().map_err(|e| e.to_string())?;
        let last = recorded.note()?;
        // Every other time right behind an acknowledgement, where a lie shows best.
        let point = if random.within(0, 1) == 0 {
            let which = random.within(0, recorded.known.len() as u64 - 1);
            recorded.known.get(usize::try_from(which).unwrap_or(0)).map_or(last, |(note, _)| *note)
        } else {
            usize::try_from(random.within(0, last as u64)).map_err(|e| e.to_string())?
        };
        let file = image_file(run, worker);
        recorded.ask(&format!(
            "image {} {point} {crash} {}",
            file.display(),
            random.within(0, u64::MAX - 1)
        ))?;
        (point, recorded.known_at(point))
    };
    judge(run, worker, draw.kind, known).map_err(|why| {
        let kept = run.evidence.join(format!("{}-{}-{}.img", draw.kind.name(), draw.seed, draw.index));
        let copied = disks_mount::quiet(
            Command::new("cp").arg("--sparse=always").arg(image_file(run, worker)).arg(&kept),
        );
        let place =
            copied.map_or_else(|lost| lost, |_| format!("the image, as judged, is {}", kept.display()));
        format!("point {point}, {crash}: {why}\n  {place}")
    })
}

pub(crate) fn image_file(run: &Run, worker: usize) -> PathBuf {
    run.plan.scratch.join(format!("crash-{worker}.img"))
}

/// Mounts an image, reads the log, goes on with it and reads it again.
pub(crate) fn judge(run: &Run, worker: usize, kind: Kind, known: Oracle) -> Result<Judged, String> {
    let at = run.plan.scratch.join(format!("crash-{worker}"));
    fs::create_dir_all(&at).map_err(|e| format!("{}: {e}", at.display()))?;
    let disk = Disk::open(kind, image_file(run, worker), at)?;
    let right = Judged { is_damaged: false, is_mended: disk.is_mended };
    let mut log = Log::at(&run.plan, disk.at.join("log"));
    log.oracle = known;
    if !log.dir.exists() {
        return log.check().map(|()| right);
    }
    let verify = log.tool(&["verify", "--json"])?;
    if verify.stderr.contains("panicked") {
        return Err(verify.stderr);
    }
    if verify.stdout.contains("\"verdict\":\"damaged\"") && log.oracle.acked == 0 {
        return Ok(Judged { is_damaged: true, ..right });
    }
    let silent = |why: String| if why.contains("missing:") { format!("{SILENT}: {why}") } else { why };
    log.check().map_err(silent)?;
    log.grow(5, &[]).map_err(|why| format!("reopened: {why}"))?;
    Ok(right)
}

/// What the draws do now and then, on purpose: the second sector of ext4's superblock is not that of the first.
fn a_torn_superblock_is_mended(run: &Run) -> Outcome {
    let mut recorded = Recorded::make(&run.recorder, &run.plan.scratch, Kind::Ext4)?;
    let dir = recorded.at.join("log");
    let writer = crash::tool(&run.plan, &import("4096"), &dir);
    recorded.feed(writer, &mut Oracle::default(), BATCHES, |_, _| Ok(()))?;
    let (point, known) = recorded.known.last().cloned().ok_or("nothing is known")?;
    let image = image_file(run, 0);
    recorded.ask(&format!("image {} {point} none 0", image.display()))?;
    recorded.unmount()?;
    let file = fs::OpenOptions::new().write(true).open(&image);
    let torn = file.and_then(|file| file.write_all_at(&[0xff; 512], SUPERBLOCK_AT + 512));
    torn.map_err(|e| format!("{}: {e}", image.display()))?;
    let judged = judge(run, 0, Kind::Ext4, known).map_err(|why| format!("with a torn superblock: {why}"))?;
    if judged.is_mended { Ok(()) } else { Err("a torn superblock was not noticed".to_owned()) }
}

/// A writer whose syncs do nothing must be found out, else these images prove nothing.
fn lies_are_noticed(run: &Run) -> Outcome {
    let mut recorded = Recorded::make(&run.recorder, &run.plan.scratch, Kind::Ext4)?;
    let dir = recorded.at.join("log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]);
    strace.args(["-e", "inject=fdatasync,fsync:retval=0"]).arg(&run.plan.tool).args(import("4096")).arg(&dir);
    let mut oracle = Oracle::default();
    recorded.feed(strace, &mut oracle, BATCHES, |_, _| Ok(()))?;
    let mut noticed = 0;
    for index in 0..IMAGES_OF_LIES {
        let which = recorded.known.len() - 1 - usize::try_from(index).unwrap_or(0);
        let (point, known) = recorded.known.get(which).cloned().ok_or("nothing is known")?;
        recorded.ask(&format!("image {} {point} none {index}", image_file(run, 0).display()))?;
        noticed += u64::from(judge(run, 0, Kind::Ext4, known).is_err());
    }
    recorded.unmount()?;
    println!("    ext4: {noticed} of {IMAGES_OF_LIES} images of a writer that does not sync are found out");
    if noticed == 0 { Err("a writer that does not sync is not found out".to_owned()) } else { Ok(()) }
}

/// The bytes at the beginning of a file of an image.
pub(crate) fn front(run: &Run, kind: Kind, name: &Path) -> Result<Vec<u8>, String> {
    let at = run.plan.scratch.join("front");
    fs::create_dir_all(&at).map_err(|e| format!("{}: {e}", at.display()))?;
    let disk = Disk::open(kind, image_file(run, 0), at)?;
    let bytes = fs::read(disk.at.join(name)).map_err(|e| format!("{}: {e}", name.display()))?;
    Ok(bytes.get(..16).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_image_is_counted_under_its_name() {
        let mut counts = Counts::default();
        for why in [
            "cut in silence: of 5 acknowledged, read to 3, mint 0, missing: 4 5",
            "of 5 acknowledged, read to 0, mint 0, missing: 1",
            "dump exits with 1, the log is \"damaged\": why",
            "an entry that nobody logged: {}",
            "entry 3 stands behind entry 4",
            "thread 'main' panicked at src/main.rs",
            "mount: wrong fs type",
        ] {
            counts.add(why);
        }
        let Counts { silent, lost, invented, reordered, panicked, other, .. } = counts;
        assert_eq!([silent, lost, invented, reordered, panicked, other], [1, 2, 1, 1, 1, 1]);
    }
}
