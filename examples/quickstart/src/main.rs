//! `postern-quickstart`: certificates, a broker, a demonstration, and then a broker to play with.
//! `cargo xtask quickstart` builds what it needs and runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use postern_quickstart::broker::{Broker, Event, StartFailure};
use postern_quickstart::demo::{self, LISTENER, Stage};
use postern_quickstart::hints;
use postern_quickstart::pki::{self, Prepared, Set};
use postern_quickstart::screen::{Colours, one_line};
use time::OffsetDateTime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Below the root, and git-ignored.
const DIRECTORY: &str = ".quickstart";
const CONFIG: &str = "examples/quickstart.conf";

/// Log lines shown after a failure.
const LINES_SHOWN: usize = 20;

/// The exit code of a program that SIGINT ended, as shells have it.
const INTERRUPTED: u8 = 130;

/// Development certificates, a broker, and a demonstration through real sockets.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The broker's program.
    #[arg(long, value_name = "PATH")]
    postern: PathBuf,
    /// The repository's directory; `.quickstart` is made in it.
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// End after the demonstration.
    #[arg(long)]
    once: bool,
}

/// Why the run did not succeed, as it is printed.
struct Failure {
    step: String,
    why: String,
    log: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    fn new(step: &str, why: impl std::fmt::Display) -> Self {
        Self { step: step.to_owned(), why: why.to_string(), log: Vec::new(), hint: None }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let colours = Colours::for_stdout();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("starting", error))
        .and_then(|runtime| runtime.block_on(run(&arguments, colours)));
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            report(&failure, colours);
            ExitCode::FAILURE
        }
    }
}

fn report(failure: &Failure, colours: Colours) {
    eprintln!("\n{} {} failed: {}", colours.cross(), failure.step, failure.why);
    if !failure.log.is_empty() {
        eprintln!("\nThe broker's last words:");
        for line in &failure.log {
            eprintln!("  {line}");
        }
    }
    if let Some(hint) = &failure.hint {
        eprintln!("\n{hint}");
    }
}

async fn run(arguments: &Arguments, colours: Colours) -> Result<ExitCode, Failure> {
    // The configuration and the lines to copy have paths relative to the root.
    let postern = std::path::absolute(&arguments.postern).map_err(|error| Failure::new("finding postern", error))?;
    std::env::set_current_dir(&arguments.root)
        .map_err(|error| Failure::new(&format!("entering {}", arguments.root.display()), error))?;
    let mut stop = StopSignals::new().map_err(|error| Failure::new("listening for signals", error))?;

    println!("{}", colours.bold("Postern quickstart"));
    let set = pki::ensure(Path::new(DIRECTORY), OffsetDateTime::now_utc())
        .map_err(|error| Failure::new("making certificates", error))?;
    println!("  {} certificates  {DIRECTORY}/ ({})", colours.tick(), provenance(&set));

    let mut broker = tokio::select! {
        started = Broker::start(&postern, Path::new(CONFIG)) => started.map_err(not_started)?,
        () = stop.received() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let address = broker.address_of(LISTENER).map_err(|error| Failure::new("finding the listener", error))?;
    println!("  {} broker        ready at {address} after {} ms", colours.tick(), broker.ready_after.as_millis());
    for warning in broker.warnings() {
        println!("    {}", colours.dim(&format!("broker: {warning}")));
    }

    let stage = Stage { broker: &mut broker, set: &set, address, colours };
    let shown = tokio::select! {
        shown = demo::run(stage) => Some(shown),
        () = stop.received() => None,
    };
    let code = match shown {
        None => ExitCode::from(INTERRUPTED),
        Some(Ok(())) if arguments.once => ExitCode::SUCCESS,
        Some(Ok(())) => {
            println!("\n{}\n", colours.bold("Your turn"));
            // Where it cannot be read, the hint is printed.
            let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
            print!("{}", hints::lines(&set, address, &hosts));
            println!("\n{}", colours.bold("The broker runs on. Ctrl-C ends it."));
            watch(&mut broker, &mut stop, colours).await?;
            ExitCode::SUCCESS
        }
        Some(Err(failed)) => {
            let mut failure = Failure::new(failed.step, failed.why);
            failure.log = broker.last_lines(LINES_SHOWN).await;
            // The step's failure is the one to report.
            let _ = broker.stop().await;
            return Err(failure);
        }
    };
    broker.stop().await.map_err(|error| Failure::new("stopping the broker", error))?;
    println!("\n{} the broker ended cleanly", colours.tick());
    Ok(code)
}

fn provenance(set: &Set) -> String {
    let until = set.valid_until.date();
    match &set.prepared {
        Prepared::Made => format!("made, valid until {until}"),
        Prepared::Reused => format!("of an earlier run, valid until {until}"),
        Prepared::Replaced { because } => format!("made anew, for {because}; valid until {until}"),
    }
}

fn not_started(failure: StartFailure) -> Failure {
    let hint = failure.port_is_taken().then(|| {
        "Another program has the port. Choose another one:\n  \
         POSTERN_LISTENERS__SSL__DEFAULT__BIND=127.0.0.1:18883 cargo xtask quickstart"
            .to_owned()
    });
    let skip = failure.log.len().saturating_sub(LINES_SHOWN);
    Failure {
        step: "starting the broker".to_owned(),
        why: failure.to_string(),
        log: failure.log.into_iter().skip(skip).collect(),
        hint,
    }
}

/// Shows what happens at the gate until a signal comes. A broker that ends by itself is a failure.
async fn watch(broker: &mut Broker, stop: &mut StopSignals, colours: Colours) -> Result<(), Failure> {
    loop {
        let line = tokio::select! {
            line = broker.next_line() => line,
            () = stop.received() => return Ok(()),
        };
        let Some(line) = line else {
            let mut failure = Failure::new("running", broker.ended().await);
            failure.log = broker.last_lines(LINES_SHOWN).await;
            return Err(failure);
        };
        let text = match Event::parse(&line) {
            Some(event) if is_worth_showing(&event) => event.readable(),
            Some(_) => continue,
            None => one_line(&line, 400),
        };
        println!("{}", colours.dim(&text));
    }
}

fn is_worth_showing(event: &Event) -> bool {
    matches!(event.level.as_str(), "WARN" | "ERROR")
        || matches!(event.message.as_str(), "admitted" | "refused" | "closed")
}

/// The signals that end the run: from the keyboard, from a service manager, from a terminal that closes.
struct StopSignals {
    signals: [Signal; 3],
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            signals: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
