//! The program `wal`: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    wal_cli::main()
}
