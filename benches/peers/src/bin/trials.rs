//! What the log might have used and does not: another checksum, other ways to write, other ways to read.
//!
//! `trials checksum|write|read [--dir DIR]`, one table each, medians of turns. `read` drops the page cache of the machine
//! for its cold columns, which takes root.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use wal_benches::{SERIES, Sum, Workload, open};
use wal_engine::{ReadMethod, Wal, WalOptions};

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Answer<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let dir = match (args.next().as_deref(), args.next()) {
        (None, _) => std::env::temp_dir(),
        (Some("--dir"), Some(dir)) => PathBuf::from(dir),
        _ => return Err(USAGE.into()),
    };
    match what.as_str() {
        "checksum" => {
            checksum();
            Ok(())
        }
        "write" => write(&dir),
        "read" => read(&dir),
        _ => Err(USAGE.into()),
    }
}

const USAGE: &str = "trials checksum|write|read [--dir DIR]";

/// `crc32c`, which the log uses, and `crc-fast`.
fn checksum() {
    println!("| bytes | `crc32c`, ns | `crc-fast`, ns |\n|---|---|---|");
    let data: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    for bytes in [16, 128, 1024, 11_000, 1 << 20] {
        let input = data.get(..bytes).unwrap_or_default();
        let repeats = (64 << 20) / bytes.max(64);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(nanos(repeats, || u64::from(crc32c::crc32c(black_box(input)))));
            let fast = crc_fast::CrcAlgorithm::Crc32Iscsi;
            theirs.push(nanos(repeats, || crc_fast::checksum(fast, black_box(input))));
        }
        println!("| {bytes} | {:.1} | {:.1} |", part(&mut ours, 50), part(&mut theirs, 50));
    }
}

/// Nanoseconds of one of so many calls.
fn nanos(repeats: usize, mut call: impl FnMut() -> u64) -> f64 {
    let start = Instant::now();
    black_box((0..repeats).fold(0, |sum, _| sum ^ call()));
    start.elapsed().as_secs_f64() * 1e9 / repeats as f64
}

/// Ways to make a write durable, over space that was filled with zeros. A direct write is of whole blocks: the next one
/// writes the last block of the one before again, as a log would have to.
fn write(dir: &Path) -> Answer<()> {
    let home = tempfile::tempdir_in(dir)?;
    let ways = [
        ("write, fdatasync", OFlag::empty(), true),
        ("`O_DSYNC`", OFlag::O_DSYNC, false),
        ("direct, `O_DSYNC`", OFlag::O_DIRECT | OFlag::O_DSYNC, false),
        ("direct, fdatasync", OFlag::O_DIRECT, true),
    ];
    let mut files = Vec::new();
    for (number, (_, flags, _)) in ways.iter().enumerate() {
        let path = home.path().join(number.to_string());
        let zeros = vec![0; 1 << 20];
        let fresh = File::create(&path)?;
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            fresh.write_all_at(&zeros, at as u64)?;
        }
        fresh.sync_all()?;
        files.push((OpenOptions::new().write(true).custom_flags(flags.bits()).open(&path)?, 0));
    }
    let names = ways.map(|(name, ..)| name);
    println!("| microseconds, median (p99) | {} |\n|---|---|---|---|---|", names.join(" | "));
    let memory = vec![7; (1 << 20) + 3 * BLOCK_BYTES];
    // Direct writes come from memory that begins where a block does.
    let aligned = memory.get(memory.as_ptr().align_offset(BLOCK_BYTES)..).unwrap_or_default();
    for bytes in [128, 10_952, 350_000, 1 << 20] {
        let mut taken = [const { Vec::new() }; 4];
        for _ in 0..if bytes < 100_000 { 600 } else { 150 } {
            for (((_, flags, syncs), (file, at)), taken) in ways.iter().zip(&mut files).zip(&mut taken) {
                let (from, size) = if flags.contains(OFlag::O_DIRECT) {
                    let within = *at % BLOCK_BYTES;
                    (*at - within, (within + bytes).next_multiple_of(BLOCK_BYTES))
                } else {
                    (*at, bytes)
                };
                let start = Instant::now();
                file.write_all_at(aligned.get(..size).unwrap_or_default(), from as u64)?;
                if *syncs {
                    file.sync_data()?;
                }
                taken.push(start.elapsed().as_secs_f64() * 1e6);
                *at = if *at + 2 * (bytes + BLOCK_BYTES) < FILE_BYTES { *at + bytes } else { 0 };
            }
        }
        let cells =
            taken.map(|mut taken| format!("{:.0} ({:.0})", part(&mut taken, 50), part(&mut taken, 99)));
        println!("| {bytes} bytes | {} |", cells.join(" | "));
    }
    Ok(())
}

