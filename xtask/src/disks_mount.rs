//! File systems in image files: made, mounted, filled to the last block, and always taken down again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;

use crate::cmd::{self, Answer};
use crate::{Outcome, Repo};

/// A file system of Linux as it is made for these tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
    Btrfs,
    /// btrfs with data and metadata in the same blocks, so that both run out at once.
    BtrfsMixed,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Btrfs, Self::BtrfsMixed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::BtrfsMixed => "btrfs-mixed",
        }
    }

    /// Nothing discarded, and nothing left to be made later in the background.
    pub(crate) fn mkfs_at_once(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
            Self::Xfs => &["-K"],
            Self::Btrfs | Self::BtrfsMixed => &["--nodiscard"],
        }
    }

    /// Whether it writes every block to a new place.
    pub(crate) fn copies_on_write(self) -> bool {
        matches!(self, Self::Btrfs | Self::BtrfsMixed)
    }

    /// What `mount -t` calls it.
    fn driver(self) -> &'static str {
        match self {
            Self::BtrfsMixed => Self::Btrfs.name(),
            other => other.name(),
        }
    }

    /// Not far above the least that each one takes.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Ext4 => 16 << 20,
            Self::Xfs => 300 << 20,
            Self::Btrfs => 112 << 20,
            Self::BtrfsMixed => 32 << 20,
        }
    }

    /// Small blocks on ext4, so that few bytes are many places to run out; its journal is the one of `mkfs`.
    pub(crate) fn mkfs(self) -> &'static [&'static str] {
        match self {
            // No space is kept for root, who runs this.
            Self::Ext4 => &["mkfs.ext4", "-q", "-F", "-b", "1024", "-m", "0", "-j"],
            Self::Xfs => &["mkfs.xfs", "-q", "-f"],
            Self::Btrfs => &["mkfs.btrfs", "-q", "-f"],
            Self::BtrfsMixed => &["mkfs.btrfs", "-q", "-f", "--mixed"],
        }
    }
}

/// Puts this thread, and all that it starts from now on, into mounts of its own: whatever ends this process, nothing
/// that was mounted stays behind.
pub(crate) fn own_mounts() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| {
        format!("no mounts of our own ({e}): this needs root with CAP_SYS_ADMIN, and a container to allow it")
    })?;
    quiet(Command::new("mount").args(["--make-rprivate", "/"])).map(drop)
}

/// Names what is missing.
pub(crate) fn need() -> Outcome {
    for (tool, package) in [
        ("mount", "mount"),
        ("losetup", "mount"),
        ("mkfs.ext4", "e2fsprogs"),
        ("mkfs.xfs", "xfsprogs"),
        ("xfs_io", "xfsprogs"),
        ("mkfs.btrfs", "btrfs-progs"),
    ] {
        cmd::need(tool, "-V", &format!("apt-get install {package}"))?;
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err("no /dev/loop-control: the kernel, or the container, gives no loop devices".to_owned());
    }
    Ok(())
}

/// A directory below `target` for one run of a verb, and in it one in memory: a sync there waits for nothing.
pub(crate) fn scratch(repo: &Repo, verb: &str) -> Result<(PathBuf, PathBuf), String> {
    let scratch = repo.target.join(verb).join(std::process::id().to_string());
    let memory = scratch.join("memory");
    fs::create_dir_all(&memory).map_err(|e| format!("{}: {e}", memory.display()))?;
    quiet(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1g", "tmpfs"]).arg(&memory))?;
    Ok((scratch, memory))
}

/// Ends what `scratch` began, where nothing is left to look into.
pub(crate) fn tidy_up(scratch: &Path, memory: &Path) -> Outcome {
    quiet(Command::new("umount").arg(memory))?;
    fs::remove_dir_all(scratch).map_err(|e| format!("{}: {e}", scratch.display()))
}

/// Runs to the end and fails with what it said.
pub(crate) fn quiet(command: &mut Command) -> Result<String, String> {
    let Answer { code, stdout, stderr } = cmd::answer(command)?;
    if code == 0 { Ok(stdout) } else { Err(format!("`{}`: {}", cmd::line(command), stderr.trim())) }
}

/// A mounted image. Dropping it unmounts it, also while a panic unwinds.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) kind: Kind,
    /// Where it is mounted.
    pub(crate) at: PathBuf,
    image: PathBuf,
    /// It could be mounted only after a check of the file system, as its owner would make one.
    pub(crate) is_mended: bool,
}

