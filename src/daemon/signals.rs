//! Signals: TERM leaves the runs alone, the first Ctrl-C ends them, the second kills them, HUP reloads.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Origin, Process};
use signal_hook_tokio::SignalsInfo;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{App, Drift, Leave, service};

/// Begins to catch signals; from here on none of them ends the process by itself.
///
/// # Errors
/// The kernel does not take the handlers.
pub fn catch() -> io::Result<SignalsInfo<WithOrigin>> {
    SignalsInfo::with_exfiltrator([SIGTERM, SIGINT, SIGHUP], WithOrigin::default())
}

/// Acts on signals until the daemon is gone.
pub async fn obey(app: App, mut signals: SignalsInfo<WithOrigin>) {
    let mut interrupts = 0u32;
    let wanted = Arc::new(Notify::new());
    // On its own: a folder that hangs must keep nobody from ending the daemon.
    tokio::spawn(read_again(app.clone(), Arc::clone(&wanted)));
    while let Some(Origin { signal, process, .. }) = signals.next().await {
        match signal {
            SIGTERM => {
                let from = sender(process);
                info!(from, "SIGTERM: going down; runs go on under their keepers");
                app.shutdown.begin(Leave::RunsAlive, &format!("SIGTERM from {from}"));
            }
            SIGINT => {
                interrupts += 1;
                if interrupts == 1 {
                    warn!("Ctrl-C: ending the runs, then lucid; once more kills them");
                    app.shutdown.begin(Leave::EndRuns, "Ctrl-C");
                } else {
                    warn!("Ctrl-C again: killing the runs");
                    app.shutdown.begin(Leave::KillRuns, "Ctrl-C");
                }
            }
            SIGHUP => {
                info!(from = sender(process), "SIGHUP: reading the task files");
                wanted.notify_one();
            }
            _ => {}
        }
    }
}

/// Reads again whenever that is wanted, one time after the other; what is wanted meanwhile is one time more.
async fn read_again(app: App, wanted: Arc<Notify>) {
    loop {
        tokio::select! {
            () = app.shutdown.token.cancelled() => return,
            () = wanted.notified() => {}
        }
        service::reloading(&app);
        if let Err(e) = app.reload("signal:HUP").await {
            warn!(error = %e, "the reload failed; what counted before still does");
        }
        let reader = app.clone();
        match tokio::task::spawn_blocking(move || reader.config_drift()).await {
            Ok(Drift::Settings(lines)) => {
                warn!(
                    settings = lines.join("; "),
                    "these settings take effect at the next start, which costs no run"
                );
            }
            Ok(Drift::Refused(errors)) => {
                warn!(why = %errors, "lucid would refuse to start with this");
            }
            Ok(Drift::None) | Err(_) => {}
        }
        // Whoever has heard that it goes is not told that it is ready.
        if !app.shutdown.token.is_cancelled() {
            service::reloaded();
        }
    }
}

fn sender(process: Option<Process>) -> String {
    process.map_or_else(|| "the kernel".to_owned(), |p| format!("pid {} uid {}", p.pid, p.uid))
}
