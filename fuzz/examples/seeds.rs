//! `seeds DATA CORPUS`: writes the seeds of every fuzz target from the golden logs below DATA into CORPUS/TARGET,
//! each as a file named by its contents.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use wal_fuzz::{BODIES, seeds};

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [data, corpus] = &args[..] else {
        eprintln!("seeds: give the directory of the golden logs and that of the corpora");
        return ExitCode::FAILURE;
    };
    match BODIES
        .iter()
        .map(|(name, _)| *name)
        .chain(["canary"])
        .try_for_each(|name| write(name, data, corpus))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("seeds: {why}");
            ExitCode::FAILURE
        }
    }
}

fn write(name: &str, data: &Path, corpus: &Path) -> Result<(), String> {
    let seeds = seeds::of(name, data).map_err(|error| format!("{}: {error}", data.display()))?;
    let dir = corpus.join(name);
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for seed in seeds {
        let path = dir.join(format!("golden-{:016x}", fnv(&seed)));
        std::fs::write(&path, seed).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// FNV-1a, for names only.
fn fnv(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
