//! What the help of every command says below its options; each ends with an example that a test runs.

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done, also when a torn tail was trimmed or a repair applied; a closed pipe is no error
  1  the log is torn, damaged or unsupported (dump, verify), or a writing command refused because of it;
     the logs differ (diff)
  2  wrong usage or bad input, also a DIR that does not exist or is no directory
  3  an I/O or lock error

Entries, reports and JSON go to standard output; messages, warnings and progress to standard error.
dump, verify, stat and diff write, create, lock and rename nothing.

Example:
  wal demo";

pub(super) const DUMP: &str = "\
Text, one line a sample; a reference without a series read so far stands as {ref=\"17\"}:
  series 1 {__name__=\"up\",job=\"node\"}
  {__name__=\"up\",job=\"node\"} 1.5 @1700000000000
  delete {__name__=\"up\",job=\"node\"} @0..@100

Malformed entries (whole, but not decodable) are reported on standard error and skipped; alone they
leave the exit code at 0.

With --follow, waits for more at the end of the log and never ends by itself: interrupt it, or close the
pipe. What is unfinished at the very end is waited for. A fault ends it (exit code 1) unless --skip-damaged
is given. Where the log was truncated, cut or rewritten below the reader, that is said on standard error.

Of an entry only the items that are wanted are printed, and entries without any are left out: the output
is a log of its own, for `wal import`. --since and --until leave series alone, and keep deletes that reach
into the time. --match knows a series by the entries read before, so combine it with --from with care:
samples of series without one are left out and counted on standard error.

Example:
  wal dump data/wal --format text | tail
  wal dump data/wal --match 'up{job=~\"node|db\"}' --since 2023-11-14T22:00:00Z --format text
  wal dump data/wal --follow";

pub(super) const VERIFY: &str = "\
Exit code 0 if the verdict is clean, 1 if it is torn, damaged or unsupported. Malformed entries are
listed and are no fault. Beside a running writer the entry in flight at the very tail is no fault.

Example:
  wal verify data/wal --json";

pub(super) const STAT: &str = "\
Counts what can be read, also beyond faults; the log's verdict is said with the figures. Memory grows with
the series and their label values, not with the samples.

Example:
  wal stat data/wal";

pub(super) const DIFF: &str = "\
Compares the series, samples and deletes of both logs one by one in the log's order. How they were put into
entries and segments, and the order of a series' labels, make no difference; references and the bits of
values do. `-` stands before what only A has, `+` before what only B has, with the segment and offset of the
entry in each log at which a difference begins. The filters are those of `wal dump`: with --since and the
time of a truncation, a log truncated by it with --keep-all is the same as its backup.

Exit code 0 if the logs hold the same and both are whole, 1 if they differ or one of them is torn, damaged or
unsupported; then it is compared up to its first fault, or past it with --skip-damaged. Memory is bounded: an
entry of each log, decoded, and some 64 MiB to find the place where the logs go on alike. Where that place is
beyond many millions of items that differ in both, all behind them may count as different.

Example:
  wal diff data/wal backups/wal-monday
  wal diff data/wal data/wal-salvaged --skip-damaged --json";

pub(super) const IMPORT: &str = "\
One line is one entry, as `wal dump` prints it; `segment` and `offset` are ignored. A line without
items writes nothing; blank lines are passed over, but counted. Series labels are stored sorted by name.
At a bad line everything before it is kept and made durable (exit code 2). A torn tail is trimmed and
said; a damaged log is refused (exit code 1).

Example:
  wal dump old/wal | wal import new/wal --sync-every 1000 --ack";

pub(super) const REPAIR: &str = "\
Nothing is destroyed: what is cut goes to DIR/quarantine first. Exit code 1 if the mode refuses.

Example:
  wal repair data/wal --mode skip-damaged --apply";

pub(super) const TRUNCATE: &str = "\
Example:
  wal truncate data/wal --mint 1700000000000 --keep-all";

pub(super) const QUARANTINE: &str = "\
Example:
  wal quarantine data/wal restore --to data/wal-before-repair";

pub(super) const BACKUP: &str = "\
Takes the writer's lock and opens the log as a writer does: a torn tail is trimmed and said, a damaged log
is refused (exit code 1). Sealed segments are linked where both directories are on one file system, the
rest is copied and made durable. A process that writes the log makes its own backup with `Wal::backup`.

Example:
  wal backup data/wal backups/wal-monday";

pub(super) const SALVAGE: &str = "\
Reads IN like `dump --skip-damaged`, without a lock, also beside a writer, and goes on with the next segment
where one cannot be read at all. Series that a killed truncation of Prometheus left in IN/compact.tmp come
first. Every place that is missing is said on standard error; that alone leaves the exit code at 0.
Memory grows with the series.

Example:
  wal salvage data/wal data/wal-salvaged";

pub(super) const COMPLETIONS: &str = "\
Example:
  wal completions bash > ~/.local/share/bash-completion/completions/wal";

pub(super) const MAN: &str = "\
Example:
  wal man ~/.local/share/man/man1";

pub(super) const BENCH: &str = "\
Appends batches of 1000 samples with one sync at the end; commits batches of 10 samples, each made durable
before the next, by 1, 8 and 64 threads; and replays what was appended, hot from the page cache. These are
single runs for orientation, each with its own log below DIR. 1 MB is a million bytes; p50 and p99 are the
times that half and 99 of a hundred commits took at most.

Example:
  wal bench /var/tmp --json";

pub(super) const DEMO: &str = "\
Example:
  wal demo";
