//! The clock of the epochs: a thread of its own, because a guest that spins on a worker thread of the
//! runtime would also hold up a timer there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

use wasmtime::{Engine, EngineWeak};

use crate::limits::TICK;

/// After so many ticks without a call the thread sleeps until the next call: an idle broker wakes nobody.
const IDLE_TICKS: u32 = 1_000;

/// The thread, while the host lives.
pub(crate) struct Ticker {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    running: AtomicUsize,
    asleep: AtomicBool,
    stopped: AtomicBool,
}

/// A call under way. The epochs advance at least as long as one of these lives.
pub(crate) struct Running<'a> {
    state: &'a State,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let (weak, shared) = (engine.weak(), Arc::clone(&state));
        let thread = thread::Builder::new().name("plugin-epochs".into()).spawn(move || tick(&weak, &shared))?;
        Ok(Self { state, thread })
    }

    /// To be held while a guest runs.
    pub(crate) fn running(&self) -> Running<'_> {
        // Sequential consistency in both directions: either the ticker sees this call before it falls
        // asleep, or this call sees that it has fallen asleep and wakes it.
        self.state.running.fetch_add(1, SeqCst);
        if self.state.asleep.load(SeqCst) {
            self.thread.thread().unpark();
        }
        Running { state: &self.state }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stopped.store(true, SeqCst);
        self.thread.thread().unpark();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.state.running.fetch_sub(1, SeqCst);
    }
}

fn tick(engine: &EngineWeak, state: &State) {
    let mut idle = 0;
    while !state.stopped.load(SeqCst) {
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        if state.running.load(SeqCst) > 0 {
            idle = 0;
            continue;
        }
        idle += 1;
        if idle >= IDLE_TICKS {
            idle = 0;
            drop(engine);
            sleep_until_called(state);
        }
    }
}

fn sleep_until_called(state: &State) {
    state.asleep.store(true, SeqCst);
    while state.running.load(SeqCst) == 0 && !state.stopped.load(SeqCst) {
        thread::park();
    }
    state.asleep.store(false, SeqCst);
}