impl Disk {
    /// A fresh file system in an image in `home`.
    pub(crate) fn make(home: &Path, kind: Kind, more: &[&str]) -> Result<Self, String> {
        let image = home.join(format!("{}.img", kind.name()));
        let at = home.join(kind.name());
        fs::create_dir_all(&at).map_err(|e| format!("{}: {e}", at.display()))?;
        let sized = File::create(&image).and_then(|file| file.set_len(kind.bytes()));
        sized.map_err(|e| format!("{}: {e}", image.display()))?;
        let (program, args) = kind.mkfs().split_first().ok_or("no mkfs")?;
        quiet(Command::new(program).args(args).args(more).arg(&image))?;
        let disk = Self { kind, at, image, is_mended: false };
        disk.mount("rw")?;
        Ok(disk)
    }

    /// Mounts an image that is there already.
    ///
    /// The superblock of ext4 fills two sectors and is written in place: torn between them its checksum is wrong, and
    /// the kernel asks for `e2fsck`, which takes another copy and replays the journal. What it leaves is the log's to read.
    pub(crate) fn open(kind: Kind, image: PathBuf, at: PathBuf) -> Result<Self, String> {
        let mut disk = Self { kind, at, image, is_mended: false };
        // Of one file system there are many images; xfs mounts no two of them unless told to.
        let mounted = disk.mount(if kind == Kind::Xfs { "nouuid" } else { "rw" });
        if let (Kind::Ext4, Err(why)) = (kind, &mounted) {
            let check = cmd::answer(Command::new("e2fsck").arg("-fy").arg(&disk.image))?;
            // 1: it was not in order, and is now.
            if check.code != 1 {
                return Err(format!(
                    "{why}\n  e2fsck exits with {}: {}{}",
                    check.code, check.stdout, check.stderr
                ));
            }
            disk.is_mended = true;
            return disk.mount("rw").map(|()| disk);
        }
        mounted.map(|()| disk)
    }

    /// Mounts it, on a loop device that goes with the mount.
    pub(crate) fn mount(&self, options: &str) -> Outcome {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", self.kind.driver(), "-o", &format!("loop,{options}")])
            .arg(&self.image)
            .arg(&self.at);
        quiet(&mut mount).map_err(|why| {
            let kind = self.kind.driver();
            format!("{why}\n  needed: root, /dev/loop-control, and {kind} in the kernel")
        })?;
        // What is meant to fill this disk must never fill the one below it.
        let (device, below) = (device(&self.at)?, self.at.parent().map_or(Ok(0), device)?);
        if device == below {
            return Err(format!("{} is no file system of its own", self.at.display()));
        }
        Ok(())
    }

