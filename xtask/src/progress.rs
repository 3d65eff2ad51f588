//! What is under way: a spinner on a terminal, plain lines elsewhere (logs keep every one of them).

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// One long step. Dropped without [`Step::done`], it leaves no claim of success behind.
#[derive(Debug)]
pub(crate) struct Step {
    title: String,
    started: Instant,
    /// None where nobody watches.
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Begins a step; the title is a phrase such as `building the plugins`.
    pub(crate) fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let spinner = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner:.cyan} {prefix} {elapsed:.dim} {wide_msg:.dim}")
                .expect("the template is a constant that every run parses");
            let bar = ProgressBar::new_spinner().with_style(style).with_prefix(title.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if spinner.is_none() {
            eprintln!("{title} ...");
        }
        Self { title, started: Instant::now(), spinner }
    }

    /// What exactly is being done now; on a terminal the next one replaces it.
    pub(crate) fn detail(&self, text: &str) {
        match &self.spinner {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("  {text}"),
        }
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        match &self.spinner {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Ends the step well.
    pub(crate) fn done(self, result: &str) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
        eprintln!("{}: {result} ({:.1} s)", self.title, self.started.elapsed().as_secs_f32());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }
}
