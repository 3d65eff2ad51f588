//! The management address: figures in Prometheus' text format and a word on health, over HTTP.
//!
//! It has a thread and a runtime of its own, and reads what the broker counts without waiting for it: whatever is done to
//! it here costs no client of the broker its turn. Connections, their headers and their time are bounded.

mod exposition;
mod routes;
mod serve;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use postern_config::HttpListener;
use postern_server::metrics::Metrics;
use tokio::sync::oneshot;

pub use exposition::{CONTENT_TYPE, render};

/// Why the management address is not served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be had.
    #[error("dashboard.listeners.http cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Its thread or runtime cannot be had.
    #[error("the management address cannot be served: {0}")]
    Start(#[source] io::Error),
}

/// The management address: its port is taken, and nothing is answered yet.
pub struct Management {
    listener: TcpListener,
    address: SocketAddr,
    max_connections: usize,
}

/// The management address in service.
pub struct Serving {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Management {
    /// Takes the port.
    pub fn bind(http: &HttpListener) -> Result<Self, ApiError> {
        let address = http.bind.value;
        let failed = |source| ApiError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, max_connections: http.max_connections })
    }

    /// Where it is, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer.
    pub fn serve(self, metrics: &Arc<Metrics>) -> Result<Serving, ApiError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ApiError::Start)?;
        let routes = routes::routes(Arc::clone(metrics));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("postern-api".to_owned());
        let thread = thread
            .spawn(move || runtime.block_on(serve::serve(self.listener, routes, self.max_connections, stopped)))
            .map_err(ApiError::Start)?;
        Ok(Serving { stop, thread })
    }
}

impl Serving {
    /// Ends it, with the answers that are on their way.
    pub fn shut_down(self) {
        drop(self.stop);
        // A thread that panicked is gone as well.
        let _ = self.thread.join();
    }
}