/// A log of samples replayed in each way, from the page cache and without it; then its bytes read with and without advice.
fn read(dir: &Path) -> Answer<()> {
    let home = tempfile::tempdir_in(dir)?;
    let wal = open(home.path(), WalOptions::default())?;
    let mut workload = Workload::new(SERIES);
    for _ in 0..BATCHES {
        wal.log_samples(workload.next_batch(BATCH))?;
    }
    wal.close()?;
    let ways = [
        ("positioned, one thread", ReadMethod::Positioned, 1),
        ("mapped, one thread", ReadMethod::Mapped, 1),
        ("positioned, two threads", ReadMethod::Positioned, 2),
    ];
    println!("| milliseconds | hot | hot, no samples wanted | cold | cold, no samples wanted |");
    println!("|---|---|---|---|---|");
    let mut taken = [const { [const { Vec::new() }; 4] }; 3];
    // What needs the page cache first, and then what empties it.
    for (column, (cold, samples)) in
        [(false, true), (false, false), (true, true), (true, false)].into_iter().enumerate()
    {
        for _ in 0..ROUNDS {
            for ((_, method, threads), taken) in ways.iter().zip(&mut taken) {
                if cold {
                    drop_page_cache()?;
                }
                let options = WalOptions::default().read_method(*method).replay_threads(*threads);
                let start = Instant::now();
                let opened = Wal::open(home.path(), options)?;
                let (wal, _) =
                    if samples { opened.replay(&mut Sum::default())? } else { opened.replay(&mut ())? };
                if let Some(taken) = taken.get_mut(column) {
                    taken.push(start.elapsed().as_secs_f64() * 1e3);
                }
                wal.close()?;
            }
        }
    }
    for ((name, ..), taken) in ways.iter().zip(taken) {
        let cells = taken.map(|mut taken| format!("{:.1}", part(&mut taken, 50)));
        println!("| {name} | {} |", cells.join(" | "));
    }
    let segment = home.path().join("000001");
    println!(
        "\n| read and checked cold, milliseconds | no advice | sequential | will need |\n|---|---|---|---|"
    );
    for piece in [256 << 10, 1 << 20] {
        let advices = [
            None,
            Some(PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL),
            Some(PosixFadviseAdvice::POSIX_FADV_WILLNEED),
        ];
        let mut taken = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (advice, taken) in advices.into_iter().zip(&mut taken) {
                drop_page_cache()?;
                taken.push(checked(&segment, piece, advice)?);
            }
        }
        let cells = taken.map(|mut taken| format!("{:.1}", part(&mut taken, 50)));
        println!("| pieces of {} KiB | {} |", piece >> 10, cells.join(" | "));
    }
    Ok(())
}

/// Milliseconds to read a file and sum it.
fn checked(path: &Path, piece: usize, advice: Option<PosixFadviseAdvice>) -> Answer<f64> {
    let start = Instant::now();
    let file = File::open(path)?;
    if let Some(advice) = advice {
        posix_fadvise(&file, 0, 0, advice)?;
    }
    let (mut buffer, mut at, mut sum) = (vec![0; piece], 0, 0);
    loop {
        let have = file.read_at(&mut buffer, at)?;
        if have == 0 {
            break;
        }
        sum = crc32c::crc32c_append(sum, buffer.get(..have).unwrap_or_default());
        at += have as u64;
    }
    black_box(sum);
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Written pages stay until they are synced, so that goes first.
fn drop_page_cache() -> Answer<()> {
    nix::unistd::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "1")
        .map_err(|e| format!("dropping the page cache takes root: {e}").into())
}

/// The value below which so many of a hundred are.
fn part(taken: &mut [f64], hundredths: usize) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken.get(taken.len() * hundredths / 100).copied().unwrap_or(f64::NAN)
}

const ROUNDS: usize = 7;
const BATCHES: usize = 20_000;
const BATCH: usize = 1000;
const BLOCK_BYTES: usize = 4096;
const FILE_BYTES: usize = 32 << 20;
