//! The command line: what can be asked for, with one example for every command in its help.

mod help;

use std::num::NonZeroU64;
use std::path::PathBuf;

use crate::clock::time_ms;
use crate::selector::Selector;
use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use wal_engine::{Position, Preallocation, RecoveryMode};

/// Looks into, verifies, repairs, fills, truncates and measures a write-ahead log.
#[derive(Debug, Parser)]
#[command(name = "wal", version, after_help = help::EXIT_CODES)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print every entry in order, up to the first fault
    #[command(after_help = help::DUMP)]
    Dump(DumpArgs),
    /// Read everything and say whether the log is whole
    #[command(after_help = help::VERIFY)]
    Verify(ReadArgs),
    /// Say what is in the log: totals, samples over time, metrics and labels with most series, how it ends
    #[command(after_help = help::STAT)]
    Stat(ReadArgs),
    /// Say in which items two logs differ, however these were written
    #[command(after_help = help::DIFF)]
    Diff(DiffArgs),
    /// Append NDJSON entries from standard input
    #[command(after_help = help::IMPORT)]
    Import(ImportArgs),
    /// Say what opening the log would change, or do it
    #[command(after_help = help::REPAIR)]
    Repair(RepairArgs),
    /// Remove what is older than a time
    #[command(after_help = help::TRUNCATE)]
    Truncate(TruncateArgs),
    /// List, put back or delete what a repair has set aside
    #[command(after_help = help::QUARANTINE)]
    Quarantine(QuarantineArgs),
    /// Copy a log that nobody writes to at the moment
    #[command(after_help = help::BACKUP)]
    Backup(BackupArgs),
    /// Write everything readable to a fresh log, and say what is missing
    #[command(after_help = help::SALVAGE)]
    Salvage(SalvageArgs),
    /// Measure this disk and this build
    #[command(after_help = help::BENCH)]
    Bench(BenchArgs),
    /// Show the log at work: write, die without warning, recover, check, truncate
    #[command(after_help = help::DEMO)]
    Demo(DemoArgs),
    /// Print completions for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Write manual pages
    #[command(after_help = help::MAN)]
    Man(ManArgs),
    /// The part of the demonstration that is killed
    #[command(hide = true)]
    DemoWriter(DemoWriterArgs),
}

/// `wal dump`
#[derive(Debug, clap::Args)]
pub(crate) struct DumpArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// One JSON object an entry, or one line a sample for people
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub(crate) format: Format,
    /// Begin at the entry that starts here, such as 2:8
    #[arg(long, value_name = "SEG:OFF")]
    pub(crate) from: Option<Position>,
    /// Go on past faults to the next whole entry; every gap is reported, and the exit code is still 1
    #[arg(long)]
    pub(crate) skip_damaged: bool,
    /// Go on printing entries as they are written, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
    /// What to print
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// What reading may allocate
    #[command(flatten)]
    pub(crate) limit: EntryLimit,
}

/// What of a log is wanted; conditions of different kinds must all hold, of the same kind any.
#[derive(Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only the series with this reference, its samples and deletes; may be given again for more
    #[arg(long = "ref", value_name = "REF")]
    pub(crate) series_ref: Vec<u64>,
    /// Only series that a PromQL selector matches, such as up{job="node",mode!~"idle|user"}; may be given again
    #[arg(long = "match", value_name = "SELECTOR")]
    pub(crate) selector: Vec<Selector>,
    /// Only samples at or after this time, in milliseconds since 1970 or as 2023-11-14T22:13:20Z
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = time_ms)]
    pub(crate) since: Option<i64>,
    /// Only samples at or before this time
    #[arg(long, value_name = "TIME", allow_negative_numbers = true, value_parser = time_ms)]
    pub(crate) until: Option<i64>,
    /// Only entries of this kind; may be given again
    #[arg(long, value_enum)]
    pub(crate) kind: Vec<Kind>,
}

/// The kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// References and their labels
    Series,
    /// Times and values
    Samples,
    /// Deleted ranges of time
    Deletes,
}

/// How `dump` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object an entry.
    Ndjson,
    /// One line a sample, for people.
    Text,
}

/// `wal verify` and `wal stat`
#[derive(Debug, clap::Args)]
pub(crate) struct ReadArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// What reading may allocate
    #[command(flatten)]
    pub(crate) limit: EntryLimit,
}

/// `wal diff`
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The directory of one log
    pub(crate) a: PathBuf,
    /// The directory of the other
    pub(crate) b: PathBuf,
    /// How many differences to show; all are counted
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) show: usize,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Go on past faults to the next whole entry; every gap is reported, and the exit code is still 1
    #[arg(long)]
    pub(crate) skip_damaged: bool,
    /// What to compare
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// What reading may allocate
    #[command(flatten)]
    pub(crate) limit: EntryLimit,
}

/// The bound of what reading allocates.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct EntryLimit {
    /// The largest entry to read, in bytes; reading holds one entry in memory
    #[arg(long, value_name = "BYTES", default_value_t = 128 << 20)]
    pub(crate) entry_limit: u64,
}

