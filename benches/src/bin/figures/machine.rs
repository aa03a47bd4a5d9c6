//! What a table must say beside its figures: machine, system, file systems, compiler, date, command.

use std::path::Path;
use std::process::Command;

/// Lines that stand above the table.
pub(crate) fn facts(dir: &Path, journal: Option<&Path>, words: &[String]) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kernel = read("/proc/sys/kernel/osrelease");
    let journalled = journal.map_or_else(String::new, |dir| format!(", row E on {}", file_system(dir)));
    format!(
        "Machine: {cores} cores of {cpu}, Linux {}, {}{journalled}, {}. Date: {}.\nCommand: `figures{}`",
        kernel.trim(),
        file_system(dir),
        ask("rustc", &["--version"]),
        ask("date", &["-u", "+%Y-%m-%d"]),
        words.iter().map(|word| format!(" {word}")).collect::<String>(),
    )
}

/// The file system of a directory, and for ext4 whether it has a journal.
pub(crate) fn file_system(dir: &Path) -> String {
    let Ok(dir) = dir.canonicalize() else { return "unknown file system".to_owned() };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Of two mounts at one place the later one is seen.
    let found = mounts
        .lines()
        .filter_map(mount)
        .filter(|(at, ..)| dir.starts_with(at))
        .max_by_key(|(at, ..)| at.len());
    let Some((_, kind, device)) = found else { return "unknown file system".to_owned() };
    if kind != "ext4" {
        return kind.to_owned();
    }
    let device = device.rsplit('/').next().unwrap_or(device);
    let journals = std::fs::read_dir("/proc/fs/jbd2").into_iter().flatten().flatten();
    let mut names = journals.map(|entry| entry.file_name().to_string_lossy().into_owned());
    match names.any(|name| name.rsplit_once('-').is_some_and(|(of, _)| of == device)) {
        true => "ext4 with a journal".to_owned(),
        false => "ext4 without a journal".to_owned(),
    }
}

/// The place, kind and device of a line of `mountinfo`.
fn mount(line: &str) -> Option<(&str, &str, &str)> {
    let (before, behind) = line.split_once(" - ")?;
    let mut behind = behind.split(' ');
    Some((before.split(' ').nth(4)?, behind.next()?, behind.next()?))
}

/// The first line of what a program prints.
fn ask(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.lines().next().map_or_else(|| format!("{program} unknown"), str::to_owned)
}
