//! `hub serve`: configuration, logs, signals.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat, Options};

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = Config::resolve(options)?;
    start_log(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let code = runtime.block_on(serve(config))?;
    // What still runs is a query on a blocking thread: it must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    Ok(code)
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&config.log).with_context(|| format!("log: {:?}", config.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match config.log_format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    // Before anyone can connect: a signal that comes from then on means an orderly stop.
    let stop = stop_signal();
    let running = crate::start(config).await?;
    reload_on_hangup(&running);
    let failed = tokio::select! {
        () = stop => false,
        () = running.failed() => true,
    };
    if failed {
        tracing::error!(
            "the disk has failed: nothing more is acknowledged. Mend it and start again; what was acknowledged is in the file"
        );
    }
    let in_time = running.stop().await;
    Ok(if in_time && !failed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// SIGHUP: the files of TLS are read at once. Without TLS there is nothing to read, and the hub goes on.
#[cfg(unix)]
fn reload_on_hangup(running: &crate::Running) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    let hub = Arc::downgrade(running.hub());
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let Some(hub) = hub.upgrade() else { return };
            match &hub.tls {
                Some(tls) => tls.reload(),
                None => tracing::info!("SIGHUP: there is no TLS here, so nothing to read anew"),
            }
        }
    });
}

#[cfg(not(unix))]
fn reload_on_hangup(_: &crate::Running) {}

/// Takes Ctrl-C and SIGTERM from now on. What it returns waits for one of them.
#[cfg(unix)]
fn stop_signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            tracing::warn!("no signal handlers: the hub can only be killed, which is safe");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
