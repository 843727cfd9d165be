//! Arguments to exit code. The hidden nursery branches off before anything else: it must stay single-threaded.
//! So does the fake agent, whose flags are those of the programs it stands in for.

use std::process::ExitCode;

use lucid::platform::process;

fn main() -> ExitCode {
    let command = std::env::args_os().nth(1);
    if command.as_ref().is_some_and(|arg| arg == process::NURSERY_COMMAND) {
        return process::nursery_main();
    }
    if command.is_some_and(|arg| arg == lucid::cli::fake_agent::NAME) {
        return lucid::cli::fake_agent::main();
    }
    lucid::cli::main()
}