/// `wal import`
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The log's directory; created if it is not there
    pub(crate) dir: PathBuf,
    /// The size that no segment passes, in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(SEGMENT_BYTES_MIN..))]
    pub(crate) segment_size: Option<u64>,
    /// Make the log durable after every N lines, not only at the end of the input
    #[arg(long, value_name = "N")]
    pub(crate) sync_every: Option<NonZeroU64>,
    /// Print `acked N` after every sync: the first N lines of this run are durable
    #[arg(long)]
    pub(crate) ack: bool,
    /// What is done to a file's space before entries go into it
    #[arg(long, value_enum, default_value_t = Space::ZeroFill)]
    pub(crate) preallocation: Space,
}

/// The ways to prepare space by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Space {
    /// Nothing: the file grows with every write
    None,
    /// Space is asked of the file system in windows; zeros are written where it offers none
    Fallocate,
    /// Zeros are written in windows: the safest, and the fastest for small commits
    ZeroFill,
}

impl From<Space> for Preallocation {
    fn from(space: Space) -> Self {
        match space {
            Space::None => Self::None,
            Space::Fallocate => Self::Fallocate,
            Space::ZeroFill => Self::ZeroFill,
        }
    }
}

/// `wal repair`
#[derive(Debug, clap::Args)]
pub(crate) struct RepairArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// What may be given up
    #[arg(long, value_enum, default_value_t = Mode::PointInTime)]
    pub(crate) mode: Mode,
    /// Do it; without this nothing is changed
    #[arg(long)]
    pub(crate) apply: bool,
}

/// The recovery modes by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Any fault is an error
    Strict,
    /// A torn tail is trimmed, damage is an error
    TolerateTornTail,
    /// The log ends at the first fault
    PointInTime,
    /// Go on at the next whole entry, wherever it is
    SkipDamaged,
}

impl From<Mode> for RecoveryMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Strict => Self::Strict,
            Mode::TolerateTornTail => Self::TolerateTornTail,
            Mode::PointInTime => Self::PointInTime,
            Mode::SkipDamaged => Self::SkipDamaged,
        }
    }
}

/// `wal truncate`
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("keep").required(true).args(["keep_all", "keep_refs", "drop_refs"]))]
pub(crate) struct TruncateArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// Data before this time may go, in milliseconds since 1970
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) mint: i64,
    /// Keep every series
    #[arg(long)]
    pub(crate) keep_all: bool,
    /// Keep only the series whose references are in FILE, separated by spaces or line ends
    #[arg(long, value_name = "FILE")]
    pub(crate) keep_refs: Option<PathBuf>,
    /// Keep all series but those whose references are in FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) drop_refs: Option<PathBuf>,
}

/// `wal quarantine`
#[derive(Debug, clap::Args)]
pub(crate) struct QuarantineArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// What to do with what was set aside
    #[command(subcommand)]
    pub(crate) action: QuarantineAction,
}

/// What to do with the quarantine.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineAction {
    /// A table on a terminal, else one JSON object a file: name, segment, offset, bytes
    List {
        /// Print JSON also on a terminal
        #[arg(long)]
        json: bool,
    },
    /// Put the files back together in a fresh directory; the log and its quarantine stay as they are
    Restore {
        /// A directory that is empty or not there yet
        #[arg(long, value_name = "NEWDIR")]
        to: PathBuf,
    },
    /// Delete the files for good, and print them as `list` does
    Purge {
        /// Print JSON also on a terminal
        #[arg(long)]
        json: bool,
    },
}

/// `wal backup`
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
    /// Where the copy goes: a directory that is empty or not there yet
    pub(crate) to: PathBuf,
}

/// `wal salvage`
#[derive(Debug, clap::Args)]
pub(crate) struct SalvageArgs {
    /// The log's directory; nothing in it is changed
    #[arg(value_name = "IN")]
    pub(crate) dir: PathBuf,
    /// Where the fresh log goes: a directory that is empty or not there yet
    #[arg(value_name = "OUT")]
    pub(crate) to: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// What reading may allocate
    #[command(flatten)]
    pub(crate) limit: EntryLimit,
}

/// `wal completions`
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `wal man`
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Where the pages go, such as wal.1 and wal-dump.1; created if it is not there
    pub(crate) dir: PathBuf,
}

/// `wal bench`
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// A directory on the disk to measure; what is written below it is removed again
    pub(crate) dir: PathBuf,
    /// The longest that one measurement may take
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// The most that one measurement may write, in MiB; they come one after the other, each in the room of the last
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) mebibytes: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// `wal demo`
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// An empty directory, or one to create; without it a temporary one that is removed afterwards
    pub(crate) dir: Option<PathBuf>,
}

/// The hidden part of `wal demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoWriterArgs {
    /// The log's directory
    pub(crate) dir: PathBuf,
}

/// The least that the library takes.
const SEGMENT_BYTES_MIN: u64 = 64;
