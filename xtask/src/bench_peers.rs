//! `cargo xtask bench --peers`: the same work done by this log, by other logs, and by bare loops, in one run.
//!
//! The peers are a workspace of their own in `benches/peers`. What they are measured on is the directory that is asked
//! for, and, for durable commits, an ext4 with a journal in an image file there: for that it takes root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disks_mount::{self, Disk, Kind, quiet};
use crate::{Outcome, Repo, bench, cmd};

/// What was asked for behind `--peers`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Args {
    dir: Option<PathBuf>,
    smoke: bool,
}

pub(crate) fn run(repo: &Repo, args: &[String]) -> Outcome {
    let Args { dir, smoke } = parse(args)?;
    let home = repo.root.join("benches/peers");
    cmd::run(cmd::cargo(&home).args(["build", "--release", "--locked"]))?;
    let within = dir.unwrap_or_else(std::env::temp_dir);
    let scratch = within.join(format!("wal-peers-{}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
    let measured = measure(repo, &home, &scratch, smoke);
    let removed = fs::remove_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()));
    measured.and(removed)
}

fn parse(args: &[String]) -> Result<Args, String> {
    let mut parsed = Args::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dir" => parsed.dir = Some(args.next().ok_or("--dir takes a directory")?.into()),
            "--smoke" => parsed.smoke = true,
            other => return Err(format!("bench --peers takes [--dir DIR] [--smoke], and not `{other}`")),
        }
    }
    Ok(parsed)
}

/// The comparison, and then what has no peer: other rows of the same table.
fn measure(repo: &Repo, home: &Path, scratch: &Path, smoke: bool) -> Outcome {
    // Unmounted when this is left; the scratch directory is removed only then.
    let journal = if nix::unistd::geteuid().is_root() { Some(journalled(scratch)?) } else { None };
    if journal.is_none() {
        println!("    what is measured on an ext4 with a journal is left out: mounting one takes root");
    }
    let mut peers = cmd::cargo(home);
    peers.args(["run", "--quiet", "--release", "--locked", "--"]);
    for mut command in [peers, bench::figures(repo)] {
        command.arg("--dir").arg(scratch);
        if let Some(disk) = &journal {
            command.arg("--journal").arg(&disk.at);
        }
        if smoke {
            command.arg("--smoke");
        }
        cmd::run(&mut command)?;
    }
    Ok(())
}

/// A fresh ext4 with a journal, on blocks that were all written once: a sync there asks nothing more of the file
/// system below than to write them again.
fn journalled(scratch: &Path) -> Result<Disk, String> {
    cmd::need("mkfs.ext4", "-V", "apt-get install e2fsprogs")?;
    disks_mount::own_mounts()?;
    let (image, at) = (scratch.join("ext4.img"), scratch.join("ext4"));
    let fail = |e: std::io::Error| format!("{}: {e}", image.display());
    let mut file = File::create(&image).map_err(fail)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..IMAGE_MIB {
        file.write_all(&zeros).map_err(fail)?;
    }
    file.sync_all().map_err(fail)?;
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-j", "-m", "0", "-N", "4096"]).args(Kind::Ext4.mkfs_at_once()).arg(&image);
    quiet(&mut mkfs)?;
    fs::create_dir_all(&at).map_err(|e| format!("{}: {e}", at.display()))?;
    Disk::open(Kind::Ext4, image, at)
}

const IMAGE_MIB: usize = 1536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_not_known_is_refused() {
        let parse = |words: &[&str]| parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&["--dir", "d", "--smoke"]), Ok(Args { dir: Some("d".into()), smoke: true }));
        assert_eq!(parse(&[]), Ok(Args::default()));
        assert!(parse(&["--dir"]).is_err());
        assert!(parse(&["--fast"]).unwrap_err().contains("--fast"));
    }
}
