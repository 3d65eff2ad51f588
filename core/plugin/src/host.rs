//! The engine, and the way from a file to a plugin.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_identity::{BundleDirectory, ListenerId, PluginName};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, WasmFeatures};

use crate::artefacts::Artefacts;
use crate::bindings::FullPlugin;
use crate::failure::{HostError, LoadError};
use crate::instance::{Blueprint, Exports};
use crate::limits::Limits;
use crate::plugin::{Plugin, PluginSpec};
use crate::pool::Pool;
use crate::services::{Badge, LogBudget, Services, Session};
use crate::shape::{MAX_COMPONENT_BYTES, Shape, check_bytes, shape_of};
use crate::ticker::{Running, Ticker};

/// Stack of a guest. Its host functions run on the rest of [`ASYNC_STACK_BYTES`]; a native overflow
/// there would end the process, so more than a MiB lies between the two.
const WASM_STACK_BYTES: usize = 512 << 10;
const ASYNC_STACK_BYTES: usize = 2 << 20;

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where compiled components are kept. Made where it is missing, and closed to other users.
    pub cache_dir: PathBuf,
}

/// Loads plugins. Cheap to clone; all clones are the same host.
#[derive(Clone)]
pub struct Host {
    engine: Arc<Engine>,
    linker: Arc<Linker<Session>>,
    artefacts: Arc<Artefacts>,
}

/// The engine and the thread that keeps its time. Lives as long as any of its plugins.
pub(crate) struct Engine {
    wasm: wasmtime::Engine,
    ticker: Ticker,
}

impl Engine {
    pub(crate) fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// To be held while a guest runs.
    pub(crate) fn running(&self) -> Running<'_> {
        self.ticker.running()
    }
}

impl Host {
    /// Starts the engine and its ticker.
    pub fn new(options: HostOptions) -> Result<Self, HostError> {
        let engine_error = |error: wasmtime::Error| HostError::Engine(format!("{error:#}"));
        let wasm = wasmtime::Engine::new(&engine_config()).map_err(engine_error)?;
        let mut linker = Linker::new(&wasm);
        FullPlugin::add_to_linker::<_, Services>(&mut linker, |session| session).map_err(engine_error)?;
        let ticker = Ticker::start(&wasm).map_err(HostError::Thread)?;
        Ok(Self {
            engine: Arc::new(Engine { wasm, ticker }),
            linker: Arc::new(linker),
            artefacts: Arc::new(Artefacts::open(options.cache_dir)?),
        })
    }

    /// Reads, checks and compiles a component, starts an instance of it, and lets it check its
    /// configuration. What it may look up is in `directory`.
    pub async fn load(
        &self,
        spec: &PluginSpec,
        listener: &ListenerId,
        directory: Arc<dyn BundleDirectory>,
    ) -> Result<Plugin, LoadError> {
        self.load_after(spec, listener, directory, None).await
    }

    /// The same for a plugin that takes the place of another one, whose figures it goes on with.
    pub async fn load_after(
        &self,
        spec: &PluginSpec,
        listener: &ListenerId,
        directory: Arc<dyn BundleDirectory>,
        before: Option<&Plugin>,
    ) -> Result<Plugin, LoadError> {
        let (host, path) = (self.clone(), spec.path.clone());
        // Reading and compiling take up to seconds.
        let compiled = tokio::task::spawn_blocking(move || host.compile(&read(&path)?)).await;
        let (component, shape) = compiled.map_err(|_| LoadError::Abandoned)??;
        let component =
            self.linker.instantiate_pre(&component).map_err(|error| LoadError::Contract(format!("{error:#}")))?;
        let name = PluginName::new(&spec.path.file_stem().unwrap_or_default().to_string_lossy());
        let (counts, log) = before.map_or_else(|| (Arc::default(), Arc::new(LogBudget::new())), Plugin::figures);
        let badge = Badge { plugin: name.clone(), listener: listener.clone(), directory, log };
        let blueprint = Blueprint {
            engine: Arc::clone(&self.engine),
            exports: Arc::new(Exports::find(&component, &shape.hooks)?),
            component,
            badge: Arc::new(badge),
            config_json: spec.config_json.clone(),
            limits: Limits::new(spec.timeout, spec.memory_bytes),
        };
        let pool = Pool::new(blueprint, spec.isolation, counts);
        let about = pool.warm_up().await?;
        Ok(Plugin::new(name, shape, about, (spec.on_error, spec.cache), pool))
    }

    /// What the component is, without starting it. Compiles it, so it takes as long as that.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Shape, LoadError> {
        self.compile(bytes).map(|(_, shape)| shape)
    }

    fn compile(&self, bytes: &[u8]) -> Result<(Component, Shape), LoadError> {
        check_bytes(bytes)?;
        let component = self.artefacts.component(self.engine.wasm(), bytes)?;
        let shape = shape_of(self.engine.wasm(), &component)?;
        Ok((component, shape))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let at = |source| LoadError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(at)?.len();
    if bytes > MAX_COMPONENT_BYTES {
        return Err(LoadError::TooBig { bytes, max: MAX_COMPONENT_BYTES });
    }
    std::fs::read(path).map_err(at)
}

/// Features that no plugin needs are off: most advisories against the engine are in them.
fn engine_config() -> Config {
    let off = WasmFeatures::THREADS
        | WasmFeatures::SHARED_EVERYTHING_THREADS
        | WasmFeatures::MEMORY64
        | WasmFeatures::GC
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::FUNCTION_REFERENCES
        | WasmFeatures::STACK_SWITCHING;
    let mut config = Config::new();
    config
        .wasm_features(off, false)
        .wasm_simd(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_multi_memory(false)
        // Async functions of the component model, not those of the host.
        .concurrency_support(false)
        .epoch_interruption(true)
        // Names of guest functions have no place in a refusal.
        .wasm_backtrace_max_frames(None)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(ASYNC_STACK_BYTES);
    config
}
