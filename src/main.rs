//! Arguments to exit code. The hidden nursery branches off before anything else: it must stay single-threaded.

use std::process::ExitCode;

use lucid::platform::process;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == process::NURSERY_COMMAND) {
        return process::nursery_main();
    }
    lucid::cli::main()
}
