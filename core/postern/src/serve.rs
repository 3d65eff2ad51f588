//! `postern serve` and `postern check`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use postern_api::Management;
use postern_config::{Config, Loaded};
use postern_plugin::{Host, HostOptions};
use postern_server::Server;
use postern_server::reload::Reloader;
use postern_server::stage::{Staged, Stager, Which};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::cli::LogFormat;
use crate::{configuration, logging, process};

/// The management address in the log, as EMQX calls it.
const MANAGEMENT: &str = "http:dashboard";

/// Validates, and says what it found.
pub(crate) fn check(file: &Path) -> ExitCode {
    match checked(file) {
        Ok((loaded, staged)) => {
            for warning in loaded.warnings.iter().chain(&staged.warnings) {
                println!("warning: {warning}");
            }
            let names: Vec<String> = staged.listeners.iter().map(|listener| listener.id.to_string()).collect();
            println!("{}: ok, can be served: {}", file.display(), names.join(", "));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(&problems),
    }
}

fn checked(file: &Path) -> Result<(Loaded, Staged), Vec<String>> {
    let loaded = configuration::read(file)?;
    let runtime = runtime()?;
    let (staged, _) = runtime.block_on(prepare(&loaded.config, Which::All))?;
    match staged.durability.problem() {
        Some(problem) => Err(vec![problem]),
        None => Ok((loaded, staged)),
    }
}

/// Runs until a signal asks it to end.
pub(crate) fn serve(file: &Path, format: Option<LogFormat>) -> ExitCode {
    let loaded = match configuration::read(file) {
        Ok(loaded) => loaded,
        Err(problems) => return fail(&problems),
    };
    logging::init(loaded.config.log, format);
    process::prepare();
    match runtime().and_then(|runtime| runtime.block_on(run(loaded, file))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            for problem in &problems {
                tracing::error!("{problem}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(loaded: Loaded, file: &Path) -> Result<(), Vec<String>> {
    // Before anything else, so that an early signal is not the default one.
    let mut terminate = watch_for(SignalKind::terminate())?;
    let mut interrupt = watch_for(SignalKind::interrupt())?;
    let hangup = watch_for(SignalKind::hangup())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let (staged, memory) = prepare(&loaded.config, Which::Enabled).await?;
    for warning in &staged.warnings {
        tracing::warn!("{warning}");
    }
    let management = loaded.config.dashboard.http.as_ref().map(Management::bind).transpose();
    let management = management.map_err(|error| vec![error.to_string()])?;
    staged.fetch_demanded_staples().await;
    let server = Server::start(staged).map_err(|error| vec![error.to_string()])?;
    let mut addresses = Vec::new();
    let bound = server.bound().iter().map(|bound| (bound.listener.to_string(), bound.address));
    let managed = management.as_ref().map(|management| (MANAGEMENT.to_owned(), management.address()));
    for (listener, address) in bound.chain(managed) {
        tracing::info!(%listener, %address, "listening");
        addresses.push(format!("{listener}={address}"));
    }
    let management = management.map(|management| management.serve(server.metrics())).transpose();
    let management = management.map_err(|error| vec![error.to_string()])?;
    let node = loaded.config.node.name.clone();
    let reloading = Reloading::begin(server.reloader(memory, loaded.config), hangup, file.to_owned());
    tracing::info!(node, addresses = addresses.join(" "), "ready");
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "ending");
    reloading.end().await;
    server.shut_down().await;
    if let Some(management) = management {
        management.shut_down();
    }
    tracing::info!("ended");
    Ok(())
}

/// All that may fail before a port is opened.
async fn prepare(config: &Config, which: Which) -> Result<(Staged, Stager), Vec<String>> {
    let host = Host::new(HostOptions { cache_dir: config.node.data_dir.join("plugin-cache") })
        .map_err(|error| vec![error.to_string()])?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut memory = Stager::new(host);
    let staged = memory.stage(config, which, i64::try_from(now).unwrap_or(i64::MAX), &[]).await;
    match staged {
        Ok(staged) => Ok((staged, memory)),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

/// The thread that keeps the listeners at what the files say.
struct Reloading {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Reloading {
    fn begin(reloader: Reloader, hangup: Signal, file: PathBuf) -> Self {
        let (stop, stopped) = oneshot::channel();
        // Reading and parsing block: not on a thread that serves connections.
        let thread = spawn_blocking(move || Handle::current().block_on(reload(reloader, hangup, &file, stopped)));
        Self { thread, stop }
    }

    async fn end(self) {
        let _ = self.stop.send(());
        if self.thread.await.is_err() {
            tracing::error!("the thread that looks after files ended before");
        }
    }
}

async fn reload(mut reloader: Reloader, mut hangup: Signal, file: &Path, mut stopped: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = hangup.recv() => {
                tracing::info!(signal = "SIGHUP", "reading the configuration again");
                match configuration::read(file) {
                    Ok(loaded) => reloader.reconfigure(loaded).await,
                    Err(problems) => reloader.refuse(&problems),
                }
            }
            () = tokio::time::sleep_until(reloader.next_look().into()) => reloader.look().await,
        }
    }
}

fn runtime() -> Result<Runtime, Vec<String>> {
    Runtime::new().map_err(|error| vec![format!("the runtime cannot be started: {error}")])
}

fn watch_for(kind: SignalKind) -> Result<Signal, Vec<String>> {
    signal(kind).map_err(|error| vec![format!("signals cannot be received: {error}")])
}

fn fail(problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("error: {problem}");
    }
    let plural = if problems.len() == 1 { "problem" } else { "problems" };
    eprintln!("{} {plural}; nothing was started", problems.len());
    ExitCode::FAILURE
}
