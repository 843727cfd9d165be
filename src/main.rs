//! Arguments in, exit code out. The nursery branches off before anything else exists in the process.

use std::process::ExitCode;

fn main() -> ExitCode {
    lucid::cli::main()
}