    pub(crate) fn remount(&self, options: &str) -> Outcome {
        quiet(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.at)).map(drop)
    }

    pub(crate) fn unmount(&self) -> Outcome {
        quiet(Command::new("umount").arg(&self.at)).map(drop)
    }

    /// The name of its loop device, without `/dev/`.
    pub(crate) fn device(&self) -> Result<String, String> {
        let found = quiet(
            Command::new("losetup")
                .args(["--noheadings", "--output", "NAME", "--associated"])
                .arg(&self.image),
        )?;
        let name = found.trim().strip_prefix("/dev/").ok_or_else(|| format!("no loop device: {found}"))?;
        Ok(name.to_owned())
    }

    /// A copy of the image, to look into when something is wrong with it.
    pub(crate) fn keep(&self, to: &Path) -> Outcome {
        sync(&self.at)?;
        quiet(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(to)).map(drop)
    }

    /// The bytes that are free for us.
    pub(crate) fn free(&self) -> Result<u64, String> {
        sync(&self.at)?;
        let found = statvfs(&self.at).map_err(|e| format!("{}: {e}", self.at.display()))?;
        Ok(found.blocks_available() * found.fragment_size())
    }

    /// Takes all space but about `leave` bytes, in the file `name`.
    pub(crate) fn fill(&self, name: &str, leave: usize) -> Outcome {
        let path = self.at.join(name);
        let fail = |e: io::Error| format!("{}: {e}", path.display());
        // Removing a file works on the fullest disk; cutting one may not.
        let rest = path.with_extension("rest");
        fs::write(&rest, vec![1; leave]).map_err(fail)?;
        sync(&self.at)?;
        let filler = File::options().append(true).create(true).open(&path).map_err(fail)?;
        // Most of it costs no writing; the kernel gives it out in one piece or not at all.
        let mut piece = self.kind.bytes();
        while PIECE_MIN < piece {
            let from = filler.metadata().map_err(fail)?.len();
            let (from, size) = (from.cast_signed(), piece.cast_signed());
            match fallocate(&filler, FallocateFlags::empty(), from, size) {
                Ok(()) => {}
                Err(Errno::ENOSPC | Errno::EDQUOT) => piece /= 2,
                Err(e) => return Err(fail(e.into())),
            }
        }
        // What the file system keeps for its own records shows only after they are written.
        for _ in 0..FILLINGS {
            pour(&filler, self.kind.bytes()).map_err(fail)?;
            match filler.sync_all() {
                Err(e) if !is_full(&e) => return Err(fail(e)),
                _ => sync(&self.at)?,
            }
        }
        fs::remove_file(&rest).map_err(fail)?;
        sync(&self.at)
    }

    /// Gives back what `fill` took, and waits until it is there: btrfs frees the blocks of a removed file only when it
    /// has written its next tree, for which a full disk may have no room at the first attempt.
    pub(crate) fn empty(&self, name: &str) -> Outcome {
        let path = self.at.join(name);
        let fail = |e: io::Error| format!("{}: {e}", path.display());
        let free_before = self.free()?;
        let given_back = fs::metadata(&path).map_err(fail)?.blocks() * 512;
        let mut is_there = true;
        for _ in 0..EMPTYINGS {
            if is_there {
                match fs::remove_file(&path) {
                    Ok(()) => is_there = false,
                    Err(e) if !is_full(&e) => return Err(fail(e)),
                    Err(_) => {}
                }
            }
            if !is_there && free_before + given_back / 2 <= self.free()? {
                return Ok(());
            }
            std::thread::sleep(EMPTYING_PAUSE);
        }
        Err(format!("{}: its {given_back} bytes do not come back", path.display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure; what stays mounted goes with the mounts of this process.
        let _ = self.unmount();
    }
}

/// Writes until nothing more fits.
fn pour(mut file: &File, at_most: u64) -> io::Result<()> {
    let mut poured = 0;
    let mut size = ZEROS.len();
    while 0 < size && poured < at_most {
        match file.write(ZEROS.get(..size).unwrap_or(&ZEROS)) {
            Ok(written) => poured += written as u64,
            Err(e) if is_full(&e) => size /= 4,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Everything of the file system that holds `path` goes to its device, and what was removed is free again.
pub(crate) fn sync(path: &Path) -> Outcome {
    let dir = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    match nix::unistd::syncfs(&dir) {
        Ok(()) | Err(Errno::ENOSPC | Errno::EDQUOT) => Ok(()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

fn device(path: &Path) -> Result<u64, String> {
    Ok(fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.dev())
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
const PIECE_MIN: u64 = 256 << 10;
const FILLINGS: usize = 3;
const EMPTYINGS: usize = 200;
const EMPTYING_PAUSE: Duration = Duration::from_millis(50);
