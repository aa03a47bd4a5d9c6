//! Which machine it is, and what is on it: figures mean nothing without.

use std::path::Path;
use std::process::Command;

use crate::peer::Answer;

/// One line for a table: processor, cores, kernel, file systems, compiler, load, date.
pub(crate) fn line(dirs: &[&Path]) -> Answer<String> {
    let cpu = read("/proc/cpuinfo")?
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()))
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism()?;
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or("?");
    let places = dirs.iter().map(|dir| file_system(dir)).collect::<Answer<Vec<_>>>()?.join(" and ");
    let (rustc, date) = (said("rustc", "--version")?, said("date", "+%F")?);
    Ok(format!(
        "Machine: {cpu}, {cores} cores, Linux {}, {places}, {rustc}. Date: {date}. Load at the start: {load}.",
        kernel.trim()
    ))
}

/// The kind of file system that a directory is on; of ext4 also whether it has a journal.
pub(crate) fn file_system(dir: &Path) -> Answer<String> {
    let dir = dir.canonicalize()?;
    let mounts = read("/proc/self/mountinfo")?;
    // The last of the longest: a later mount covers an earlier one.
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let (place, rest) = line.split_once(" - ")?;
            Some((place.split(' ').nth(4)?, rest))
        })
        .filter(|(at, _)| dir.starts_with(at))
        .max_by_key(|(at, _)| at.len());
    let Some((_, rest)) = mount else { return Ok("unknown file system".to_owned()) };
    let mut words = rest.split(' ');
    let (kind, device) = (words.next().unwrap_or("?"), words.next().unwrap_or("?"));
    if kind != "ext4" {
        return Ok(kind.to_owned());
    }
    // The journal's thread is listed under the name of its device.
    let device = device.rsplit('/').next().unwrap_or(device);
    let journalled = std::fs::read_dir("/proc/fs/jbd2").is_ok_and(|journals| {
        journals
            .flatten()
            .any(|journal| journal.file_name().to_string_lossy().starts_with(&format!("{device}-")))
    });
    Ok(if journalled { "ext4 with a journal".to_owned() } else { "ext4 without a journal".to_owned() })
}

fn said(program: &str, arg: &str) -> Answer<String> {
    let output = Command::new(program).arg(arg).output().map_err(|e| format!("{program}: {e}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read(path: &str) -> Answer<String> {
    std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}").into())
}
